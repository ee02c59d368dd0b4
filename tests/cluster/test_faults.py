"""Batches on a Ray cluster, while its nodes, its head and the daemon are killed.

The instance is the one of `deploy/ray`, on a Postgres server of the test's own; videos and frames
are in a bucket. `make test-cluster` runs it, in a network namespace with nothing but loopback.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.pipeline import Workspace, discover
from frames_pipeline.sources.batches import Batching
from tests.cluster.cluster import DASHBOARD, Cluster, is_alone, running
from tests.dagster_defs.test_component import other_project
from tests.postgres import postgres
from tests.s3 import S3, moto, proxied
from tests.videos import X264, make_video
from tests.waiting import wait_for

pytestmark = pytest.mark.cluster

CLIPS = 4
"""Per batch: one video of eight seconds, cut every two."""
IN_POOL, IN_BACKFILL = 6, 20
POINTS = FrameExtractionSignature(target_fps=2, target_res=(24, -1))
DEFS = """
type: dagster_defs.FramesComponent
attributes:
  source: "{{ env.BUCKET }}/videos"
  root: "{{ env.BUCKET }}/frames"
  source_options: {endpoint_url: "{{ env.S3_ENDPOINT }}"}
  root_options: {endpoint_url: "{{ env.S3_ENDPOINT }}"}
  source_secrets: {key: S3_KEY, secret: S3_SECRET}
  root_secrets: {key: S3_KEY, secret: S3_SECRET}
  batching: {batch_size: 1, max_wait_s: 0}
  clipping: {kind: fixed_stride, clip_len_s: 2, clip_stride_s: 2, min_clip_length_s: 1}
  extraction: {processes: 1}
  max_failed_share: 0
  run_tags:
    dagster-ray/config: {num_cpus: 1, memory: 500000000}
  signatures:
    points: {target_fps: 2, target_res: [24, -1]}
"""
_BEGINS = (DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED)
_ENDS = (
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_FAILURE,
)
WORKSPACE = """
load_from:
  - python_module: {module_name: other.definitions, location_name: other}
"""
QUICKLY = {
    "poll_interval_seconds": 5,
    "start_timeout_seconds": 90,
    "free_slots_after_run_end_seconds": 5,
}
"""Of `run_monitoring`; but for these times and two runs, the instance is as it is shipped."""
BACKFILL = """
mutation ($assets: [AssetKeyInput!], $batches: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $batches}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
  }
}
"""
ASSETS = [["videos"], ["clips"], ["clip_frames", "points"], ["clip_catalog"]]


@dataclass
class Fault:
    """Something that was done to the cluster, and what it struck."""

    name: str
    at: float
    """Seconds since the backfill began."""
    struck: dict[str, int]
    """The batches whose runs were lost with it, and the clips that they had committed."""
    back: float = 0.0
    """Seconds until what was killed is up again."""


@dataclass
class Site:
    """Everything there is."""

    folder: Path
    s3: S3
    cluster: Cluster
    instance: dg.DagsterInstance
    faults: list[Fault] = field(default_factory=list)
    struck: set[str] = field(default_factory=set)
    """Runs that were there when something was killed."""
    since: float = field(default_factory=time.monotonic)

    @property
    def workspace(self) -> Workspace:
        options = {"key": self.s3.key, "secret": self.s3.secret, "endpoint_url": self.s3.endpoint}
        return Workspace.at(
            f"{self.s3.url}/videos", f"{self.s3.url}/frames",
            source_options=options, root_options=options,
        )  # fmt: skip

    def commits(self) -> Counter[str]:
        """How often each clip was committed, by `batch/clip`."""
        with self.s3.lock:
            keys = [r.key for r in self.s3.requests if r.verb == "PUT" and "/commits/" in r.key]
        return Counter(f"{key.split('/')[-4]}/{key.split('/')[-1]}" for key in keys)

    def committed(self, batch: str) -> int:
        return sum(key.startswith(f"{batch}/") for key in self.commits())

    def runs(self, *statuses: DagsterRunStatus, backfill: str = "") -> list[dg.DagsterRun]:
        tags = {"dagster/backfill": backfill} if backfill else {}
        return list(self.instance.get_runs(RunsFilter(statuses=list(statuses) or None, tags=tags)))

    def events(self) -> tuple[int, int]:
        """Return the progress of everything: requests to the bucket, and bytes in logs."""
        with self.s3.lock:
            asked = len(self.s3.requests)
        return asked, self.cluster.processes.progress()

    def on(self, node: str) -> dict[str, int]:
        """The batches that a node works on, and how many of their clips are committed."""
        ids = set(self.cluster.processes.runs(node)) - self.struck
        found = self.instance.get_runs(RunsFilter(run_ids=list(ids))) if ids else []
        return {
            batch: self.committed(batch)
            for run in found
            if (batch := run.tags.get("dagster/partition"))
        }

    def strike(self, name: str, kill: Callable[[], None], *, on: str, also: str = "") -> Fault:
        """Kill something while a node has a batch of which a part is committed."""

        def partly_committed() -> bool:
            return any(0 < clips < CLIPS for clips in self.on(on).values())

        wait_for(partly_committed, name=f"a partly committed batch on {on}", progress=self.events)
        batches = self.on(on) | (self.on(also) if also else {})
        fault = Fault(name, time.monotonic() - self.since, batches)
        running = {run for node in ("head", "node") for run in self.cluster.processes.runs(node)}
        kill()
        self.struck |= running
        self.faults.append(fault)
        return fault

    def is_back(self, fault: Fault) -> None:
        fault.back = time.monotonic() - self.since - fault.at

    def start_daemon(self) -> None:
        self.cluster.processes.start("daemon", "dagster-daemon", "run", "-w", "workspace.yaml")

    def backfill(self, batches: list[str]) -> str:
        """Ask for every asset of some batches, as the UI does."""
        variables = {"assets": [{"path": path} for path in ASSETS], "batches": batches}
        said = self.cluster.processes.do(
            "backfill", "dagster-graphql", "-w", "workspace.yaml",
            "-t", BACKFILL, "-v", json.dumps(variables),
        )  # fmt: skip
        answer, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])
        launched = answer["data"]["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", said
        return str(launched["backfillId"])

    def done(self, batches: list[str]) -> bool:
        """Whether all of them are in the catalog, and no run is left."""
        made = self.instance.get_materialized_partitions(dg.AssetKey("clip_catalog"))
        ended = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
        return made >= set(batches) and len(self.runs(*ended)) == len(self.runs())

    def extractions(self, runs: list[dg.DagsterRun]) -> list[tuple[float, float]]:
        """When the extraction steps of runs had a slot: a step that is repeated gives it back."""
        spans = []
        for run in runs:
            begun = 0.0
            for entry in self.instance.all_logs(run.run_id):
                event = entry.dagster_event
                if event is None or event.step_key != "clip_frames":
                    continue
                if event.event_type in _BEGINS:
                    begun = entry.timestamp
                if event.event_type in _ENDS:
                    spans.append((begun, entry.timestamp))
        return sorted(spans)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project on a cluster; its videos are in the bucket, and in no batch."""
    if not is_alone():
        pytest.fail(
            "Ray listens on every interface: use `make test-cluster`, which takes them away"
        )
    folder = other_project(tmp_path_factory.mktemp("cluster") / "project", DEFS)
    (folder / "workspace.yaml").write_text(WORKSPACE)
    shipped = yaml.safe_load(Path("deploy/ray/dagster.yaml").read_text())
    shipped["run_monitoring"] |= QUICKLY
    shipped["run_coordinator"]["config"]["dequeue_interval_seconds"] = 5
    shipped["concurrency"]["runs"]["max_concurrent_runs"] = 2
    (folder / "dagster.yaml").write_text(yaml.safe_dump(shipped))
    with (
        moto() as port,
        proxied(port) as s3,
        postgres() as url,
        tempfile.TemporaryDirectory(prefix="ray") as temporary,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = {
            "DAGSTER_HOME": str(folder),
            "DAGSTER_POSTGRES_URL": url,
            "PYTHONPATH": f"{folder}:{Path.cwd()}",
            "RAY_DASHBOARD_URL": DASHBOARD,
            "BUCKET": s3.url,
            "S3_ENDPOINT": s3.endpoint,
            "S3_KEY": s3.key,
            "S3_SECRET": s3.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        fill(s3, folder, IN_POOL + IN_BACKFILL)
        with (
            running(folder, temporary, **environment) as cluster,
            dg.DagsterInstance.get() as instance,
        ):
            yield Site(folder, s3, cluster, instance)


def fill(s3: S3, folder: Path, count: int) -> None:
    """Put videos into the bucket, each with pictures of its own."""
    import s3fs

    files = s3fs.S3FileSystem(**s3.options)
    for number in range(count):
        path = folder / f"{number:02}.mp4"
        make_video(path, frames=80, rate=10, options=X264, first=80 * number)
        files.put_file(str(path), f"{s3.url}/videos/{path.name}")


@pytest.mark.timeout(2400)
def test_every_batch_is_committed_once_whatever_is_killed(site: Site) -> None:
    processes, workspace = site.cluster.processes, site.workspace
    batches = [batch.key for batch in discover(workspace, Batching(1, 1, 0), now=1e12).sealed]
    site.instance.add_dynamic_partitions("video_batch", batches)
    site.s3.harm("delay", verb="PUT", inside="/commits/", seconds=0.7, times=float("inf"))
    site.start_daemon()

    # a pool holds over both nodes
    site.instance.event_log_storage.set_concurrency_slots("decode", 1)
    pooled, rest = batches[:IN_POOL], batches[IN_POOL:]
    said = processes.do(
        "pooled", "dagster", "job", "backfill", "-j", "process_batch", "--noprompt",
        "-w", "workspace.yaml", "--partitions", ",".join(pooled),
    )  # fmt: skip
    wait_for(
        lambda: processes.runs("head") and processes.runs("node"),
        name=f"a run on each node: {said}",
        progress=site.events,
    )
    wait_for(lambda: site.done(pooled), name="the pooled batches", progress=site.events)
    spans = site.extractions(site.runs())
    assert len(spans) >= IN_POOL
    assert all(one[1] <= next_one[0] for one, next_one in itertools.pairwise(spans)), spans
    assert all("dagster-ray/config" in run.tags for run in site.runs())
    site.instance.event_log_storage.set_concurrency_slots("decode", 2)

    # everything is killed once
    site.since = time.monotonic()
    backfill = site.backfill(rest)

    def kill_runs() -> None:
        for one in processes.runs("node").values():
            one.kill()

    site.strike("run", kill_runs, on="node")
    for name, kill in {
        "raylet of the second node": lambda: processes.kill_alone("node", "raylet"),
        "second node": lambda: processes.kill("node"),
    }.items():
        fault = site.strike(name, kill, on="node")
        processes.kill("node")
        site.cluster.start_node()
        site.is_back(fault)
    fault = site.strike("daemon", lambda: processes.kill("daemon"), on="head")
    fault.struck = {}  # its runs go on
    site.start_daemon()
    site.is_back(fault)
    # the second node goes with the head
    fault = site.strike("head", lambda: processes.kill("head"), on="head", also="node")
    processes.named["node"].wait(120)
    processes.kill("node")
    site.cluster.start_head()
    site.cluster.start_node()
    site.is_back(fault)
    wait_for(lambda: site.done(batches), name="every batch", progress=site.events)

    report(site, backfill)
    processes.do("migrate", "dagster", "instance", "migrate")
    spans = site.extractions(site.runs(DagsterRunStatus.SUCCESS, backfill=backfill))
    assert any(one[1] > next_one[0] for one, next_one in itertools.pairwise(spans))
    # nothing is lost
    for batch in batches:
        assert len(workspace.store.manifest(batch, POINTS).clips) == CLIPS
        assert not workspace.store.verify(batch, POINTS, deep=True).faults
    # nothing was decoded again once it was committed
    assert set(site.commits().values()) == {1}
    assert len(site.commits()) == CLIPS * len(batches)


def report(site: Site, backfill: str) -> None:
    """Print what was killed, and what became of it."""
    runs = site.runs(backfill=backfill)
    by_batch = Counter(run.tags["dagster/partition"] for run in runs)
    out = [
        "",
        "| killed | at, s | up again after, s | batches struck: clips committed then | runs |",
    ]
    for fault in site.faults:
        struck = ", ".join(f"{batch[-2:]}: {clips}" for batch, clips in fault.struck.items())
        again = ", ".join(str(by_batch[batch]) for batch in fault.struck)
        cells = [fault.name, f"{fault.at:.0f}", f"{fault.back:.0f}", struck or "-", again or "-"]
        out.append(f"| {' | '.join(cells)} |")
    begun = [
        request
        for request in site.s3.requests
        if request.verb == "PUT" and request.key.endswith("/frames/zarr.json")
    ]
    lost = [r for r in runs if r.status is DagsterRunStatus.FAILURE]
    out += [
        f"runs {len(runs)}, of which lost {len(lost)}; seconds {time.monotonic() - site.since:.0f}",
        f"commits {len(site.commits())}, decodes of clips that came to be written {len(begun)}",
    ]
    why = Counter(said(site.instance, run) for run in lost)
    out += [f"{count} lost: {reason}" for reason, count in why.items()]
    sys.stdout.write("\n".join(out) + "\n")


def said(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Why a run failed, without what is only its own."""
    found = [
        entry.dagster_event.message or ""
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
        if entry.dagster_event
    ]
    return " ".join(found).replace(run.run_id, "…").partition("\n")[0]
