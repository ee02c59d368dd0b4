"""The CPU backend: libavcodec through PyAV.

With several threads libavcodec decodes several frames at once. For damaged bytes, the lost and
concealed frames then differ from run to run. So a video is decoded by one thread once damage is
known or found. This relies on decoders that report every damaged packet with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from av.video.codeccontext import VideoCodecContext

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends.base import Decoded, Tally
from frames_pipeline.decoding.backends.feed import feed
from frames_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PyavDecoder:
    """Decodes on the CPU."""

    threads: int = 1
    """The most decoder threads per video: 1 where clips are decoded in parallel, more for a single
    long video. Frames do not depend on it: damaged videos, and codecs that do not report all damage
    with threads, are decoded by one thread."""

    def __post_init__(self) -> None:
        """Check the number of threads."""
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
            self._prepare(context, media)
        return feed(context, media, rows, tally, delay=max(context.thread_count, 1) - 1)

    def _prepare(self, context: VideoCodecContext, media: Media) -> None:
        """Set the number of threads of a decoder that is not yet open."""
        reports = context.codec.intra_only or media.index.codec_facts.reports_damage
        threads = self.threads if reports and not media.is_damaged else 1
        context.thread_count = threads
        context.thread_type = "FRAME" if threads > 1 else "NONE"
