"""How videos are cut into clips, as a `defs.yaml` says it."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline import ConfigError, clipping


class Whole(dg.Model, dg.Resolvable):
    """One clip per video."""

    kind: Literal["whole"]

    def clipping(self) -> "clipping.Clipping":
        """The way of clipping."""
        return clipping.WholeVideo()


class Stride(dg.Model, dg.Resolvable):
    """A clip at every stride."""

    kind: Literal["fixed_stride"]
    clip_len_s: float = Field(default=10, description="Seconds of a clip.")
    clip_stride_s: float = Field(default=10, description="Seconds from one start to the next.")
    min_clip_length_s: float = Field(
        default=2, description="Seconds below which the last, shorter clips are left out."
    )
    limit_clips: int = Field(default=0, description="The most clips per video; 0: all.")

    def clipping(self) -> "clipping.Clipping":
        """The way of clipping."""
        return clipping.FixedStride(
            self.clip_len_s, self.clip_stride_s, self.min_clip_length_s, self.limit_clips
        )

    @model_validator(mode="after")
    def _check(self) -> "Stride":
        self.clipping()
        return self


class ByShots(dg.Model, dg.Resolvable):
    """A clip for every shot, or several for a long one. Decodes every frame once."""

    kind: Literal["shots"]
    detector: Literal["transnetv2", "pyscenedetect"] = Field(
        default="transnetv2",
        description="A network that finds cuts, dissolves and fades, or PySceneDetect's adaptive "
        "detector, which finds cuts. Both need the extra `shots`.",
    )
    threshold: float | None = Field(
        default=None,
        description="For `transnetv2` the probability above which a frame is a transition (0.4); "
        "for `pyscenedetect` how many times the change around it a cut must be (3).",
    )
    refine: bool = Field(
        default=True,
        description="For `transnetv2`: what it is unsure of is settled by its second output, by "
        "colours and by black frames. `false`: the threshold alone decides.",
    )
    min_length_s: float = Field(
        default=2, description="Seconds below which a clip is left out, once cropped; 0: none is."
    )
    max_length_s: float = Field(
        default=10, description="Seconds above which a shot is cut; 0: it never is."
    )
    max_length_mode: Literal["stride", "truncate"] = Field(
        default="stride",
        description="A longer shot becomes one clip after the other, or one: its start.",
    )
    crop_s: float = Field(
        default=0.5, description="Seconds that are taken off at both ends of every clip."
    )
    entire_scene_as_clip: bool = Field(
        default=True,
        description="Whether a video without a transition is a shot, or gives no clip.",
    )
    limit_clips: int = Field(default=0, description="The most clips per video; 0: all.")

    def clipping(self) -> "clipping.Clipping":
        """The way of clipping."""
        said: dict[str, Any] = {} if self.threshold is None else {"threshold": self.threshold}
        if not self.refine:
            said["refine"] = False
            if self.detector != "transnetv2":
                message = f"refine=False is for transnetv2, not for {self.detector}; leave it out"
                raise ConfigError(message)
        return clipping.Shots(
            detector=clipping.DETECTORS[self.detector](**said),
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
