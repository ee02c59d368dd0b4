"""The sensor seals videos into batches, and heals what a crash left undone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg
import pytest

from dagster_defs.attributes import BatchingAttributes
from frames_pipeline import CommitNotFoundError, FrameExtractionSignature
from tests.dagster_defs.conftest import Project

EMBEDDINGS = FrameExtractionSignature(target_fps=2, target_res=(24, 32))


def tick(project: Project, cursor: str | None = None, **attributes: object) -> dg.SensorResult:
    repository = project.definitions(**attributes).get_repository_def()
    sensor = repository.get_sensor_def("video_batches")
    workspace = repository.get_top_level_resources()["workspace"]
    context = dg.build_sensor_context(
        instance=project.instance, resources={"workspace": workspace}, cursor=cursor
    )
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def added(result: dg.SensorResult) -> list[str]:
    return [
        key
        for request in result.dynamic_partitions_requests or ()
        if isinstance(request, dg.AddDynamicPartitionsRequest)
        for key in request.partition_keys
    ]


DAY = 86_400.0


def requested(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [(request.job_name, request.partition_key) for request in result.run_requests or ()]


def skipped(result: dg.SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason
    return str(result.skip_reason.skip_message)


def age(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_videos_that_have_waited_become_a_batch_and_a_run(project: Project) -> None:
    age(project.videos, 120)
    result = tick(project)

    assert added(result) == ["batch-000001"]
    assert requested(result) == [("process_batch", "batch-000001")]
    assert project.workspace.batches.read("batch-000001").videos == (
        "a.mp4",
        "c.ts",
        "deep/b.mp4",
        "not-a-video.mp4",
    )


def test_videos_that_may_still_be_written_wait(project: Project) -> None:
    result = tick(project, batching=BatchingAttributes(max_wait_s=DAY))
    assert "4 videos under" in skipped(result)
    assert "4 of them wait" in skipped(result)


def test_a_full_batch_does_not_wait(project: Project) -> None:
    result = tick(project, batching=BatchingAttributes(batch_size=2, max_wait_s=DAY))
    assert added(result) == ["batch-000001", "batch-000002"]


def test_a_batch_that_was_sealed_but_not_added_is_added(project: Project) -> None:
    age(project.videos, 120)
    assert added(tick(project)) == ["batch-000001"]
    assert added(tick(project)) == ["batch-000001"]
    project.instance.add_dynamic_partitions("video_batch", ["batch-000001"])
    assert "0 of them wait" in skipped(tick(project))


def test_a_source_that_is_not_there_is_a_reason_and_no_crash(project: Project) -> None:
    result = tick(project, source=str(project.videos / "nowhere"))
    assert "nowhere is not a folder" in skipped(result)


@pytest.mark.live
def test_a_file_that_changes_has_its_batch_observed_and_no_other(project: Project) -> None:
    one_each = BatchingAttributes(batch_size=1, max_wait_s=DAY)
    for key in added(tick(project, batching=one_each)):
        project.instance.add_dynamic_partitions("video_batch", [key])
        project.run(key)
    assert requested(tick(project, batching=one_each)) == []

    (project.videos / "a.mp4").write_bytes((project.videos / "deep" / "b.mp4").read_bytes())
    assert requested(tick(project, batching=one_each)) == []  # it may still be being written
    age(project.videos, 2 * DAY)
    (project.videos / "deep" / "b.mp4").unlink()
    found = tick(project, batching=one_each)
    keys = [r.run_key for r in found.run_requests or ()]
    assert requested(found) == [("observe_videos", f"batch-00000{i}") for i in (1, 2, 3, 4)]
    assert keys == [r.run_key for r in tick(project, batching=one_each).run_requests or ()]

    for _, batch in requested(found):
        assert batch
        project.observe(batch)
    assert requested(tick(project, batching=one_each)) == []
    stale = [
        key for key in project.instance.get_dynamic_partitions("video_batch") if project.stale(key)
    ]
    assert stale == ["batch-000001", "batch-000003"]


def test_batches_are_looked_at_in_turn(project: Project) -> None:
    two = BatchingAttributes(batch_size=1, max_wait_s=0, look_at=3)
    keys = added(tick(project, batching=two))
    project.instance.add_dynamic_partitions("video_batch", keys)
    cursor, seen = None, []
    for _ in range(4):
        cursor = tick(project, cursor, batching=two).cursor
        seen.append(cursor)
    assert seen == [keys[2], keys[1], keys[0], keys[3]]


def deleted(result: dg.SensorResult) -> list[str]:
    return [
        key
        for request in result.dynamic_partitions_requests or ()
        if isinstance(request, dg.DeleteDynamicPartitionsRequest)
        for key in request.partition_keys
    ]


def test_a_batch_is_retired_by_a_job(project: Project) -> None:
    project.seal()
    project.run()
    job = project.definitions().resolve_job_def("retire_batch")
    assert job.execute_in_process(partition_key="batch-000001", instance=project.instance).success

    assert project.instance.get_dynamic_partitions("video_batch") == []
    assert "none changed in the 0 batches" in skipped(tick(project))
    assert project.workspace.batches.keys() == []
    assert project.workspace.store.manifest("batch-000001", EMBEDDINGS).clips


def test_retiring_may_withdraw_the_frames(project: Project) -> None:
    project.seal()
    project.run()
    store = project.workspace.store
    clips = store.manifest("batch-000001", EMBEDDINGS).clips
    job = project.definitions().resolve_job_def("retire_batch")
    config = {"ops": {"retire": {"config": {"withdraw": True}}}}
    assert job.execute_in_process(
        partition_key="batch-000001", instance=project.instance, run_config=config
    ).success

    with pytest.raises(CommitNotFoundError):
        store.manifest("batch-000001", EMBEDDINGS)
    assert not project.workspace.rows("catalog", "batch-000001")
    freed = store.collect_garbage(grace_seconds=0, dry_run=False)
    assert len(freed.attempts) == 2 * len(clips)
    assert not list((project.root / "frames").rglob("c/0/0/0/0"))


def test_what_was_retired_or_restored_elsewhere_is_seen(project: Project) -> None:
    project.seal()
    project.workspace.batches.retire("batch-000001")
    assert deleted(tick(project)) == ["batch-000001"]
    project.instance.delete_dynamic_partition("video_batch", "batch-000001")

    project.workspace.batches.restore("batch-000001")
    assert added(tick(project)) == ["batch-000001"]
