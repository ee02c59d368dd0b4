"""Jobs: one makes everything of a batch, one looks at its videos again, one retires it."""

from collections.abc import Iterable
from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from dagster_defs.assets.videos import VIDEOS
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline.pipeline import retire_batch

AssetJob: TypeAlias = UnresolvedAssetJobDefinition
"""What `define_asset_job` gives."""

PROCESS_BATCH = "process_batch"
OBSERVE_VIDEOS = "observe_videos"
RETIRE_BATCH = "retire_batch"


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


class Retirement(dg.Config):
    """What becomes of the frames of a batch that is retired."""

    withdraw: bool = Field(
        default=False,
        description="Take back its frames and delete its tables, too; `collect_garbage` then frees "
        "the room. Otherwise everything stays readable.",
    )


def build_retire_job() -> dg.JobDefinition:
    """Take a batch out of use: choose its partition, and launch."""

    @dg.op(description="Marks the batch as retired, and removes its partition.")
    def retire(context: dg.OpExecutionContext, config: Retirement, places: PlacesResource) -> None:
        batch = context.partition_key
        with retrying_transients():
            clips = retire_batch(batch, places.open(), withdraw=config.withdraw)
        context.instance.delete_dynamic_partition(VIDEO_BATCH.name or "", batch)
        kept = f"{clips} stored clips withdrawn" if config.withdraw else "its frames are kept"
        context.log.info(f"{batch} is retired; {kept}")

    @dg.job(
        name=RETIRE_BATCH,
        partitions_def=VIDEO_BATCH,
        description="Takes a batch out of use: it is no longer looked at, and no longer a "
        "partition. Its videos stay sealed in it.",
    )
    def retire_one() -> None:
        retire()

    return retire_one
