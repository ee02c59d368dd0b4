"""Decoder backends by name.

A backend is a module here and an entry in `registry.DECODERS`; the command line reads that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_names

if TYPE_CHECKING:
    from frames_pipeline.decoding.backends.auto import AutoDecoder, open_auto
    from frames_pipeline.decoding.backends.base import (
        MIN_MEGAPIXELS,
        Backend,
        Decoded,
        Decoder,
        Setting,
        Tally,
    )
    from frames_pipeline.decoding.backends.nvdec import NvdecDecoder, driver_version, open_nvdec
    from frames_pipeline.decoding.backends.pixels import check_pixels
    from frames_pipeline.decoding.backends.pyav import PyavDecoder
    from frames_pipeline.decoding.backends.registry import DECODERS, open_decoder


__all__ = [
    "DECODERS",
    "MIN_MEGAPIXELS",
    "AutoDecoder",
    "Backend",
    "Decoded",
    "Decoder",
    "NvdecDecoder",
    "PyavDecoder",
    "Setting",
    "Tally",
    "check_pixels",
    "driver_version",
    "open_auto",
    "open_decoder",
    "open_nvdec",
]

_HOMES: Final = {
    "auto": (
        "AutoDecoder",
        "open_auto",
    ),
    "base": (
        "MIN_MEGAPIXELS",
        "Backend",
        "Decoded",
        "Decoder",
        "Setting",
        "Tally",
    ),
    "nvdec": (
        "NvdecDecoder",
        "driver_version",
        "open_nvdec",
    ),
    "pixels": ("check_pixels",),
    "pyav": ("PyavDecoder",),
    "registry": (
        "DECODERS",
        "open_decoder",
    ),
}

__getattr__ = lazy_names(__name__, _HOMES)
