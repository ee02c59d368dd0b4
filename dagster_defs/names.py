"""What the assets, partitions, jobs and sensors of a component are called."""

from dataclasses import dataclass

import dagster as dg

POOL = "decode"
"""Dagster pool of extraction on the CPU, for instances that limit how many run at once."""

ASSETS = (
    "videos", "clips", "clip_frames", "frame_embeddings", "clip_embeddings", "near_duplicates",
    "frame_quality", "clip_captions", "clip_catalog",
)  # fmt: skip
"""First parts of the keys of assets."""


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that has a name in the instance, with the component's own in front, if it has one.

        name    assets      partitions        jobs                resources       pools
        (none)  clips       video_batch       process_batch       workspace       decode
        cars    cars/clips  cars_video_batch  cars_process_batch  cars_workspace  cars_decode

    Partitions and pools are shared by all code locations of an instance, the others by the
    components of one code location.
    """

    component: str = ""
    """The component's own name; empty for the only one."""

    def of(self, name: str) -> str:
        """Return the name of a job, op, sensor, schedule, resource, pool or group of assets."""
        return f"{self.component}_{name}" if self.component else name

    def asset(self, *path: str) -> dg.AssetKey:
        """The key of an asset."""
        return dg.AssetKey([self.component, *path] if self.component else path)

    def owns(self, key: dg.AssetKey) -> bool:
        """Return whether an asset is the component's."""
        return key.path[0] in ([self.component] if self.component else ASSETS)

    def frames(self, signature: str) -> dg.AssetKey:
        """The asset of a named signature's frames."""
        return self.asset("clip_frames", signature)

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """The one way in which everything is partitioned: by sealed batch of videos."""
        return dg.DynamicPartitionsDefinition(name=self.of("video_batch"))

    @property
    def videos(self) -> dg.AssetKey:
        """The observed files."""
        return self.asset("videos")

    @property
    def clips(self) -> dg.AssetKey:
        """Spans of them."""
        return self.asset("clips")

    @property
    def near_duplicates(self) -> dg.AssetKey:
        """Clips of all batches that are nearly the same."""
        return self.asset("near_duplicates")

    @property
    def catalog(self) -> dg.AssetKey:
        """Everything about clips."""
        return self.asset("clip_catalog")
