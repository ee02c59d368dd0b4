"""Room is freed from the UI and by the clock, and what is in use stays."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.pipeline import retire_batch
from tests.dagster_defs.conftest import Project

EMBEDDINGS = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
BATCH = "batch-000001"


def collect(project: Project, **config: object) -> dict[str, Any]:
    job = project.definitions().resolve_job_def("collect_garbage")
    result = job.execute_in_process(
        instance=project.instance,
        run_config={"ops": {"collect": {"config": config}}},
        raise_on_error=False,
    )
    if not result.success:
        (event,) = [one for one in result.all_events if one.is_step_failure]
        raise AssertionError(event.step_failure_data.error)
    (event,) = [one for one in result.all_events if one.is_successful_output]
    told = event.step_output_data.metadata
    return {"found": told["found"], **{name: told[name].value for name in told if name != "found"}}


def test_room_is_freed(project: Project) -> None:
    """What is in use is not garbage; what was withdrawn is, once the grace period is over."""
    project.seal()
    assert project.run(selection=["videos", "clips", "clip_frames/embeddings"]).success
    clips = project.workspace.store.manifest(BATCH, EMBEDDINGS).clips
    assert collect(project, delete=True, grace_hours=0)["objects"] == 0
    assert project.workspace.store.verify(BATCH, deep=True).ok

    retire_batch(BATCH, project.workspace, withdraw=True)
    assert collect(project, delete=True)["attempts"] == 0
    counted = collect(project, grace_hours=0)
    assert (counted["attempts"], counted["deleted"]) == (len(clips), False)
    (row,) = counted["found"].records
    assert row.data["batch"] == BATCH
    stored = sum(path.stat().st_size for path in project.root.glob("frames/**/c/0/0/0/0"))
    assert 0 < stored < row.data["bytes"] == counted["bytes"]

    assert collect(project, delete=True, grace_hours=0)["bytes"] == counted["bytes"]
    assert not list(project.root.glob("frames/**/c/0/0/0/0"))
    with pytest.raises(AssertionError, match=r"no frames of batch-9; there are \d batches"):
        collect(project, batches=["batch-9"])


def test_the_clock_frees_room(project: Project) -> None:
    attributes = {"garbage_collection": {"cron": "0 6 * * 0", "grace_hours": 48}}
    definitions = project.definitions(**attributes)
    schedule = definitions.resolve_schedule_def("free_room")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    with dg.build_schedule_context(instance=project.instance) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    job = definitions.resolve_job_def("collect_garbage")
    result = job.execute_in_process(instance=project.instance, run_config=request.run_config)
    (event,) = [one for one in result.all_events if one.is_successful_output]
    assert event.step_output_data.metadata["deleted"].value is True
    assert not project.definitions().schedules

    for wrong, match in (
        ({"cron": "soon"}, "cron"),
        ({"cron": "0 6 * * 0", "grace_hours": 0}, "0"),
    ):
        with pytest.raises(ValueError, match=match):
            project.definitions(garbage_collection=wrong)
