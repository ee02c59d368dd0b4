"""Decoder backends by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frames_pipeline.decoding.backends.base import MIN_MEGAPIXELS, Backend, Decoder, Setting
from frames_pipeline.errors import ConfigError

_GPU: Final = Setting("gpu", 0, "Index of the GPU, as CUDA counts them.")
_THREADS: Final = Setting(
    "threads", 1, "Maximum number of decoder threads per video, on the CPU.", minimum=1
)
_MIN_MEGAPIXELS: Final = Setting(
    "min_megapixels",
    MIN_MEGAPIXELS,
    "Use the CPU if fewer megapixels than this are to be decoded in a row "
    "(docs/operations/gpu.md).",
)
_HERE: Final = "frames_pipeline.decoding.backends"

DECODERS: Final[Mapping[str, Backend]] = {
    one.name: one
    for one in (
        Backend("pyav", "Decode on the CPU.", f"{_HERE}.pyav:PyavDecoder", settings=(_THREADS,)),
        Backend(
            "nvdec",
            "Decode on an NVIDIA GPU, or fail.",
            f"{_HERE}.nvdec:open_nvdec",
            settings=(_GPU,),
            uses_gpu=True,
        ),
        Backend(
            "auto",
            "Decode on a GPU if there is one and the work is large enough, else on the CPU.",
            f"{_HERE}.auto:open_auto",
            settings=(_GPU, _THREADS, _MIN_MEGAPIXELS),
            uses_gpu=True,
        ),
    )
}
"""Backends by the name users choose them by. A new one is a module and a record here."""


def open_decoder(decoder: Decoder | str | None = None) -> Decoder:
    """Return a decoder by name, or the given one; `None` means `pyav`.

    Raises:
        ConfigError: No backend has that name.
        DecoderUnavailableError: The backend cannot run on this machine.
    """
    if decoder is None:
        return DECODERS["pyav"]()
    if not isinstance(decoder, str):
        return decoder
    if decoder not in DECODERS:
        message = f"no decoder {decoder!r}; choose one of {', '.join(DECODERS)}"
        raise ConfigError(message)
    return DECODERS[decoder]()
