"""The sensor that finds videos, seals them into batches, and sees which of them change."""

import time
from collections.abc import Sequence

import dagster as dg

from dagster_defs.jobs import OBSERVE_VIDEOS, PROCESS_BATCH, AssetJob
from dagster_defs.metadata import tags_of
from dagster_defs.names import Names
from dagster_defs.resources import PlacesResource
from frames_pipeline import FramesPipelineError
from frames_pipeline.batches import Batching
from frames_pipeline.entries import said_of
from frames_pipeline.pipeline import Places, discover, find_changes


def build_batch_sensor(
    names: Names,
    batching: Batching,
    jobs: Sequence[AssetJob],
    *,
    interval_s: int,
    max_batches: int,
    look_at: int,
) -> dg.SensorDefinition:
    """Seal what is due, add a partition for each batch, and request a run for it.

    A batch that was sealed, but not added because the daemon was stopped in between, is added at
    the next tick: what is sealed is compared with what Dagster knows. In the same way partitions of
    batches that were retired elsewhere are removed, and those of restored ones come back.

    Batches that were sealed before are compared with what was last observed of them, some at each
    tick, in turn; a run that observes is requested for those that changed.

    Args:
        names: What it, its job and its partitions are called.
        batching: When videos become a batch.
        jobs: The job that processes a batch, and the one that observes its videos.
        interval_s: Seconds between two ticks.
        max_batches: The most batches that are sealed and started at a tick.
        look_at: The most batches that are compared at a tick.
    """
    opened: dict[str, Places] = {}  # stays with the code server: batches are read once

    @dg.sensor(
        name=names.of("video_batches"),
        jobs=jobs,
        minimum_interval_seconds=interval_s,
        description="Seals new videos into batches, and requests a run for each. Batches whose "
        "files changed are observed again.",
    )
    def video_batches(
        context: dg.SensorEvaluationContext, places: PlacesResource
    ) -> dg.SensorResult:
        here = opened.setdefault(repr(places), places.open())
        try:
            found = discover(here, batching, now=time.time(), at_most=max_batches)
            keys = here.batches.seen()  # as `discover` found them
            known = set(context.instance.get_dynamic_partitions(names.of("video_batch")))
            looked_at = _next([key for key in keys if key in known], context.cursor, look_at)
            left = known - set(keys)
            gone = sorted(left.intersection(here.batches.retired())) if left else []
            changes = find_changes(
                looked_at, found, here, settled=time.time() - batching.max_wait_s
            )
        except FramesPipelineError as error:
            return dg.SensorResult(skip_reason=f"cannot look for videos: {error}")
        if found.passed_over:
            context.log.info(f"passed over under {here.source.url}: {said_of(found.passed_over)}")
        new = [key for key in keys if key not in known][:max_batches]
        cursor = looked_at[-1] if looked_at else context.cursor
        requests = [
            dg.RunRequest(
                run_key=key,
                job_name=names.of(PROCESS_BATCH),
                partition_key=key,
                tags=tags_of(found.passed_over),
            )
            for key in new
        ] + [
            dg.RunRequest(
                run_key=f"{change.batch} {change.state}",
                job_name=names.of(OBSERVE_VIDEOS),
                partition_key=change.batch,
                tags=tags_of(found.passed_over),
            )
            for change in changes
        ]
        partitions: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = [
            *([names.partitions.build_add_request(new)] if new else []),
            *([names.partitions.build_delete_request(gone)] if gone else []),
        ]
        if not requests and not partitions:
            reason = (
                f"{len(found.listed)} videos under {here.source.url}, {found.waiting} of them wait "
                f"for a batch of {batching.batch_size}, or to be {batching.max_wait_s:g} s old; "
                f"none changed in the {len(looked_at)} batches looked at; passed over: "
                f"{said_of(found.passed_over)}"
            )
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        return dg.SensorResult(
            dynamic_partitions_requests=partitions, run_requests=requests, cursor=cursor
        )

    return video_batches


def _next(keys: Sequence[str], after: str | None, count: int) -> Sequence[str]:
    """So many keys from the one after the last that was taken, round and round."""
    start = sum(key <= after for key in keys) if after else 0
    return [*keys[start:], *keys[:start]][:count]
