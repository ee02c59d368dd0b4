"""`python -m benchmarks.scale`: cost of a sensor tick as videos and batches grow.

Files are empty and runs are never started. Measured are the listing, the batches, the partitions,
and the comparison with earlier observations.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import dagster as dg

from dagster_defs import FramesComponent
from dagster_defs.attributes import BatchingAttributes, Signature, Whole
from frames_pipeline.pipeline import Workspace, discover, observe_videos

_FOLDER = 1000
"""Files per folder."""
_OBSERVED = 600
"""Observed batches: more than three ticks check."""


def main() -> None:
    """Print a row per number of videos."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--videos", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--batch-size", type=int, default=10)
    arguments = parser.parse_args()
    head = ["videos", "batches", "first tick, s", "next tick, s", "tick that seals one more, s"]
    print(f"| {' | '.join([*head, 'cursor, bytes', 'memory, MiB'])} |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for videos in arguments.videos:
        with tempfile.TemporaryDirectory() as folder, dg.instance_for_test() as instance:
            print(_row(Path(folder), instance, videos, arguments.batch_size), flush=True)


def _row(folder: Path, instance: dg.DagsterInstance, videos: int, batch_size: int) -> str:
    source, root = folder / "videos", folder / "root"
    _touch(source, 0, videos)
    batching = BatchingAttributes(batch_size=batch_size, max_wait_s=3600)
    workspace = Workspace.at(str(source), str(root))
    found = discover(workspace, batching.batching(), now=time.time())
    instance.add_dynamic_partitions("video_batch", [batch.key for batch in found.sealed])
    for batch in found.sealed[:_OBSERVED]:
        observe_videos(batch, workspace)

    repository = _definitions(source, root, batching).get_repository_def()
    sensor = repository.get_sensor_def("video_batches")
    resources = {"workspace": repository.get_top_level_resources()["workspace"]}

    def tick(cursor: str | None) -> tuple[float, dg.SensorResult]:
        context = dg.build_sensor_context(instance=instance, resources=resources, cursor=cursor)
        since = time.perf_counter()
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return time.perf_counter() - since, result

    first, result = tick(None)
    second, result = tick(result.cursor)
    _touch(source, videos, videos + batch_size)
    third, result = tick(result.cursor)
    assert len(result.run_requests or ()) == 1, result
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    cursor = len(result.cursor or "")
    return (
        f"| {videos:,} | {len(found.sealed):,} | {first:.2f} | {second:.2f} | {third:.2f} "
        f"| {cursor} | {memory} |"
    )


def _touch(source: Path, start: int, stop: int) -> None:
    for number in range(start, stop):
        folder = source / f"{number // _FOLDER:06d}"
        if number % _FOLDER == 0 or number == start:
            folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(folder / f"{number:08d}.mp4", os.O_CREAT | os.O_WRONLY))


def _definitions(source: Path, root: Path, batching: BatchingAttributes) -> dg.Definitions:
    return FramesComponent(
        source=str(source),
        root=str(root),
        batching=batching,
        clipping=Whole(kind="whole"),
        signatures={"first": Signature(policy="first")},
    ).definitions()


if __name__ == "__main__":
    main()
