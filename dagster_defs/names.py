"""Names of a component's assets, partitions, jobs and sensors."""

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
    """Names in the instance, with the component's name as a prefix if it has one.

        name    assets      partitions        jobs                resources       pools
        (none)  clips       video_batch       process_batch       workspace       decode
        cars    cars/clips  cars_video_batch  cars_process_batch  cars_workspace  cars_decode

    Partitions and pools are shared by all code locations of an instance, the others by the
    components of one code location.
    """

    component: str = ""
    """Name of the component; empty for the only one."""

    def of(self, name: str) -> str:
        """Return the name of a job, op, sensor, schedule, resource, pool or group of assets."""
        return f"{self.component}_{name}" if self.component else name

    def asset(self, *path: str) -> dg.AssetKey:
        """Return the key of an asset."""
        return dg.AssetKey([self.component, *path] if self.component else path)

    def owns(self, key: dg.AssetKey) -> bool:
        """Return whether an asset is the component's."""
        return key.path[0] in ([self.component] if self.component else ASSETS)

    def frames(self, signature: str) -> dg.AssetKey:
        """Return the key of the asset of a named signature's frames."""
        return self.asset("clip_frames", signature)

    @property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """The partitions of all assets: one per sealed batch of videos."""
        return dg.DynamicPartitionsDefinition(name=self.of("video_batch"))

    @property
    def videos(self) -> dg.AssetKey:
        """Key of the asset of observed files."""
        return self.asset("videos")

    @property
    def clips(self) -> dg.AssetKey:
        """Key of the asset of clips."""
        return self.asset("clips")

    @property
    def near_duplicates(self) -> dg.AssetKey:
        """Key of the asset of near-duplicate clips."""
        return self.asset("near_duplicates")

    @property
    def catalog(self) -> dg.AssetKey:
        """Key of the asset of the catalog."""
        return self.asset("clip_catalog")
