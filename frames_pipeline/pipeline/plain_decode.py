"""A plain decode: the reference that plans are judged by.

The file is opened anew, and every packet of its stream goes to one thread of libavcodec in the
order in which libavformat has them. This module uses no index and no plan, so that it does not
share their errors. It opens files with `media`, and under the same limits.
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
    """A frame as it came out of the decoder."""

    position: int
    """How many came before it."""
    seconds: Fraction | None
    """When it is shown, on the video's own clock; `None` where its packet does not say."""
    frame: VideoFrame
    """The frame."""


class PlainDecode:
    """Every frame of an open video, up to the first packet that does not decode.

    After such a packet a frame may be missing, so later positions are unknown. Packets before the
    first frame may fail: a recording may begin anywhere.
    """

    def __init__(self, media: Media) -> None:
        """Take a video that was just opened and not used yet."""
        self._media = media
        self.is_whole = False
        """Whether the end of the video was reached, and nothing was wrong on the way."""

    def __iter__(self) -> Iterator[PlainFrame]:
        """The frames, in the order in which the decoder gives them; to be asked for once.

        Raises:
            MemoryError: There is not enough.
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
        """Every packet; then `None`, which drains the decoder, if there was nothing wrong."""
        stream = self._media.stream
        container = cast(InputContainer, stream.container)
        try:
            # PyAV stumbles over streams that it came to know of on the way
            with contextlib.suppress(IndexError):
                for packet in container.demux(stream):
                    if packet.size:  # an empty one would drain it too early
                        yield packet
        except (FFmpegError, ValueError):
            return
        yield None
