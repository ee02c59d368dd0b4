"""On a running daemon: videos that appear become batches and runs; a tick heals what failed.

The instance is the one of `deploy/postgres`, on a Postgres server of the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import RunsFilter

from tests.dagster_defs.test_component import other_project
from tests.postgres import postgres
from tests.services import end, start
from tests.videos import X264, make_video
from tests.waiting import wait_for

BIN = Path(sys.executable).parent
DEFS = """
type: dagster_defs.FramesComponent
attributes:
  source: "{{ env.OTHER_VIDEOS }}"
  root: "{{ project_root }}/data"
  batching: {batch_size: 1, max_wait_s: 0, interval_s: 2}
  clipping: {kind: whole}
  backfill: {cron: "* * * * *"}
  max_failed_share: 0
  signatures:
    points: {policy: middle, target_res: [24, -1]}
"""
WORKSPACE = """
load_from:
  - python_module: {module_name: other.definitions, location_name: other}
"""
SETTINGS = """
telemetry: {enabled: false}
"""
SENSOR = "dagster/sensor_name"
POSTGRES = Path("deploy/postgres/dagster.yaml").absolute()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


def started(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    return start([BIN / command[0], *command[1:]], folder, folder / "log.txt")


@contextmanager
def running_daemon(folder: Path) -> Iterator[None]:
    """A daemon with its own code server, and both sensors on."""
    for sensor in ("video_batches", "scheduled_backfill"):
        done = started(folder, "dagster", "sensor", "start", sensor, "-w", "workspace.yaml")
        assert done.wait() == 0, (folder / "log.txt").read_text()
    daemon = started(folder, "dagster-daemon", "run", "-w", "workspace.yaml")
    try:
        yield
    finally:
        end(daemon)


def events_of(instance: dg.DagsterInstance) -> tuple[int, int | None]:
    """The progress of runs: how many there are, and the last event that one wrote."""
    storage = instance.event_log_storage
    return instance.get_runs_count(), storage.get_maximum_record_id()


@pytest.mark.live
def test_batches_and_backfills_on_a_running_daemon(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = other_project(tmp_path / "project", DEFS)
    videos = tmp_path / "videos"
    videos.mkdir()
    (folder / "workspace.yaml").write_text(WORKSPACE)
    shutil.copy(POSTGRES, folder)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("OTHER_VIDEOS", str(videos))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path.cwd())]))
    for name in ("a.mp4", "b.mp4"):
        (videos / name).write_text("not a video yet")
    make_video(videos / "c.mp4", options=X264)

    with running_daemon(folder), dg.DagsterInstance.get() as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert not list(folder.rglob("*.db"))

        def partitions(asset: str) -> set[str]:
            return instance.get_materialized_partitions(dg.AssetKey(asset.split("/")))

        def until(happened: Callable[[], object], name: str) -> None:
            """Wait as long as runs write events."""
            wait_for(happened, name=name, progress=lambda: events_of(instance), pause_s=1)

        def runs(*statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            return list(instance.get_runs(RunsFilter(statuses=list(statuses))))

        # the sensor seals a batch per video; those that cannot be decoded fail their check
        until(lambda: partitions("clip_catalog") == {"batch-000003"}, "c in the catalog")
        failed = [f"batch-00000{i}" for i in (1, 2)]
        until(  # a tick may have one of them fail twice, meanwhile
            lambda: (
                {run.tags["dagster/partition"] for run in runs(dg.DagsterRunStatus.FAILURE)}
                == set(failed)
            ),
            "failures of a and b",
        )
        assert instance.get_dynamic_partitions("video_batch") == [*failed, "batch-000003"]

        # the cause is put right; nobody asks for anything
        for name in ("a.mp4", "b.mp4"):
            make_video(videos / name, options=X264)
        until(lambda: partitions("clip_catalog") >= set(failed), "a tick that heals a and b")
        ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
        until(lambda: len(runs(*ended)) == len(runs()), "the end of every run")
        healed: list[str] = []
        for run in runs(dg.DagsterRunStatus.SUCCESS):
            if run.job_name == "observe_videos":  # the sensor saw that the files changed
                assert run.tags["dagster/partition"] in failed
            elif "dagster/backfill" in run.tags or run.tags[SENSOR] == "scheduled_backfill":
                healed.append(run.tags["dagster/partition"])  # a backfill of one is a run
            else:
                assert run.tags["dagster/partition"] == "batch-000003"
        # one that was looked at during a tick is healed at the next
        assert sorted(healed) == failed
        committed = dg.AssetCheckKey(
            dg.AssetKey(["clip_frames", "points"]), "every_frame_committed"
        )
        [check] = instance.event_log_storage.get_asset_check_summary_records([committed]).values()
        assert check.last_check_execution_record is not None
        assert check.last_check_execution_record.event is not None
