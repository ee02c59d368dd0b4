"""The backend that takes a GPU where there is one, and says which it took and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from frames_pipeline.decoders.base import Decoded, Tally
from frames_pipeline.decoders.nvdec import NvdecDecoder, open_nvdec
from frames_pipeline.decoders.pyav import PyavDecoder
from frames_pipeline.errors import DecoderUnavailableError, DecoderUnsupportedError
from frames_pipeline.media import Media


@dataclass(frozen=True, slots=True)
class AutoDecoder:
    """Decodes on the GPU what the GPU can, and everything else on the CPU."""

    gpu: NvdecDecoder | None
    """The GPU's decoder, or `None` where there is none."""
    cpu: PyavDecoder = field(default_factory=PyavDecoder)
    """The CPU's decoder."""
    choice: str = ""
    """Why there is no GPU's decoder."""

    @property
    def name(self) -> str:
        return "auto"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        if self.gpu is not None and tally.decoder != self.cpu.name:
            try:
                tally.choice = "auto: there is a GPU"
                yield from self.gpu.decode(media, rows, tally)
                return
            except DecoderUnsupportedError as error:
                tally.choice = f"auto: {error}"
        tally.choice = tally.choice or f"auto: {self.choice}"
        yield from self.cpu.decode(media, rows, tally)


def open_auto(gpu: int = 0, *, threads: int = 1) -> AutoDecoder:
    """The backend that takes a GPU if it is there."""
    cpu = PyavDecoder(threads)
    try:
        return AutoDecoder(open_nvdec(gpu), cpu)
    except DecoderUnavailableError:
        return AutoDecoder(None, cpu, choice=f"there is no GPU {gpu} that decodes video")
