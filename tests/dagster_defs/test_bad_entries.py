"""The sensor and the assets report bad entries of the folder of videos and continue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_defs import FramesComponent
from dagster_defs.attributes import BatchingAttributes
from tests.dagster_defs.conftest import ONE_PROCESS, Project
from tests.dagster_defs.test_sensor import added, requested, skipped, tick
from tests.entries import GOOD, PASSED_OVER, fill, within


@pytest.fixture
def project(tmp_path: Path, video: Path) -> Iterator[Project]:
    """Return a project over a folder with entries of every kind."""
    videos, root = fill(tmp_path / "videos", video), tmp_path / "root"
    attributes = {
        "source": str(videos),
        "root": str(root),
        "clipping": {"kind": "whole"},
        "signatures": {"first": {"policy": "first", "target_res": [24, 32]}},
        "batching": BatchingAttributes(max_wait_s=0),
    }
    with dg.instance_for_test() as instance:
        yield Project(videos, root, instance, attributes)


def metadata(run: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (found,) = run.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in found.metadata.items()}


def test_a_folder_with_everything_in_it_becomes_frames_of_its_videos(project: Project) -> None:
    found = within(lambda: tick(project))
    assert requested(found) == [("process_batch", "batch-000001")]
    (request,) = found.run_requests or ()
    counted = ", ".join(f"{reason}: {len(keys)}" for reason, keys in PASSED_OVER.items())
    assert request.tags["frames/passed_over"] == counted

    project.instance.add_dynamic_partitions("video_batch", added(found))
    job = project.definitions().resolve_job_def("process_batch")
    run = job.execute_in_process(
        partition_key="batch-000001",
        instance=project.instance,
        run_config=ONE_PROCESS,
        tags=request.tags,
    )
    assert run.success
    said = metadata(run, "videos")
    assert (said["videos"], said["gone"], said["cannot_be_read"]) == (len(GOOD), 0, 0)
    assert said["passed_over"] == counted

    again = skipped(within(lambda: tick(project)))
    assert f"{len(GOOD)} videos under" in again
    assert "passed over: 5 broken link (circle.mp4, circle2.mp4, dangling.mp4, …)" in again


def test_suffixes_and_links_are_attributes(project: Project) -> None:
    found = tick(project, suffixes=[".TXT"], follow_links=True)
    assert added(found) == ["batch-000001"]
    assert project.workspace.batches.read("batch-000001").videos == ("notes.txt",)
    found = tick(project, follow_links=True)
    project.instance.add_dynamic_partitions("video_batch", added(found))
    new = project.workspace.batches.read("batch-000002").videos
    assert new == tuple(sorted([*GOOD, "elsewhere/v.mp4", "outside.mp4"]))
    with pytest.raises(ValueError, match=r"must be a list such as .*\.mp4"):
        FramesComponent.model_validate(project.attributes | {"suffixes": ["mp4"]})
