"""Named signatures, as a `defs.yaml` says them, and presets of common ones."""

from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline import FrameExtractionSignature

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"target_fps": 1, "target_res": [224, 224], "resize_mode": "crop"},
    "vlm": {"policy": "uniform", "num_frames": 8, "target_res": [448, -1]},
    "training": {"target_fps": 8, "target_res": [256, 256], "resize_mode": "crop"},
}
"""Common needs: CLIP and its kin, captions by a vision-language model, dense training clips."""


class Signature(dg.Model, dg.Resolvable):
    """Which frames, and what becomes of their pixels."""

    preset: Literal["clip", "vlm", "training"] | None = Field(
        default=None,
        description="Values for what is not said here: see docs/reference/configuration.md.",
    )
    policy: Literal["first", "middle", "last", "sequence", "uniform", "keyframes"] = Field(
        default="sequence", description="How frames are chosen."
    )
    target_fps: int | float | str | None = Field(
        default=None, description="Frames per second of a sequence: 2, 0.5 or '30000/1001'."
    )
    num_frames: int | None = Field(default=None, description="How many, for `uniform`.")
    target_res: list[int] | None = Field(
        default=None, description="[height, width]; -1 on one side keeps the aspect."
    )
    resize_mode: Literal["stretch", "fit", "pad", "crop"] = Field(
        default="stretch", description="What happens to the aspect."
    )
    interpolation: Literal["bicubic", "bilinear", "area", "lanczos"] = Field(
        default="bicubic", description="How pixels are resampled."
    )
    colour: Literal["ffmpeg", "accurate"] = Field(
        default="ffmpeg", description="How frames that keep their size become RGB."
    )
    pixels: Literal["swscale", "cuda"] = Field(
        default="swscale", description="Who converts and resizes: the CPU, or the GPU that decodes."
    )
    rotation: Literal["apply", "ignore"] = Field(
        default="apply", description="Whether the display matrix counts."
    )
    crop: Literal["coded", "container"] = Field(
        default="coded",
        description="The whole coded picture, or the part that the container says to show.",
    )

    def signature(self) -> FrameExtractionSignature:
        """The library's signature."""
        said = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return FrameExtractionSignature.from_mapping({**PRESETS.get(self.preset or "", {}), **said})

    @model_validator(mode="after")
    def _check(self) -> "Signature":
        self.signature()
        return self
