"""Decoder backends by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from frames_pipeline.decoding.backends.auto import AUTO
from frames_pipeline.decoding.backends.base import Backend, Decoder
from frames_pipeline.decoding.backends.nvdec import NVDEC
from frames_pipeline.decoding.backends.pyav import PYAV, PyavDecoder
from frames_pipeline.decoding.device import check_available
from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import FrameExtractionSignature

DECODERS: Final[Mapping[str, Backend]] = {one.name: one for one in (PYAV, NVDEC, AUTO)}
"""Backends by the name users choose them by."""


def open_decoder(decoder: Decoder | str | None = None) -> Decoder:
    """Return a decoder by name, or the given one; `None` means `pyav`.

    Raises:
        ConfigError: No backend has that name.
        DecoderUnavailableError: The backend cannot run on this machine.
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
    """Check that a decoder supports the `pixels` of signatures.

    Raises:
        ConfigError: `pixels="cuda"` with another decoder than `nvdec`, or without torch.
    """
    for signature in signatures:
        if signature.pixels == "cuda":
            if decoder.name != "nvdec":
                message = f"pixels='cuda' needs decoder 'nvdec', and {decoder.name!r} was chosen; "
                raise ConfigError(message + "choose nvdec, or pixels='swscale'")
            check_available(signature.interpolation)
