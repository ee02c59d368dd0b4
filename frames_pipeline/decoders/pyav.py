"""The CPU backend: libavcodec through PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from frames_pipeline.decoders.base import Decoded, Tally
from frames_pipeline.decoders.feed import feed
from frames_pipeline.errors import ConfigError
from frames_pipeline.media import Media


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

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        tally.decoder, tally.device = self.name, "cpu"
        context = media.stream.codec_context
        if not context.is_open:
            context.thread_count = self.threads
            context.thread_type = "FRAME" if self.threads > 1 else "NONE"
        return feed(context, media, rows, tally, delay=self.threads - 1)
