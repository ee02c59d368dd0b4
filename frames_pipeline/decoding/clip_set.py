"""Clips that are decoded together, and the route of each frame to the clips that contain it.

See the figure in `assembly`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from frames_pipeline.clips import Span
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.assembly import ClipAssembler, Converted, FramesBySignature
from frames_pipeline.decoding.convert import Converter
from frames_pipeline.decoding.deinterlace import Deinterlaced, Deinterlacer, neighbours
from frames_pipeline.decoding.plan import Rows
from frames_pipeline.decoding.row_decode import RowDecode
from frames_pipeline.errors import SourceError, UnsupportedSourceError
from frames_pipeline.signature import FrameExtractionSignature


class ClipSet:
    """The clips of a video that share one decode pass. Each leaves the set when it is done."""

    def __init__(
        self, media: Media, spans: Sequence[Span], signatures: Sequence[FrameExtractionSignature]
    ) -> None:
        """Select the frames of each clip for each signature."""
        self._media = media
        self._clips: dict[int, ClipAssembler] = {}
        self.empty: list[tuple[int, SourceError]] = []
        """Numbers of the spans without a clip, each with its error."""
        for number, span in enumerate(spans):
            try:
                clip = ClipAssembler(media.index, span, signatures, media.limits)
            except SourceError as error:
                self.empty.append((number, error))
            else:
                self._clips[number] = clip
        self._wanted_by = self._find_wanted()
        self._to_deinterlace = frozenset().union(
            *(clip.to_deinterlace for clip in self._clips.values())
        )
        self._reads_neighbours = bool(self._to_deinterlace) and media.picture.is_interlaced
        self.lacks_neighbours = False
        """Whether a frame must be deinterlaced, and `rows` has no neighbours yet: see `widen`."""
        self.reset()

    def _find_wanted(self) -> dict[int, list[int]]:
        """Return the numbers of the clips that want each position."""
        wanted_by: dict[int, list[int]] = {}
        for number, clip in self._clips.items():
            for position in clip.positions.tolist():
                wanted_by.setdefault(position, []).append(number)
        return wanted_by

    @property
    def rows(self) -> Rows:
        """Rows of the frames to decode for the clips that are not done, ascending."""
        positions: set[int] = set()
        for clip in self._clips.values():
            positions.update(clip.positions.tolist())
            if self._reads_neighbours:
                positions.update(neighbours(clip.to_deinterlace, self._media.index.num_frames))
        return np.sort(self._media.index.presentation[sorted(positions)])

    def widen(self) -> Rows:
        """Return the rows with those that deinterlacing reads, to decode them from now on.

        Whether frames are interlaced is known for sure only from decoded ones, so progressive video
        decodes no frame for it.
        """
        self._reads_neighbours, self.lacks_neighbours = True, False
        return self.rows

    def reset(self) -> None:
        """Discard the frames of unfinished clips."""
        index, rows = self._media.index, self.rows
        self._converter = Converter.of(self._media)
        self._deinterlacer = Deinterlacer(self._to_deinterlace, num_frames=index.num_frames)
        positions = np.full(len(index.order), -1)
        positions[index.presentation] = np.arange(index.num_frames)
        self._position_of = dict(zip(rows.tolist(), positions[rows].tolist(), strict=True))
        for clip in self._clips.values():
            clip.reset()

    def put(self, row: int, frame: VideoFrame) -> None:
        """Convert a frame for each clip that contains it."""
        position = self._position_of.get(row)
        if position is None:
            return
        converted = Converted(frame, self._converter)
        for clip in self._wanting(position):
            clip.put(position, converted)
        if self._to_deinterlace:
            self._deinterlace(position, converted)

    def _wanting(self, position: int) -> Iterator[ClipAssembler]:
        for number in self._wanted_by.get(position, ()):
            if number in self._clips:
                yield self._clips[number]

    def _deinterlace(self, position: int, converted: Converted) -> None:
        """Give a frame to the deinterlacer, and what comes out to the clips that want it."""
        frame = converted.frame
        is_wanted = position in self._to_deinterlace
        if is_wanted and frame.interlaced_frame and not self._reads_neighbours:
            self.lacks_neighbours = True
            return
        try:
            self._put_deinterlaced(self._deinterlacer.push(position, frame), converted)
        except FFmpegError as error:
            self._fail(position, UnsupportedSourceError(f"a frame cannot be deinterlaced: {error}"))
        except SourceError as error:
            self._fail(position, error)

    def _fail(self, position: int, error: SourceError) -> None:
        """End the clips that want a position with an error."""
        for clip in self._wanting(position):
            clip.error = clip.error or error

    def _put_deinterlaced(
        self, frames: Iterable[Deinterlaced], given: Converted | None = None
    ) -> None:
        for frame in frames:
            is_given = given is not None and given.frame is frame.frame
            converted = given if is_given else Converted(frame.frame, self._converter)
            for clip in self._wanting(frame.position):
                clip.put_deinterlaced(frame, cast(Converted, converted))

    def finish(
        self, before: int, decode: RowDecode
    ) -> Iterator[tuple[int, FramesBySignature | SourceError]]:
        """Yield the clips that need no row from this one on, by number, with their batches."""
        self._stop_waiting(before)
        done = [
            number
            for number, clip in self._clips.items()
            if clip.last_row(with_neighbours=self._reads_neighbours) < before
        ]
        for number in done:
            result = self._clips.pop(number).finish(
                decode.report(before), is_suspect=decode.is_suspect, complaint=decode.complaint
            )
            yield number, result

    def _stop_waiting(self, before: int) -> None:
        """Deinterlace a frame without the next one, if that should have come and did not."""
        waiting = self._deinterlacer.waiting
        if waiting is not None and self._media.index.presentation[waiting + 1] < before:
            self._put_deinterlaced(self._deinterlacer.end())
