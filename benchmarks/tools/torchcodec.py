"""torchcodec, with resizing during decoding."""

from __future__ import annotations

from importlib.metadata import version
from typing import Literal

from benchmarks.tools.base import Request


class TorchCodec:
    """Get the frames played at given times in one call."""

    def __init__(self, mode: Literal["approximate", "exact"]) -> None:
        import torch
        import torchcodec.decoders  # noqa: F401, PLC0415

        torch.set_num_threads(1)
        self._mode = mode

    @property
    def version(self) -> str:
        return version("torchcodec")

    def extract(self, request: Request) -> int:
        from torchcodec.decoders import VideoDecoder  # noqa: PLC0415
        from torchcodec.transforms import Resize  # noqa: PLC0415

        decoder = VideoDecoder(
            str(request.path),
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            seek_mode=self._mode,
            transforms=[Resize(request.size)] if request.size else None,
        )
        return len(decoder.get_frames_played_at(request.times).data.numpy())
