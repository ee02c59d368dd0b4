"""Jobs: one does everything for a batch, one looks at its videos again."""

from collections.abc import Iterable
from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dagster_defs.assets.videos import VIDEOS

AssetJob: TypeAlias = UnresolvedAssetJobDefinition
"""What `define_asset_job` gives."""

PROCESS_BATCH = "process_batch"
OBSERVE_VIDEOS = "observe_videos"


def build_batch_job(assets: Iterable[dg.AssetKey]) -> AssetJob:
    """Observe the videos of a batch, and make everything else from them."""
    return dg.define_asset_job(
        PROCESS_BATCH,
        selection=dg.AssetSelection.assets(*assets),
        description="Everything for one batch, from its videos to the catalog.",
    )


def build_observe_job() -> AssetJob:
    """Look at the videos of a batch, and at nothing else."""
    return dg.define_asset_job(
        OBSERVE_VIDEOS,
        selection=dg.AssetSelection.assets(VIDEOS),
        description="Looks at the videos of a batch again: what was made of others is then stale.",
    )
