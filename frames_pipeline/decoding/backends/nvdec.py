"""The NVIDIA backend: NVDEC through PyAV, fed with the same packets as the CPU's.

NVDEC decodes H.264, HEVC, VP9 and AV1 to the samples that the specifications prescribe, as
libavcodec does. A frame stays on the GPU until it is converted. Then its samples are brought into
the CPU's layout and take the CPU's path to RGB, so both backends give the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import av
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends.base import Decoded, Tally
from frames_pipeline.decoding.backends.feed import feed
from frames_pipeline.errors import (
    ConfigError,
    DecoderUnavailableError,
    DecoderUnsupportedError,
    UnsupportedSourceError,
)

CODECS: Final = ("av1", "h264", "hevc", "vp9")
"""Codecs with a bit-exact specification, for which NVDEC gives the CPU's samples."""

_DRIVER: Final = Path("/proc/driver/nvidia/version")
_UNREACHABLE: Final = (FFmpegError, OSError, RuntimeError)
"""Errors that PyAV raises without a GPU, a driver, or a free session. Without CUDA in FFmpeg it is
a `NotImplementedError`, which is a `RuntimeError`."""


@dataclass(frozen=True, slots=True)
class NvdecDecoder:
    """Decodes on an NVIDIA GPU; `open_nvdec` checks that there is one."""

    gpu: int = 0
    """Index of the GPU, as CUDA counts them."""

    def __post_init__(self) -> None:
        """Check the index."""
        if self.gpu < 0:
            message = f"gpu={self.gpu} must not be below zero; GPUs are counted from 0"
            raise ConfigError(message)

    @property
    def name(self) -> str:
        return "nvdec"

    @property
    def device(self) -> str:
        """CUDA's name of the GPU."""
        return f"cuda:{self.gpu}"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        tally.decoder, tally.device = self.name, self.device
        codec = media.index.codec
        if codec not in CODECS:
            self._refuse(media, f"there is no exact decoder for {codec}")
        try:
            _keep_context(self.gpu)
            context = media.accelerated(_accelerator(self.gpu))
        except (*_UNREACHABLE, UnsupportedSourceError) as error:
            self._refuse(media, f"the GPU does not take it: {error}")
        try:
            for decoded in feed(context, media, rows, tally):
                is_error = decoded.frame is None and not decoded.is_gap
                if is_error and not tally.frames_decoded:
                    self._refuse(media, f"nothing of it was decoded: {decoded.error}")
                yield decoded
        except MemoryError as error:
            self._refuse(media, f"there is not enough memory: {error}")

    def check(self) -> None:
        """Check that the GPU can be used.

        Raises:
            DecoderUnavailableError: The GPU is missing, or its driver lacks the video decoder.
        """
        try:
            _keep_context(self.gpu)
        except _UNREACHABLE as error:
            message = f"decoder 'nvdec' finds no GPU {self.gpu} that decodes video ({error}); "
            message += "install NVIDIA's driver with its video libraries, "
            raise DecoderUnavailableError(message + "or choose pyav or auto") from error

    def _refuse(self, media: Media, why: str) -> NoReturn:
        message = f"{media.name}: decoder 'nvdec' on {self.device}: {why}; choose pyav for it"
        raise DecoderUnsupportedError(message)


def driver_version() -> str:
    """Return the name of NVIDIA's driver; empty without one."""
    try:
        return _DRIVER.read_text().splitlines()[0].removeprefix("NVRM version: ").strip()
    except (OSError, IndexError):
        return ""


def _accelerator(gpu: int) -> HWAccel:
    """Return the GPU's primary context, which this process shares, torch included."""
    options: dict[str, object] = {"primary_ctx": "1"}
    return HWAccel(
        "cuda",
        device=str(gpu),
        allow_software_fallback=False,
        options=options,
        is_hw_owned=True,
    )


@functools.cache
def _keep_context(gpu: int) -> av.CodecContext:
    """Keep the GPU's context for the life of this process: opening one is slow."""
    return av.CodecContext.create("h264", "r", hwaccel=_accelerator(gpu))


def open_nvdec(gpu: int = 0) -> NvdecDecoder:
    """Return the decoder of a GPU.

    Raises:
        DecoderUnavailableError: The GPU is missing, or it cannot decode video.
    """
    decoder = NvdecDecoder(gpu)
    decoder.check()
    return decoder
