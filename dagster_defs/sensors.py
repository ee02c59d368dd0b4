"""The sensor that seals videos into batches, requests their runs, and detects changed files."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_defs.jobs import OBSERVE_VIDEOS, PROCESS_BATCH, AssetJob
from dagster_defs.metadata import tags_of
from dagster_defs.names import Names
from dagster_defs.resources import (
    WorkspaceResource,
    keys_of,
    resource_of,
)
from frames_pipeline import FramesPipelineError, pipeline
from frames_pipeline.sources.batching import Batching
from frames_pipeline.sources.entries import describe_passed_over

PartitionsRequest = dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest


def build_batch_sensor(
    names: Names,
    batching: Batching,
    jobs: Sequence[AssetJob],
    *,
    interval_s: int,
    max_batches: int,
    look_at: int,
) -> dg.SensorDefinition:
    """Build the sensor that seals batches, adds their partitions and requests their runs.

    If the daemon stops between sealing a batch and adding its partition, the next tick adds it:
    sealed batches are compared with Dagster's partitions. In the same way, partitions of batches
    that were retired elsewhere are removed, and partitions of restored batches return.

    Each tick also compares some of the known batches, in turn, with their last observation. It
    requests an observation run for each batch with changed files.

    Args:
        names: Names of the sensor, its jobs and its partitions.
        batching: Rules that seal videos into batches.
        jobs: The job that processes a batch, and the one that observes its videos.
        interval_s: Seconds between two ticks.
        max_batches: Maximum batches to seal and start per tick.
        look_at: Maximum batches to compare per tick.
    """
    # stays with the code server: batches are read once
    opened: dict[str, pipeline.Workspace] = {}

    @dg.sensor(
        name=names.of("video_batches"),
        jobs=jobs,
        required_resource_keys=keys_of(names, WorkspaceResource),
        minimum_interval_seconds=interval_s,
        description="Seals new videos into batches, and requests a run for each. Batches with "
        "changed files are observed again.",
    )
    def video_batches(context: dg.SensorEvaluationContext, **_: object) -> dg.SensorResult:
        # called directly, as tests do, a sensor is given its resources as arguments, too
        workspace = resource_of(context, names, WorkspaceResource)
        here = opened.setdefault(repr(workspace), workspace.open())
        try:
            found = pipeline.discover(here, batching, now=time.time(), at_most=max_batches)
            known = set(context.instance.get_dynamic_partitions(names.of("video_batch")))
            tick = compare_batches(
                found,
                known,
                here,
                after=context.cursor,
                settled=time.time() - batching.max_wait_s,
                max_batches=max_batches,
                look_at=look_at,
            )
        except FramesPipelineError as error:
            return dg.SensorResult(skip_reason=f"cannot list videos: {error}")
        if found.passed_over:
            context.log.info(
                f"passed over under {here.source.url}: {describe_passed_over(found.passed_over)}"
            )
        return _result(tick, names, here.source.url, batching)

    return video_batches


def _result(tick: "Tick", names: Names, url: str, batching: Batching) -> dg.SensorResult:
    """Return the requests of a tick, or the reason for none."""
    requests, partitions = _run_requests(tick, names), _partitions_requests(tick, names)
    if not requests and not partitions:
        reason = _skip_reason(tick, url, batching)
        return dg.SensorResult(skip_reason=reason, cursor=tick.cursor)
    return dg.SensorResult(
        dynamic_partitions_requests=partitions, run_requests=requests, cursor=tick.cursor
    )


@dataclass(frozen=True, slots=True)
class Tick:
    """The source and the sealed batches at one tick, compared with Dagster's partitions."""

    found: "pipeline.Discovery"
    """Result of listing the source."""
    new: Sequence[str]
    """Sealed batches without a partition, to add and process now."""
    retired: Sequence[str]
    """Retired batches that still have a partition."""
    compared: Sequence[str]
    """Batches compared with their last observation at this tick."""
    changes: "Sequence[pipeline.Change]"
    """Changed files of the compared batches."""
    cursor: str | None
    """Batch after which the next tick continues comparing."""


def compare_batches(
    found: "pipeline.Discovery",
    known: Collection[str],
    here: "pipeline.Workspace",
    *,
    after: str | None,
    settled: float,
    max_batches: int,
    look_at: int,
) -> Tick:
    """Compare sealed batches with Dagster's partitions, and some of them with their files.

    Args:
        found: Result of listing the source, from `discover` with the same `here`.
        known: Keys of Dagster's partitions.
        here: Workspace of the batches and their last observations.
        after: Cursor of the tick before.
        settled: Skip batches with a file written after this, in seconds since the epoch.
        max_batches: Maximum new batches to return.
        look_at: Maximum batches to compare with their files.

    Raises:
        FramesPipelineError: The store cannot be read.
    """
    keys = here.batches.seen()  # as `discover` found them
    compared = _next([key for key in keys if key in known], after, look_at)
    without_batch = set(known).difference(keys)
    return Tick(
        found=found,
        new=[key for key in keys if key not in known][:max_batches],
        retired=sorted(without_batch.intersection(here.batches.retired())) if without_batch else [],
        compared=compared,
        changes=pipeline.find_changes(compared, found, here, settled=settled),
        cursor=compared[-1] if compared else after,
    )


def _next(keys: Sequence[str], after: str | None, count: int) -> Sequence[str]:
    """Return up to `count` keys that follow `after`, starting over at the end."""
    start = sum(key <= after for key in keys) if after else 0
    return [*keys[start:], *keys[:start]][:count]


def _run_requests(tick: Tick, names: Names) -> list[dg.RunRequest]:
    """Request processing of new batches, and observation of changed ones."""
    tags = tags_of(tick.found.passed_over)
    process, observe = names.of(PROCESS_BATCH), names.of(OBSERVE_VIDEOS)
    return [
        *(
            dg.RunRequest(run_key=key, job_name=process, partition_key=key, tags=tags)
            for key in tick.new
        ),
        *(
            dg.RunRequest(
                run_key=f"{change.batch} {change.state}",
                job_name=observe,
                partition_key=change.batch,
                tags=tags,
            )
            for change in tick.changes
        ),
    ]


def _partitions_requests(tick: Tick, names: Names) -> list[PartitionsRequest]:
    """Add the partitions of new batches, and remove retired ones."""
    requests: list[PartitionsRequest] = []
    if tick.new:
        requests.append(names.partitions.build_add_request(tick.new))
    if tick.retired:
        requests.append(names.partitions.build_delete_request(tick.retired))
    return requests


def _skip_reason(tick: Tick, source: str, batching: Batching) -> str:
    """Describe a tick that has nothing to request."""
    found = tick.found
    return (
        f"{len(found.listed)} videos under {source}, {found.waiting} of them wait "
        f"for a batch of {batching.batch_size}, or to be {batching.max_wait_s:g} s old; "
        f"none changed in the {len(tick.compared)} batches looked at; passed over: "
        f"{describe_passed_over(found.passed_over)}"
    )
