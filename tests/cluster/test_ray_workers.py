"""Tasks on the nodes of a Ray cluster end as they do here, and outlive the loss of a node."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from frames_pipeline import FrameExtractionSignature, FramesPipelineError, InternalError
from frames_pipeline.clipping import FixedStride
from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
from frames_pipeline.sources.batches import Batching
from frames_pipeline.workers.local import Workers
from frames_pipeline.workers.ray import RayWorkers
from tests.cluster.cluster import Cluster, is_alone, running
from tests.services import is_at_work
from tests.videos import X264, make_video
from tests.waiting import wait_for
from tests.workers.test_local import results, walls

pytestmark = pytest.mark.cluster

ADDRESS = "127.0.0.1:6379"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not is_alone():
        pytest.fail(
            "Ray listens on every interface: use `make test-cluster`, which takes them away"
        )
    import ray

    folder = tmp_path_factory.mktemp("ray_workers")
    with (
        tempfile.TemporaryDirectory(prefix="ray") as temporary,
        running(folder, temporary, PYTHONPATH=str(Path.cwd())) as cluster,
    ):
        try:
            yield cluster
        finally:
            ray.shutdown()


def known(found: dict[str, str | FramesPipelineError]) -> dict[str, str]:
    return {task: f"{type(result).__name__} {result}" for task, result in found.items()}


@pytest.mark.usefixtures("cluster")
def test_tasks_end_as_they_do_on_one_machine() -> None:
    tasks = ["a", "crash", "segfault", "exit", "hang", "eat memory", "refuse", "b"]
    limits: dict[str, Any] = {"timeout_s": 20.0, "memory_bytes": 512 << 20}
    here = results(tasks, Workers(2, **limits))
    there = results(tasks, RayWorkers(**limits, address=ADDRESS))
    assert known(there) == known(here)


@pytest.mark.usefixtures("cluster")
def test_a_bug_is_the_outcome_of_its_task() -> None:
    found = results(["bug", "a"], RayWorkers(address=ADDRESS))
    assert isinstance(found["bug"], InternalError)
    assert "ZeroDivisionError: a bug" in str(found["bug"])
    assert found["a"] == "A"


@pytest.mark.usefixtures("cluster")
def test_a_task_has_the_walls_of_a_worker() -> None:
    here = dict(Workers(1, cpu_s=60).map(walls, ["it"]))["it"]
    there = dict(RayWorkers(cpu_s=60, address=ADDRESS).map(walls, ["it"]))["it"]
    assert isinstance(here, dict)
    assert isinstance(there, dict)
    assert there | {"cpu": 0} == here | {"cpu": 0}
    assert 60 <= there["cpu"] <= 70


@pytest.mark.usefixtures("cluster")
def test_a_batch_comes_out_the_same(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(4):
        path = tmp_path / "videos" / f"{number}.mp4"
        make_video(path, frames=50, options=X264, first=100 * number)
    signature = FrameExtractionSignature(target_fps=5)
    digests = []
    for name, workers in {"here": Workers(2), "there": RayWorkers(address=ADDRESS)}.items():
        workspace = Workspace.at(str(tmp_path / "videos"), str(tmp_path / name))
        [batch] = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
        cut_clips(batch, workspace, FixedStride(1, 1, 1), workers=workers)
        report = extract_batch(batch, [signature], workspace, workers=workers)[signature]
        assert report.extracted == 8
        digests.append(report.manifest.digest)
    assert digests[0] == digests[1]


def note_and_hang(folder: str) -> str:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)
    return folder


DRIVER = """
import sys
from frames_pipeline.workers.ray import RayWorkers
from tests.cluster.test_ray_workers import ADDRESS, note_and_hang

if __name__ == "__main__":
    list(RayWorkers(address=ADDRESS).map(note_and_hang, sys.argv[1:]))
"""


def test_a_run_that_is_killed_leaves_nothing_behind(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path / "notes"],
        env=cluster.processes.environment,
    )
    wait_for(lambda: list((tmp_path / "notes").iterdir()), name="a task")
    [note] = (tmp_path / "notes").iterdir()
    hanging = psutil.Process(int(note.name))
    assert is_at_work(hanging)
    driver.kill()
    driver.wait()
    wait_for(lambda: not is_at_work(hanging), name="the end of its process")


def note_and_wait(task: str) -> str:
    """Say which Ray node this is; then take a while."""
    folder, name = task.split("|")
    raylet = os.environ["RAY_RAYLET_PID"]
    (Path(folder) / f"{name} {raylet} {time.monotonic()}").touch()
    time.sleep(8)
    return raylet


def test_a_node_that_dies_takes_no_task_along(cluster: Cluster, tmp_path: Path) -> None:
    workers = RayWorkers(address=ADDRESS)
    found: dict[str, str | FramesPipelineError] = {}
    tasks = [f"{tmp_path}|{name}" for name in "abcd"]
    for task, result in workers.map(note_and_wait, tasks):
        if not found:  # both nodes are at the next ones
            time.sleep(3)
            cluster.processes.kill("node")
        found[task] = result
    assert sorted(found) == sorted(tasks)
    assert all(isinstance(result, str) for result in found.values()), found
    begun = [path.name.split()[0] for path in tmp_path.iterdir()]
    assert len(begun) > len(set(begun)) == 4  # what was lost was begun again
