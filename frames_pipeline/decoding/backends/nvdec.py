"""The NVIDIA backend: NVDEC through PyAV, fed with the same packets as the CPU's.

NVDEC decodes H.264, HEVC, VP9 and AV1 to the samples that the specifications prescribe, as
libavcodec does. Frames stay on the GPU until one is converted; then its samples are brought into
the CPU's layout and take the CPU's path to RGB, so that both backends give the same bytes.
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
from frames_pipeline.decoding.backends.base import Backend, Decoded, Setting, Tally
from frames_pipeline.decoding.backends.feed import feed
from frames_pipeline.errors import (
    ConfigError,
    DecoderUnavailableError,
    DecoderUnsupportedError,
    UnsupportedSourceError,
)

CODECS: Final = ("av1", "h264", "hevc", "vp9")
"""What is decoded by specification to the bit, and so gives the CPU's samples."""

_DRIVER: Final = Path("/proc/driver/nvidia/version")
_UNREACHABLE: Final = (FFmpegError, OSError, RuntimeError, NotImplementedError)
"""What PyAV raises where there is no GPU, no driver, or no session left."""


@dataclass(frozen=True, slots=True)
class NvdecDecoder:
    """Decodes on an NVIDIA GPU; `open_nvdec` makes sure that there is one."""

    gpu: int = 0
    """Which GPU, as CUDA counts them."""

    def __post_init__(self) -> None:
        """Refuse a GPU that cannot be."""
        if self.gpu < 0:
            message = f"gpu={self.gpu} is below zero; GPUs are counted from 0"
            raise ConfigError(message)

    @property
    def name(self) -> str:
        return "nvdec"

    @property
    def device(self) -> str:
        """The GPU, as CUDA calls it."""
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
        """Make sure that the GPU is there.

        Raises:
            DecoderUnavailableError: It is not, or its driver lacks the video decoder.
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
    """What NVIDIA's driver calls itself; empty where there is none."""
    try:
        return _DRIVER.read_text().splitlines()[0].removeprefix("NVRM version: ").strip()
    except (OSError, IndexError):
        return ""


def _accelerator(gpu: int) -> HWAccel:
    """The GPU's primary context, which everything in this process shares, torch included."""
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
    """Hold on to the GPU's context while this process lives: making one takes long."""
    return av.CodecContext.create("h264", "r", hwaccel=_accelerator(gpu))


def open_nvdec(gpu: int = 0) -> NvdecDecoder:
    """The decoder of a GPU that is there.

    Raises:
        DecoderUnavailableError: There is no such GPU, or it cannot decode video.
    """
    decoder = NvdecDecoder(gpu)
    decoder.check()
    return decoder


NVDEC: Final = Backend(
    "nvdec",
    "Decode on an NVIDIA GPU, or fail.",
    open_nvdec,
    settings=(Setting("gpu", 0, "Index of the GPU, as CUDA counts them."),),
    uses_gpu=True,
)
