"""A plain decode: the reference for decode plans.

It opens the file anew, and feeds every packet of the stream to one thread of libavcodec in
libavformat's order. It uses no index and no plan, so it does not share their errors. It opens files
with `media`, under the same limits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from frames_pipeline.container.media import Media

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]


_LAYERED: Final = ("vp9",)
"""Codecs for which FFmpeg returns every spatial layer of a packet; the last one is shown."""


class PlainFrame(NamedTuple):
    """A frame from the decoder."""

    position: int
    """Number of frames before it."""
    seconds: Fraction | None
    """Presentation time on the video's own clock; `None` if its packet has none."""
    frame: VideoFrame
    """The frame."""


class PlainDecode:
    """Every frame of an open video, up to the first packet that does not decode.

    After such a packet a frame may be missing, so later positions are unknown. Packets before the
    first frame may fail: a recording may begin anywhere.
    """

    def __init__(self, media: Media) -> None:
        """Keep a video, which must be newly opened and unused."""
        self._media = media
        self.is_whole = False
        """Whether the decode reached the end of the video without an error."""

    def __iter__(self) -> Iterator[PlainFrame]:
        """Yield the frames in the decoder's order. You can iterate only once.

        Raises:
            MemoryError: Memory ran out.
        """
        context = self._media.stream.codec_context
        context.thread_count, context.thread_type = 1, "NONE"
        layered = context.codec.canonical_name in _LAYERED
        position, time_base = 0, self._media.stream.time_base or Fraction(1)
        for packet in self._packets():
            try:
                frames = context.decode(packet)
            except MemoryError:
                raise
            except (FFmpegError, ValueError):
                if position:
                    return
                continue
            for frame in frames[-1:] if layered else frames:
                seconds = None if frame.pts is None else frame.pts * time_base
                yield PlainFrame(position, seconds, frame)
                position += 1
            self.is_whole = packet is None

    def _packets(self) -> Iterator[VideoPacket | None]:
        """Yield every packet, then `None` to drain the decoder if there was no error."""
        stream = self._media.stream
        container = cast(InputContainer, stream.container)
        try:
            # PyAV fails on streams that appear after the file was opened
            with contextlib.suppress(IndexError):
                for packet in container.demux(stream):
                    if packet.size:  # an empty one would drain it too early
                        yield packet
        except (FFmpegError, ValueError):
            return
        yield None
