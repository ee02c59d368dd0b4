"""The sensor seals videos into batches, and heals what a crash left undone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg

from dagster_defs.component import BatchingAttributes
from tests.dagster_defs.conftest import Project


def tick(project: Project, **attributes: object) -> dg.SensorResult | dg.SkipReason:
    repository = project.definitions(**attributes).get_repository_def()
    sensor = repository.get_sensor_def("video_batches")
    places = repository.get_top_level_resources()["places"]
    context = dg.build_sensor_context(instance=project.instance, resources={"places": places})
    result = sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def added(result: dg.SensorResult | dg.SkipReason) -> list[str]:
    assert isinstance(result, dg.SensorResult)
    return [key for r in result.dynamic_partitions_requests or () for key in r.partition_keys]


def age(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_videos_that_have_waited_become_a_batch_and_a_run(project: Project) -> None:
    age(project.videos, 120)
    result = tick(project)

    assert added(result) == ["batch-000001"]
    assert isinstance(result, dg.SensorResult)
    assert [r.partition_key for r in result.run_requests or ()] == ["batch-000001"]
    assert project.places.batches.read("batch-000001").videos == (
        "a.mp4",
        "c.ts",
        "deep/b.mp4",
        "not-a-video.mp4",
    )


def test_videos_that_may_still_be_written_wait(project: Project) -> None:
    result = tick(project)
    assert isinstance(result, dg.SkipReason)
    assert "4 videos under" in str(result.skip_message)
    assert "4 of them wait" in str(result.skip_message)


def test_a_full_batch_does_not_wait(project: Project) -> None:
    result = tick(project, batching=BatchingAttributes(batch_size=2, max_wait_s=3600))
    assert added(result) == ["batch-000001", "batch-000002"]


def test_a_batch_that_was_sealed_but_not_added_is_added(project: Project) -> None:
    age(project.videos, 120)
    assert added(tick(project)) == ["batch-000001"]
    assert added(tick(project)) == ["batch-000001"]
    project.instance.add_dynamic_partitions("video_batch", ["batch-000001"])
    assert isinstance(tick(project), dg.SkipReason)


def test_a_source_that_is_not_there_is_a_reason_and_no_crash(project: Project) -> None:
    result = tick(project, source=str(project.videos / "nowhere"))
    assert isinstance(result, dg.SkipReason)
    assert "nowhere is not a folder" in str(result.skip_message)
