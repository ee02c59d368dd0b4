"""Attributes of a `defs.yaml`: cutting videos into clips."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline import ConfigError, clipping


class Whole(dg.Model, dg.Resolvable):
    """One clip per video."""

    kind: Literal["whole"]

    def clipping(self) -> "clipping.Clipping":
        """Return the library's clipping."""
        return clipping.WholeVideo()


class Stride(dg.Model, dg.Resolvable):
    """Clips of one length, a stride apart."""

    kind: Literal["fixed_stride"]
    clip_len_s: float = Field(default=10, description="Length of a clip, in seconds.")
    clip_stride_s: float = Field(
        default=10, description="Seconds from the start of one clip to the start of the next."
    )
    min_clip_length_s: float = Field(
        default=2,
        description="Minimum seconds of the last clips of a video. Shorter ones are dropped.",
    )
    limit_clips: int = Field(default=0, description="Maximum number of clips per video; 0: all.")

    def clipping(self) -> "clipping.Clipping":
        """Return the library's clipping."""
        return clipping.FixedStride(
            self.clip_len_s, self.clip_stride_s, self.min_clip_length_s, self.limit_clips
        )

    @model_validator(mode="after")
    def _check(self) -> "Stride":
        self.clipping()
        return self


class ByShots(dg.Model, dg.Resolvable):
    """A clip per shot, or several for a long one. Decodes every frame once."""

    kind: Literal["shots"]
    detector: Literal["transnetv2", "pyscenedetect"] = Field(
        default="transnetv2",
        description="`transnetv2` is a network that finds cuts, dissolves and fades; "
        "`pyscenedetect` finds cuts only. Both need the extra `shots`.",
    )
    threshold: float | None = Field(
        default=None,
        description="`transnetv2`: probability above which a frame is a transition; 0.4 if you "
        "leave it out. `pyscenedetect`: ratio of a cut's change to the change around "
        "it; 3 if you leave it out.",
    )
    refine: bool = Field(
        default=True,
        description="`transnetv2`: also use the network's second output, colours and black frames "
        "where the first output is unsure. With `false`, the threshold alone decides.",
    )
    min_length_s: float = Field(
        default=2,
        description="Minimum seconds of a clip after cropping. Shorter ones are dropped; 0: keep "
        "all.",
    )
    max_length_s: float = Field(
        default=10,
        description="Maximum seconds of a clip before cropping; 0: no maximum. `max_length_mode` "
        "applies to longer shots.",
    )
    max_length_mode: Literal["stride", "truncate"] = Field(
        default="stride",
        description="Divide a longer shot into consecutive clips, or keep only its start.",
    )
    crop_s: float = Field(
        default=0.5, description="Seconds to take off at both ends of every clip."
    )
    entire_scene_as_clip: bool = Field(
        default=True,
        description="Treat a video without a transition as one shot. With `false` you get no clip "
        "of it.",
    )
    limit_clips: int = Field(default=0, description="Maximum number of clips per video; 0: all.")

    def clipping(self) -> "clipping.Clipping":
        """Return the library's clipping."""
        given: dict[str, Any] = {} if self.threshold is None else {"threshold": self.threshold}
        if not self.refine:
            given["refine"] = False
            if self.detector != "transnetv2":
                message = f"refine=False is for transnetv2, not for {self.detector}; leave it out"
                raise ConfigError(message)
        return clipping.Shots(
            detector=clipping.DETECTORS[self.detector](**given),
            rules=clipping.ShotRules(
                self.min_length_s, self.max_length_s, self.max_length_mode, self.crop_s
            ),
            entire_scene_as_clip=self.entire_scene_as_clip,
            limit_clips=self.limit_clips,
        )

    @model_validator(mode="after")
    def _check(self) -> "ByShots":
        self.clipping()
        return self
