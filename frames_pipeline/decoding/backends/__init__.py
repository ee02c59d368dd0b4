"""Decoder backends by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from frames_pipeline.decoding.backends.auto import MIN_MEGAPIXELS, AutoDecoder, open_auto
from frames_pipeline.decoding.backends.base import Decoded, Decoder, Tally
from frames_pipeline.decoding.backends.nvdec import NvdecDecoder, driver_version, open_nvdec
from frames_pipeline.decoding.backends.pyav import PyavDecoder
from frames_pipeline.decoding.device import check_available
from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import FrameExtractionSignature

__all__ = [
    "DECODERS",
    "MIN_MEGAPIXELS",
    "AutoDecoder",
    "Decoded",
    "Decoder",
    "NvdecDecoder",
    "PyavDecoder",
    "Tally",
    "check_pixels",
    "driver_version",
    "open_auto",
    "open_decoder",
    "open_nvdec",
]


DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "pyav": PyavDecoder,
    "nvdec": open_nvdec,
    "auto": open_auto,
}
"""Backends by the name users choose them by."""


def open_decoder(decoder: Decoder | str | None = None) -> Decoder:
    """A decoder by name, or the one given; `None` is the CPU's.

    Raises:
        ConfigError: There is none of that name.
        DecoderUnavailableError: It cannot run on this machine.
    """
    if decoder is None:
        return PyavDecoder()
    if not isinstance(decoder, str):
        return decoder
    if decoder not in DECODERS:
        message = f"no decoder {decoder!r}; choose one of {', '.join(DECODERS)}"
        raise ConfigError(message)
    return DECODERS[decoder]()


def check_pixels(signatures: Iterable[FrameExtractionSignature], decoder: Decoder) -> None:
    """Make sure that a decoder can give the pixels that signatures ask for.

    Raises:
        ConfigError: `pixels="cuda"` is asked of another decoder than `nvdec`, or without torch.
    """
    for signature in signatures:
        if signature.pixels == "cuda":
            if decoder.name != "nvdec":
                message = f"pixels='cuda' needs decoder 'nvdec', and {decoder.name!r} was chosen; "
                raise ConfigError(message + "choose nvdec, or pixels='swscale'")
            check_available(signature.interpolation)
