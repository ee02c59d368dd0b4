"""The CPU backend: libavcodec through PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from frames_pipeline.decoders.base import Decoded, Tally
from frames_pipeline.errors import ConfigError
from frames_pipeline.media import Media

_REPORTED: Final = (FFmpegError, ValueError, MemoryError)
"""What PyAV raises for a packet that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class PyavDecoder:
    """Decodes on the CPU."""

    threads: int = 1
    """Decoder threads per video. Clips decoded side by side want 1; a single long video, more."""

    def __post_init__(self) -> None:
        """Refuse a number of threads that means nothing."""
        if self.threads < 1:
            message = f"threads={self.threads} must be at least 1"
            raise ConfigError(message)

    @property
    def name(self) -> str:
        return "pyav"

    @property
    def device(self) -> str:
        return "cpu"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        context = media.stream.codec_context
        if not context.is_open:
            context.thread_count = self.threads
            context.thread_type = "FRAME" if self.threads > 1 else "NONE"
        try:
            for number, (_, packet) in enumerate(media.packets.read(rows)):
                tally.packets_fed += 1
                # frame threads report the error of a packet that was fed that much earlier
                yield from _decode(context, packet, rows[max(0, number - self.threads + 1)], tally)
            yield from _decode(context, None, rows[-1], tally)
        finally:
            context.flush_buffers()


def _decode(
    context: VideoCodecContext, packet: Packet[VideoStream] | None, row: int, tally: Tally
) -> Iterator[Decoded]:
    try:
        frames = context.decode(packet)
    except _REPORTED as error:
        yield Decoded(row, None, getattr(error, "strerror", None) or str(error))
        return
    for frame in frames:
        tally.frames_decoded += 1
        yield Decoded(-1 if frame.pts is None else frame.pts, frame)
