"""Deinterlace frames with FFmpeg's filter `bwdif`, for `deinterlace="bwdif"`.

The filter reads the frames before and after. Frames come in presentation order, and only those of
consecutive positions go through one filter:

    positions    4   5   6   7        12  13  14        5, 6 and 13 are wanted
    filter       5's and 6's          13's alone        4, 7, 12 and 14 are read

So a frame comes out the same, whichever other frames are wanted. It comes out as from one filter
over the whole video, which the tests check. The first interlaced frame after progressive ones is
an exception: in FFmpeg it is the first that the filter changes, which leaves out the frame before
it. Here it is as any other.

At the first and the last frame of a video, and where the size or the pixel format changes, the
filter has one neighbour, and interpolates within the field. A neighbour is the next frame even
across a cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from typing import Final, NamedTuple, cast

from av.error import BlockingIOError as NothingYetError
from av.error import EOFError as EndedError
from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame

from frames_pipeline.decoding.convert import on_host
from frames_pipeline.errors import UnsupportedSourceError

_BWDIF: Final = "mode=send_frame:parity=auto:deint=interlaced"
"""One frame out per frame in, the field order by each frame's flag, progressive frames as they
are."""


class Placed(NamedTuple):
    """A frame and its position."""

    position: int
    frame: VideoFrame


class Deinterlaced(NamedTuple):
    """A frame without combing."""

    position: int
    frame: VideoFrame
    is_filtered: bool = False
    """Whether the frame is interlaced, so that its neighbours were read."""
    lacks_neighbour: bool = False
    """Whether a neighbour did not decode."""


def neighbours(positions: Iterable[int], num_frames: int) -> list[int]:
    """Return the positions before and after each of these that a video has, ascending.

    >>> neighbours([0, 4, 5], 100)
    [1, 3, 4, 5, 6]
    """
    around = {position + step for position in positions for step in (-1, 1)}
    return sorted(position for position in around if 0 <= position < num_frames)


class Deinterlacer:
    """Deinterlaces the wanted frames of one video."""

    def __init__(self, wanted: Collection[int], *, num_frames: int) -> None:
        """Keep the positions to deinterlace.

        Args:
            wanted: Positions of the wanted frames. Their neighbours are pushed as well.
            num_frames: Number of shown frames of the video.
        """
        self._wanted = frozenset(wanted)
        self._last = num_frames - 1
        self._before: Placed | None = None
        self._filter: _Filter | None = None
        self._lacks_left = False

    @property
    def waiting(self) -> int | None:
        """Position of the frame that waits for the next one; `None` without one."""
        return None if self._filter is None or self._before is None else self._before.position

    def push(self, position: int, frame: VideoFrame) -> Iterator[Deinterlaced]:
        """Take the next frame; yield the wanted frames that are complete.

        Raises:
            UnsupportedSourceError: The filter cannot take the frame.
            DecoderUnsupportedError: A GPU's frame has a layout that is not known to be exact.
        """
        is_next = self._before is not None and self._before.position + 1 == position
        if not is_next or not self._has_shape_of(frame):
            yield from self.end(is_next_there=is_next)
        before, self._before = self._before, Placed(position, frame)
        must_filter = position in self._wanted and frame.interlaced_frame
        if self._filter is not None:
            yield from self._taken(self._filter.give(position, frame), lacks_right=False)
            self._filter = self._filter if must_filter else None
            self._lacks_left = False
        elif must_filter:
            self._filter = _Filter(before, self._before)
            self._lacks_left = not is_next and position > 0
        if position in self._wanted and not must_filter:
            yield Deinterlaced(position, frame)
        if position == self._last:
            yield from self.end()

    def end(self, *, is_next_there: bool = False) -> list[Deinterlaced]:
        """Return the frame that waits for the next one, which cannot be its neighbour.

        Args:
            is_next_there: Whether the next frame decoded, and has another size or format.
        """
        found: list[Deinterlaced] = []
        if self._filter is not None and self._before is not None:
            lacks_right = not is_next_there and self._before.position != self._last
            found = self._taken(self._filter.end(), lacks_right=lacks_right)
        self._filter, self._before = None, None
        return found

    def _has_shape_of(self, frame: VideoFrame) -> bool:
        return self._before is not None and _shape(self._before.frame) == _shape(frame)

    def _taken(self, outputs: list[Placed], *, lacks_right: bool) -> list[Deinterlaced]:
        lacks = self._lacks_left or lacks_right
        return [
            Deinterlaced(position, frame, is_filtered=True, lacks_neighbour=lacks)
            for position, frame in outputs
        ]


class _Filter:
    """FFmpeg's filter over frames of one size and format. Each comes out after the next one."""

    def __init__(self, before: Placed | None, first: Placed) -> None:
        """Begin with a frame, and with the frame before it, which is not to be put out.

        The filter leaves out the frame before the first one that it changes. That is `before`, if
        it is interlaced; otherwise `first` is given twice ahead, for this alone.
        """
        self._build(on_host(first.frame))
        if before is not None:
            if not before.frame.interlaced_frame:
                self.give(*first)
                self.give(*first)
            self.give(*before)
        self.give(*first)

    def _build(self, frame: VideoFrame) -> None:
        size = f"{frame.width}x{frame.height}"
        self._graph = Graph()
        self._graph.threads = 1
        self._graph.link_nodes(
            self._graph.add(
                "buffer", f"video_size={size}:pix_fmt={frame.format.name}:time_base=1/1"
            ),
            self._graph.add("bwdif", _BWDIF),
            self._graph.add("buffersink"),
        )
        try:
            self._graph.configure()
        except FFmpegError as error:
            message = "deinterlace='bwdif' needs at least 4 rows and 3 columns in each plane, and "
            message += f"this frame is {size} in {frame.format.name} ({error})"
            raise UnsupportedSourceError(f"{message}; ask for deinterlace='off'") from error

    def give(self, position: int, frame: VideoFrame) -> list[Placed]:
        """Give a frame; return the frames that are complete, with their positions."""
        frame = on_host(frame)
        frame.pts, frame.time_base = position, Fraction(1)
        self._graph.vpush(frame)
        return self._outputs()

    def end(self) -> list[Placed]:
        """Return the last frame, with its position."""
        self._graph.vpush(None)
        return self._outputs()

    def _outputs(self) -> list[Placed]:
        outputs: list[Placed] = []
        while True:
            try:
                frame = self._graph.vpull()
            except (NothingYetError, EndedError):
                return outputs
            position = int(cast(int, frame.pts) * cast(Fraction, frame.time_base))
            outputs.append(Placed(position, frame))


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.height, frame.width, (frame.sw_format or frame.format).name
