"""Attributes of a `defs.yaml`: named signatures, with presets of common ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline import FrameExtractionPolicy, FrameExtractionSignature

if TYPE_CHECKING:
    PolicyName = str
else:  # a policy that is added to the library is a choice here
    PolicyName = Literal[tuple(map(str, FrameExtractionPolicy))]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"target_fps": 1, "target_res": [224, 224], "resize_mode": "crop"},
    "vlm": {"policy": "uniform", "num_frames": 8, "target_res": [448, -1]},
    "training": {"target_fps": 8, "target_res": [256, 256], "resize_mode": "crop"},
}
"""Presets: CLIP-like embeddings, captions by a vision-language model, dense training clips."""


class Signature(dg.Model, dg.Resolvable):
    """Selection of frames, and conversion of their pixels."""

    preset: Literal["clip", "vlm", "training"] | None = Field(
        default=None,
        description="Values for the attributes that you leave out "
        "(docs/reference/configuration.md#signatures).",
    )
    policy: PolicyName = Field(
        default="sequence", description="How frames are chosen within a clip."
    )
    target_fps: int | float | str | None = Field(
        default=None,
        description="Rate of `sequence`: 2, 0.5 or '30000/1001'; 2 if you leave it out.",
    )
    num_frames: int | None = Field(
        default=None, description="Number of frames for `uniform`, which requires it."
    )
    target_res: list[int] | None = Field(
        default=None,
        description="Height and width of a frame: `[224, 224]`. Write -1 on one side to keep the "
        "aspect ratio. If you leave it out, frames keep the source's size.",
    )
    resize_mode: Literal["stretch", "fit", "pad", "crop"] = Field(
        default="stretch",
        description="Resize to exactly the size; to fit inside it; to fit inside it with black "
        "borders; or to cover it, cropped at the centre.",
    )
    interpolation: Literal["bicubic", "bilinear", "area", "lanczos"] = Field(
        default="bicubic", description="Resampling filter."
    )
    colour: Literal["ffmpeg", "accurate"] = Field(
        default="ffmpeg",
        description="How frames in the source's size become RGB: as FFmpeg's default does, or "
        "with full chroma and exact rounding. Resized frames always get full chroma "
        "and exact rounding (docs/design/corpus.md#colours).",
    )
    pixels: Literal["swscale", "cuda"] = Field(
        default="swscale",
        description="Convert and resize on the CPU, or on the GPU that decodes "
        "(docs/operations/gpu.md).",
    )
    rotation: Literal["apply", "ignore"] = Field(
        default="apply",
        description="Apply the display matrix: turn and mirror to the nearest right angle, as "
        "players do.",
    )
    crop: Literal["coded", "container"] = Field(
        default="coded",
        description="Keep the whole coded picture, or the part that the container crops to "
        "(MP4's clean aperture, Matroska's pixel crop), as players do. Cropping comes "
        "before turning and resizing, at whole chroma samples.",
    )

    def signature(self) -> FrameExtractionSignature:
        """Return the library's signature."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return FrameExtractionSignature.from_mapping(
            {**PRESETS.get(self.preset or "", {}), **given}
        )

    @model_validator(mode="after")
    def _check(self) -> "Signature":
        self.signature()
        return self
