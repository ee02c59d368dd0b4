"""Several embeddings side by side, clips' vectors, and near-duplicates over all batches."""

from __future__ import annotations

import shutil
from typing import Any

import dagster as dg
import pytest

from tests.dagster_defs.conftest import Project

MORE: dict[str, Any] = {
    "embeddings": {
        "default": {"signature": "embeddings", "provider": "perceptual", "pool": "mean"},
        "small": {"signature": "aesthetics", "provider": "perceptual"},
    },
    "near_duplicates": {"min_similarity": 0.99, "cron": "0 5 * * *"},
}
VECTORS = ["videos", "clips", "clip_frames/embeddings", "frame_embeddings", "clip_embeddings"]


def test_the_graph_has_an_asset_for_each(project: Project) -> None:
    graph = project.definitions(**MORE).resolve_asset_graph()
    small = dg.AssetKey(["frame_embeddings", "small"])
    assert graph.get(small).parent_keys == {dg.AssetKey(["clip_frames", "aesthetics"])}
    clips = graph.get(dg.AssetKey("clip_embeddings"))
    assert clips.parent_keys == {dg.AssetKey("frame_embeddings")}
    alike = graph.get(dg.AssetKey("near_duplicates"))
    assert alike.parent_keys == {clips.key}
    assert alike.partitions_def is None
    catalog = graph.get(dg.AssetKey("clip_catalog"))
    assert {small, dg.AssetKey("frame_embeddings")} < catalog.parent_keys


def test_batches_are_compared_by_a_job_of_its_own(project: Project) -> None:
    """The job of a batch makes clips' vectors; a copy in a later batch is then found."""
    project.seal()
    assert project.run(selection=VECTORS, **MORE).success
    shutil.copy(project.videos / "a.mp4", project.videos / "copy.mp4")
    project.seal()
    assert project.run("batch-000002", selection=VECTORS, **MORE).success

    definitions = project.definitions(**MORE)
    schedule = definitions.resolve_schedule_def("find_near_duplicates")
    assert schedule.cron_schedule == "0 5 * * *"
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=project.instance, asset_selection=[dg.AssetKey("near_duplicates")]
    )
    (made,) = result.asset_materializations_for_node("near_duplicates")
    assert made.metadata["batches"].value == 2
    assert made.metadata["search"].value == "exact"
    rows = project.workspace.rows("near_duplicates", "all")
    copies = [row for row in rows if row["clip_id"].startswith("copy.mp4")]
    assert copies
    assert {row["kept_batch"] for row in copies} == {"batch-000001"}


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        (MORE | {"near_duplicates": {"embedding": "small"}}, "no embeddings 'small' with a pool"),
        (MORE | {"embeddings": {}}, "no embeddings 'default' with a pool"),
        (MORE | {"near_duplicates": {"cron": "at dawn"}}, "'at dawn' is not a cron expression"),
        (
            {"embeddings": {"no/slash": MORE["embeddings"]["small"]}},
            "'no/slash' cannot name an asset",
        ),
        (
            {"embeddings": {"one": {"signature": "none", "provider": "perceptual"}}},
            "embeddings.one.signature: no signature 'none'",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    project: Project, attributes: dict[str, object], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        project.definitions(**attributes)


def test_the_ui_says_what_came_from_what(project: Project) -> None:
    """A video leads to its frames and vectors, a frame to the vectors of it, and these back."""
    project.seal()
    assert project.run(selection=VECTORS, **MORE).success
    job = project.definitions(**MORE).resolve_job_def("trace_lineage")

    def trace(**config: object) -> dict[str, Any]:
        result = job.execute_in_process(
            instance=project.instance,
            run_config={"ops": {"trace": {"config": config}}},
            raise_on_error=False,
        )
        if not result.success:
            (event,) = [one for one in result.all_events if one.is_step_failure]
            raise AssertionError(event.step_failure_data.error)
        (event,) = [one for one in result.all_events if one.is_successful_output]
        return dict(event.step_output_data.metadata)

    rows = trace(video="a.mp4")["rows"].records
    tables = {row.data["table"] for row in rows}
    assert tables == {"embeddings", "clip_embeddings"}
    first = next(row.data for row in rows if row.data["table"] == "embeddings")
    assert first["video"] == str(project.videos / "a.mp4")

    position = int(str(first["positions"]))
    here = trace(batch="batch-000001", clip=first["clip"], position=position)
    assert here["stored_frames"].value >= 1
    assert first["positions"] in str(here["rows"].records[0].data["positions"])
    back = trace(batch="batch-000001", clip=first["clip"], table="clip_embeddings")
    (row,) = back["rows"].records
    assert first["positions"] in str(row.data["positions"]).split()

    with pytest.raises(AssertionError, match="give a video; or a batch and a clip"):
        trace(batch="batch-000001")
