"""The sensor that finds videos and seals them into batches."""

import time

import dagster as dg

from dagster_defs.jobs import PROCESS_BATCH
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import PlacesResource
from frames_pipeline import FramesPipelineError
from frames_pipeline.batches import Batching
from frames_pipeline.pipeline import discover


def build_batch_sensor(batching: Batching, *, interval_s: int) -> dg.SensorDefinition:
    """Seal what is due, add a partition for each batch, and request a run for it.

    A batch that was sealed, but not added because the daemon was stopped in between, is added at
    the next tick: what is sealed is compared with what Dagster knows.
    """

    @dg.sensor(
        name="video_batches",
        job_name=PROCESS_BATCH,
        minimum_interval_seconds=interval_s,
        description="Seals new videos into batches, and requests a run for each.",
    )
    def video_batches(
        context: dg.SensorEvaluationContext, places: PlacesResource
    ) -> dg.SensorResult | dg.SkipReason:
        opened = places.open()
        try:
            found = discover(opened, batching, now=time.time())
        except FramesPipelineError as error:
            return dg.SkipReason(f"cannot look for videos: {error}")
        known = set(context.instance.get_dynamic_partitions(VIDEO_BATCH.name or ""))
        new = [key for key in opened.batches.keys() if key not in known]  # noqa: SIM118
        if not new:
            return dg.SkipReason(
                f"{found.listed} videos under {opened.source.url}, {found.waiting} of them wait "
                f"for a batch of {batching.batch_size}, or to be {batching.max_wait_s:g} s old"
            )
        return dg.SensorResult(
            dynamic_partitions_requests=[VIDEO_BATCH.build_add_request(new)],
            run_requests=[dg.RunRequest(run_key=key, partition_key=key) for key in new],
        )

    return video_batches
