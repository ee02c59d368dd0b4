"""The backend that uses a GPU if there is one, and reports its choice with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends.base import MIN_MEGAPIXELS, Decoded, Tally
from frames_pipeline.decoding.backends.nvdec import NvdecDecoder, open_nvdec
from frames_pipeline.decoding.backends.pyav import PyavDecoder
from frames_pipeline.errors import DecoderUnavailableError, DecoderUnsupportedError


@dataclass(frozen=True, slots=True)
class AutoDecoder:
    """Decodes on the GPU where it supports the stream, otherwise on the CPU."""

    gpu: NvdecDecoder | None
    """The GPU's decoder; `None` without a GPU."""
    cpu: PyavDecoder = field(default_factory=PyavDecoder)
    """The CPU's decoder."""
    choice: str = ""
    """Reason for a missing GPU decoder."""
    min_megapixels: float = MIN_MEGAPIXELS
    """Fewest megapixels in a row for which the GPU decodes: setting up a session takes time."""

    @property
    def name(self) -> str:
        return "auto"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        work = len(rows) * media.index.width * media.index.height / 1e6
        is_small = not tally.decoder and work < self.min_megapixels
        if self.gpu is not None and is_small:
            tally.choice = f"auto: {work:.1f} megapixels are below {self.min_megapixels:g}"
        elif self.gpu is not None and tally.decoder != self.cpu.name:
            try:
                tally.choice = f"auto: there is a GPU, and {work:.1f} megapixels to decode in a row"
                yield from self.gpu.decode(media, rows, tally)
                return
            except DecoderUnsupportedError as error:
                tally.choice = f"auto: {error}"
        tally.choice = tally.choice or f"auto: {self.choice}"
        yield from self.cpu.decode(media, rows, tally)


def open_auto(
    gpu: int = 0, *, threads: int = 1, min_megapixels: float = MIN_MEGAPIXELS
) -> AutoDecoder:
    """Return the backend that uses a GPU if there is one and the work is large enough."""
    cpu = PyavDecoder(threads)
    try:
        return AutoDecoder(open_nvdec(gpu), cpu, min_megapixels=min_megapixels)
    except DecoderUnavailableError:
        return AutoDecoder(None, cpu, choice=f"there is no GPU {gpu} that decodes video")
