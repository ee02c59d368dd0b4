"""Attributes of a `defs.yaml`: named signatures, with presets of common ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import dagster as dg
from pydantic import BeforeValidator, Field, model_validator

from frames_pipeline import FrameExtractionPolicy, FrameExtractionSignature
from frames_pipeline.encodings.encoding import Chroma, ImageCodec

if TYPE_CHECKING:
    PolicyName = str
else:  # a policy that is added to the library is a choice here
    PolicyName = Literal[tuple(map(str, FrameExtractionPolicy))]

AS_SHOWN: Final[Mapping[str, str]] = {
    "colour": "sdr",
    "deinterlace": "bwdif",
    "pixel_aspect": "square",
    "crop": "container",
}
"""Values that give frames as a person sees them in a player. Every preset has them."""

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "clip": {"target_fps": 1, "target_res": [224, 224], "resize_mode": "crop", **AS_SHOWN},
    "vlm": {"policy": "uniform", "num_frames": 8, "target_res": [448, -1], **AS_SHOWN},
    "training": {"target_fps": 8, "target_res": [256, 256], "resize_mode": "crop", **AS_SHOWN},
}
"""Presets: CLIP-like embeddings, captions by a vision-language model, dense training clips."""


def _off(value: object) -> object:
    """Return `off` for false, as which YAML reads it."""
    return "off" if value is False else value


def _chroma(value: object) -> object:
    """Return a:b:c for a number, as which YAML reads it: in base 60."""
    return f"{value // 3600}:{value // 60 % 60}:{value % 60}" if type(value) is int else value


class Encoding(dg.Model, dg.Resolvable):
    """Lossy image format of stored frames."""

    codec: str = Field(
        description="Image codec: `jpeg`, `webp`, `avif` or `jpegxl`.",
        json_schema_extra={"enum": list(get_args(ImageCodec))},
    )
    quality: int = Field(default=90, description="Quality from 1 to 100, on the codec's own scale.")
    chroma: Annotated[str | None, BeforeValidator(_chroma)] = Field(
        default=None,
        description="Chroma subsampling: `4:2:0`, or `4:4:4` for full resolution. If you leave it "
        "out: `4:4:4` for `jpegxl`, which has no other, and `4:2:0` for the others; `webp` has no "
        "other.",
        json_schema_extra={"enum": [*get_args(Chroma), None]},
    )


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
    colour: Literal["ffmpeg", "accurate", "sdr"] = Field(
        default="ffmpeg",
        description="How frames become RGB. `ffmpeg`: as FFmpeg's default does. `accurate`: with "
        "full chroma and exact rounding, which resized frames always get "
        "(docs/design/corpus.md#colours). `sdr`: as `accurate`, and HDR (PQ, HLG) and wide gamut "
        "are converted to the colours of an ordinary display, BT.709.",
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

    deinterlace: Annotated[Literal["off", "bwdif"], BeforeValidator(_off)] = Field(
        default="off",
        description="`bwdif`: replace the comb of an interlaced frame by full lines, with FFmpeg's "
        "filter of that name; progressive frames keep their bytes. `off`: keep the comb.",
    )
    pixel_aspect: Literal["coded", "square"] = Field(
        default="coded",
        description="`square`: count sizes in the shape that players show, so that circles are "
        "round where the video's pixels are not square (DVDs, broadcasts). `coded`: count "
        "stored pixels.",
    )
    samples: Literal["rgb8", "rgb16", "gray8", "gray16"] = Field(
        default="rgb8",
        description="Channels and bits of a pixel: three channels of RGB, or one of gray, in "
        "uint8 or uint16 over the full range. Choose 16 bits for 10-bit video and for depth maps. "
        "Models take `rgb8` unless they say otherwise.",
    )
    encoding: Literal["lossless"] | Encoding = Field(
        default="lossless",
        description="Keep every bit of a frame, or store it as an image of a lossy codec, with a "
        "tenth of the bytes. The pixels of frames are then the decoded ones. Needs the extra "
        "`encodings`.",
    )

    def signature(self) -> FrameExtractionSignature:
        """Return the library's signature."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        if isinstance(self.encoding, Encoding):
            given["encoding"] = self.encoding.model_dump()
        return FrameExtractionSignature.from_mapping(
            {**PRESETS.get(self.preset or "", {}), **given}
        )

    @model_validator(mode="after")
    def _check(self) -> "Signature":
        self.signature()
        return self
