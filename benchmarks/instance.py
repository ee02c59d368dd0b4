"""`python -m benchmarks.instance`: measure Dagster as batches grow.

A separate instance, on SQLite, gets partitions and materializations of every asset. Then the
queries of the UI's pages are timed against a code server, the sensor ticks, and a backfill of many
batches is launched and submitted by the daemon's own loop. Runs are queued and never started.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final

import dagster as dg
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster_graphql.schema import create_schema

from benchmarks.simulate import write_videos
from frames_pipeline.pipeline import Workspace, discover
from frames_pipeline.sources.batches import Batching

_PARTITIONS: Final = "video_batch"
_TIMES: Final = 3
"""Repetitions of each query."""

_NODES: Final = """
query Nodes { assetNodes { id assetKey { path } partitionStats {
  numMaterialized numPartitions numFailed numMaterializing } } }
"""
_STALE: Final = "query Stale { assetNodes { id staleStatus } }"
_STATUSES: Final = """
query Health($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { __typename ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions unmaterializedPartitions
    materializingPartitions } } } } }
"""
_ONE: Final = """
query One($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { latestMaterializationByPartition(partitions: $partitions) { timestamp
    metadataEntries { label } } } } }
"""
_RUNS: Final = """
query Runs { runsOrError(limit: 30) { ... on Runs { results { id status jobName
  tags { key value } } } } }
"""
_LAUNCH: Final = """
mutation Launch($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId }
  ... on PythonError { message stack } ... on PartitionKeysNotFoundError { message } } }
"""
_BACKFILLS: Final = """
query Backfills { partitionBackfillsOrError(limit: 10) { ... on PartitionBackfills { results {
  id status numPartitions assetBackfillData {
  rootTargetedPartitions { partitionKeys } } } } } }
"""


def main() -> None:
    """Print a table per size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instance", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--backfill", type=int, default=1_000, help="Batches in the backfill.")
    parser.add_argument("--events", type=int, default=10_000, help="Batches with events.")
    parser.add_argument("--at", type=Path, help="Working folder; by default a temporary one.")
    arguments = parser.parse_args()
    found = {}
    for batches in arguments.batches:
        with tempfile.TemporaryDirectory(dir=arguments.at) as folder:
            found[batches] = _measure(Path(folder), batches, arguments)
        print(f"{batches:,} batches", flush=True)
        for name, value in found[batches].items():
            print(f"  {name}: {_number(value)}", flush=True)
    print(f"\n| {'batches'} | {' | '.join(f'{batches:,}' for batches in found)} |")
    print(f"|---|{'---:|' * len(found)}")
    for name in next(iter(found.values())):
        print(f"| {name} | {' | '.join(_number(one[name]) for one in found.values())} |")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3f}"


def _measure(folder: Path, batches: int, arguments: argparse.Namespace) -> dict[str, float]:
    source, root = folder / "videos", folder / "root"
    write_videos(source, batches)
    os.environ |= {"FRAMES_SOURCE": str(source), "FRAMES_ROOT": str(root)}
    figures: dict[str, float] = {}
    with _instance(folder) as instance, _workspace(instance) as context:
        workspace = Workspace.at(str(source), str(root))
        batching = Batching(batch_size=1, max_wait_s=0)
        keys = [batch.key for batch in discover(workspace, batching, now=time.time() + 9).sealed]
        with _timed(figures, "register all partitions, s"):
            instance.add_dynamic_partitions(_PARTITIONS, keys)
        with _timed(figures, "list them, s"):
            assert len(instance.get_dynamic_partitions(_PARTITIONS)) == batches
        _tick(figures, context, instance)
        _materialize(figures, context, instance, keys[: arguments.events])
        _ask_all(figures, context, keys)
        _backfill(figures, context, instance, keys[-arguments.backfill :])
    return figures


@contextlib.contextmanager
def _timed(figures: dict[str, float], name: str) -> Iterator[None]:
    since = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - since


@contextlib.contextmanager
def _instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


@contextlib.contextmanager
def _workspace(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    target = ModuleTarget(
        module_name="dagster_defs.definitions",
        attribute=None,
        working_directory=None,
        location_name="frames-pipeline",
    )
    with create_test_daemon_workspace_context(target, instance) as workspace:
        yield workspace


def _tick(
    figures: dict[str, float], workspace: WorkspaceProcessContext, instance: dg.DagsterInstance
) -> None:
    """Request ticks of the sensor from the code server, as the daemon does; each may take 60 s."""
    location = workspace.create_request_context().code_locations[0]
    repository = next(iter(location.get_repositories().values()))
    sensor = repository.get_sensor("video_batches")
    cursor = None
    for name in ("first sensor tick, s", "next sensor tick, s"):
        with _timed(figures, name):
            data = location.get_sensor_execution_data(
                instance, repository.handle, sensor.name, None, None, cursor, None, None
            )
        cursor = data.cursor


def _materialize(
    figures: dict[str, float],
    workspace: WorkspaceProcessContext,
    instance: dg.DagsterInstance,
    keys: Sequence[str],
) -> None:
    """Record an event per asset and batch, as a run does, without metadata."""
    nodes = sorted(workspace.create_request_context().asset_graph.materializable_asset_keys)
    with _timed(figures, "events, s"):
        for key in keys:
            for asset in nodes:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(asset, partition=key, metadata={"frames": 20})
                )
    figures["events"] = len(keys) * len(nodes)


def _ask_all(
    figures: dict[str, float], workspace: WorkspaceProcessContext, keys: Sequence[str]
) -> None:
    frames = {"key": {"path": ["clip_frames", "embeddings"]}}
    one = frames | {"partitions": [keys[0]]}
    for name, query, variables in (
        ("asset graph, first time", _NODES, None),
        ("asset graph", _NODES, None),
        ("asset graph, what is stale", _STALE, None),
        ("partitions of an asset", _STATUSES, frames),
        ("one partition", _ONE, one),
        ("runs", _RUNS, None),
    ):
        times = []
        for _ in range(1 if "first" in name else _TIMES):
            since = time.perf_counter()
            _ask(workspace, query, variables)
            times.append(time.perf_counter() - since)
        figures[f"UI: {name}, s"] = median(times)


def _ask(
    workspace: WorkspaceProcessContext, query: str, variables: dict[str, Any] | None
) -> dict[str, Any]:
    context = workspace.create_request_context()
    found = asyncio.run(
        _SCHEMA.execute_async(query, context_value=context, variable_values=variables)
    )
    if found.errors:
        raise found.errors[0]
    data: dict[str, Any] = found.data
    return data


_SCHEMA: Final = create_schema()


def _backfill(
    figures: dict[str, float],
    workspace: WorkspaceProcessContext,
    instance: dg.DagsterInstance,
    keys: Sequence[str],
) -> None:
    """Launch a backfill as the UI does, and act as the daemon until its runs are queued."""
    graph = workspace.create_request_context().asset_graph
    selection = [{"path": list(key.path)} for key in sorted(graph.materializable_asset_keys)]
    params = {"params": {"assetSelection": selection, "partitionNames": list(keys)}}
    with _timed(figures, "launch the backfill, s"):
        said = _ask(workspace, _LAUNCH, params)["launchPartitionBackfill"]
    assert said["__typename"] == "LaunchBackfillSuccess", said
    before, ticks = instance.get_runs_count(), []
    logger = logging.getLogger("backfill")
    while instance.get_runs_count() - before < len(keys):
        since = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:  # like the daemon's own pool
            errors = [
                error
                for error in execute_backfill_iteration(
                    workspace, logger, submit_threadpool_executor=pool
                )
                if error
            ]
        assert not errors, errors
        ticks.append(time.perf_counter() - since)
    figures["backfill: batches"] = len(keys)
    figures["backfill: iterations of the daemon"] = len(ticks)
    figures["backfill: the longest, s"] = max(ticks)
    figures["backfill: all, s"] = sum(ticks)
    with _timed(figures, "UI: backfills, s"):
        _ask(workspace, _BACKFILLS, None)


if __name__ == "__main__":
    main()
