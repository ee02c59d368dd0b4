"""A batch of videos becomes frames and rows: tests as a user would write them for a pipeline."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import zarr

from dagster_defs.attributes import ByShots
from frames_pipeline import FrameExtractionSignature
from tests.dagster_defs.conftest import ONE_PROCESS, Project
from tests.libraries import need
from tests.videos import X264, make_video, numbers_in, scenes

EMBEDDINGS = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
AESTHETICS = FrameExtractionSignature(target_fps=1)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    key = dg.AssetKey(asset.split("/"))
    (event,) = (e for e in result.get_asset_materialization_events() if e.asset_key == key)
    return {name: value.value for name, value in event.materialization.metadata.items()}


def data_version(result: dg.ExecuteInProcessResult, asset: str) -> str:
    key = dg.AssetKey(asset.split("/"))
    (event,) = (e for e in result.get_asset_materialization_events() if e.asset_key == key)
    return (event.materialization.tags or {})["dagster/data_version"]


def test_a_batch_becomes_frames_and_rows(project: Project) -> None:
    project.seal()
    result = project.run()

    assert result.success
    frames = metadata(result, "clip_frames/embeddings")
    assert (frames["clips"], frames["ok_clips"], frames["failed_clips"]) == (5, 5, 1)
    assert frames["signature"] == EMBEDDINGS.key
    assert frames["decoder"] == "pyav"
    assert frames["clips_decoded_now"] == 5
    assert len(str(frames["contact_sheet"])) < 280_000
    assert metadata(result, "frame_embeddings")["rows"] == frames["frames"]
    assert metadata(result, "clip_catalog")["rows"] == 6

    store = project.workspace.store
    batch = store.read("batch-000001", EMBEDDINGS, "a.mp4#0-24576")
    assert numbers_in(batch.frames) == [0, 12, 25, 37, 47]


def test_every_row_says_which_frame_it_is_of(project: Project) -> None:
    project.seal()
    project.run()
    tables, store = project.workspace.tables, project.workspace.store

    for row in tables.read("embeddings", "batch-000001").to_pylist():
        assert (row["batch"], row["signature"]) == ("batch-000001", EMBEDDINGS.key)
        stored = store.open("batch-000001", EMBEDDINGS, row["clip_id"])
        assert row["frames_digest"] == stored.commit.digest
        assert row["pts"] == stored.pts[stored.positions.tolist().index(row["position"])]


def test_a_bad_clip_is_an_outcome_and_the_others_are_not_affected(project: Project) -> None:
    project.seal()
    result = project.run()

    assert result.success
    rows = project.workspace.rows("outcomes", "batch-000001", part=EMBEDDINGS.key)
    failed = {row["clip_id"]: row["detail"] for row in rows if row["status"] == "failed"}
    assert list(failed) == ["not-a-video.mp4"]
    assert "not-a-video.mp4 is not a video that can be read" in failed["not-a-video.mp4"]
    catalog = project.workspace.rows("catalog", "batch-000001")
    assert {row["clip_id"]: row["status"] for row in catalog}["not-a-video.mp4"] == "failed"


def test_too_many_bad_clips_fail_the_batch_before_anything_is_made_of_them(
    project: Project,
) -> None:
    project.seal()
    result = project.run(max_failed_share=0.1)

    assert not result.success
    checks = {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}
    failed = checks["embeddings", "few_clips_failed"]
    assert not failed.passed
    assert failed.metadata["failed_share"].value == pytest.approx(1 / 6, abs=1e-4)
    assert not project.workspace.tables.exists("embeddings", "batch-000001")


def test_a_run_again_decodes_nothing_and_changes_nothing(project: Project) -> None:
    project.seal()
    first, second = project.run(), project.run()

    for name in ("clip_frames/embeddings", "clip_frames/aesthetics"):
        assert metadata(second, name)["clips_decoded_now"] == 0
        assert "data:image/jpeg" in str(metadata(second, name)["contact_sheet"])
        assert "data:image/png" in str(metadata(second, name)["timeline"])
    assert metadata(second, "frame_embeddings")["clips_made_now"] == 0
    for name in ("clips", "clip_frames/embeddings", "frame_embeddings", "frame_quality"):
        assert data_version(first, name) == data_version(second, name)


@pytest.mark.live
def test_a_changed_video_is_done_again_and_no_other(project: Project) -> None:
    project.seal()
    before = project.run()
    make_video(project.videos / "a.mp4", frames=48, options=X264, first=2000)
    after = project.run()

    assert metadata(after, "clip_frames/embeddings")["clips_decoded_now"] == 1
    assert metadata(after, "frame_embeddings")["clips_made_now"] == 1
    assert data_version(before, "clip_frames/embeddings") != data_version(
        after, "clip_frames/embeddings"
    )
    batch = project.workspace.store.read("batch-000001", EMBEDDINGS, "a.mp4#0-24576")
    assert numbers_in(batch.frames) == [2000, 2012, 2025, 2037, 2047]


def test_a_signature_can_be_made_alone(project: Project) -> None:
    project.seal()
    project.run(selection=["videos", "clips", "clip_frames/aesthetics"])

    store = project.workspace.store
    assert len(store.manifest("batch-000001", AESTHETICS).clips) == 5
    assert not store.clips("batch-000001", EMBEDDINGS)


def test_one_decode_serves_every_signature(project: Project) -> None:
    project.seal()
    together = project.run()
    fed = metadata(together, "clip_frames/embeddings")["packets_fed_now"]
    assert fed == metadata(together, "clip_frames/aesthetics")["packets_fed_now"]
    shown = sum(row["num_frames"] or 0 for row in project.workspace.rows("clips", "batch-000001"))
    assert 0 < int(str(fed)) <= shown


@pytest.mark.live
def test_damage_in_the_store_is_found_by_a_check_and_repaired_by_a_run(project: Project) -> None:
    project.seal()
    project.run()
    victim = next(project.root.glob("frames/*/sequence-2fps*/clips/a-*/*/frames/c/0/0/0/0"))
    victim.unlink()

    again = project.run()
    assert not again.success
    evaluations = again.get_asset_check_evaluations()
    (failed,) = (e for e in evaluations if not e.passed and e.check_name == "every_frame_committed")
    assert "is missing" in str(failed.metadata["faults"].value)

    config = {"resources": {"extraction": {"config": {"processes": 1, "repair": True}}}}
    repaired = project.run(config=config)
    assert repaired.success
    assert metadata(repaired, "clip_frames/embeddings")["clips_decoded_now"] == 1
    assert metadata(repaired, "clip_frames/aesthetics")["clips_decoded_now"] == 0

    for pattern in ("batches/*.json", "tables/videos/*/*", "frames/*/*/manifest.json"):
        for path in project.root.glob(pattern):
            path.write_bytes(path.read_bytes()[::-1])
    assert not project.run().success
    mended = project.run(config=config)
    assert mended.success
    assert metadata(mended, "clip_frames/embeddings")["clips_decoded_now"] == 0


def test_a_decoder_that_is_not_there_fails_at_once_and_says_so(project: Project) -> None:
    project.seal()
    result = project.run(
        config={
            "resources": {
                "extraction": {"config": {"processes": 1}},
                "decoder": {"config": {"backend": {"nvdec": {}}}},
            }
        }
    )

    assert not result.success
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "decoder 'nvdec'" in str(failure.event_specific_data)
    assert not project.workspace.store.clips("batch-000001", EMBEDDINGS)


def test_a_run_may_choose_its_decoder_and_the_metadata_say_what_ran(project: Project) -> None:
    project.seal()
    result = project.run(
        config={
            "resources": {
                "extraction": {"config": {"processes": 1}},
                "decoder": {"config": {"backend": {"pyav": {"threads": 2}}}},
            }
        }
    )
    assert result.success
    assert metadata(result, "clip_frames/embeddings")["decoder"] == "pyav"


def test_stored_frames_open_with_plain_zarr(project: Project) -> None:
    project.seal()
    result = project.run()
    commit = project.workspace.store.clips("batch-000001", EMBEDDINGS)["a.mp4#0-24576"]
    folder = str(metadata(result, "clip_frames/embeddings")["dagster/uri"])
    group = zarr.open_group(f"{folder}/{commit.path}", mode="r", zarr_format=3)
    array = group["frames"]
    assert isinstance(array, zarr.Array)
    pixels = np.asarray(array[:])
    assert numbers_in(pixels) == [0, 12, 25, 37, 47]


def test_videos_by_their_uris(project: Project) -> None:
    """The ad-hoc job needs no batch, and its output says where the frames are."""
    result = (
        project.definitions()
        .resolve_job_def("extract_uris")
        .execute_in_process(
            instance=project.instance,
            run_config={
                **ONE_PROCESS,
                "ops": {
                    "extract": {
                        "config": {
                            "uris": [str(project.videos / "a.mp4")],
                            "signatures": {"small": {"policy": "first", "target_res": [24, -1]}},
                        }
                    }
                },
            },
        )
    )
    assert result.success
    (output,) = (e for e in result.all_node_events if e.is_successful_output)
    said = output.step_output_data.metadata
    start = f"{project.videos} small: "
    assert said[f"{start}frames"].value == 1
    assert "data:image/jpeg" in str(said[f"{start}contact_sheet"].value)
    path = Path(str(said[f"{start}dagster/uri"].value))
    assert path.is_relative_to(project.root / "adhoc")
    assert (path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"uris": []}, "at least 1 item"),
        ({"uris": ["a.mp4"], "signatures": {"x": {"target_res": [0, 0]}}}, "target_res"),
    ],
)
def test_uris_that_make_no_sense(project: Project, config: dict[str, object], match: str) -> None:
    job = project.definitions().resolve_job_def("extract_uris")
    with pytest.raises(Exception, match=match):
        job.execute_in_process(
            instance=project.instance, run_config={"ops": {"extract": {"config": config}}}
        )


def test_columns_say_where_they_come_from(project: Project) -> None:
    """Every column of the catalog that another table has leads there, and on to the videos."""
    project.seal()
    result = project.run()
    schemas = {
        key: {column.name for column in graph_schema(project, key).columns}
        for key in ("videos", "clips", "clip_frames/embeddings", "frame_quality", "clip_catalog")
    }

    def deps(asset: str, column: str) -> set[tuple[str, str]]:
        lineage = metadata(result, asset)["dagster/column_lineage"]
        assert isinstance(lineage, dg.TableColumnLineage)
        return {
            (dep.asset_key.to_user_string(), dep.column_name)
            for dep in lineage.deps_by_column.get(column, ())
        }

    assert deps("clip_catalog", "sharpness") == {("frame_quality", "sharpness")}
    assert deps("clip_catalog", "black_share") == {("frame_quality", "black")}
    assert deps("clip_catalog", "start_seconds") == {("clips", "start_seconds")}
    assert deps("frame_quality", "clip_id") == {("clip_frames/aesthetics", "clip_id")}
    assert deps("clip_frames/aesthetics", "fingerprint") == {("clips", "fingerprint")}
    assert deps("clips", "fingerprint") == {("videos", "fingerprint")}
    for asset in ("clips", "clip_frames/embeddings", "frame_quality", "clip_catalog"):
        for column in schemas[asset]:
            for source, there in deps(asset, column):
                assert there in schemas.get(source, {there})


def graph_schema(project: Project, asset: str) -> dg.TableSchema:
    node = project.definitions().resolve_asset_graph().get(dg.AssetKey(asset.split("/")))
    schema = node.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    return schema


@pytest.mark.live
def test_the_catalog_says_what_to_keep_and_why_not(project: Project) -> None:
    project.seal()
    result = project.run(selection=None)
    rows = {row["clip_id"]: row for row in project.workspace.rows("catalog", "batch-000001")}
    assert not rows["not-a-video.mp4"]["keep"]
    assert rows["not-a-video.mp4"]["drop_reasons"] == ["failed: unsupported"]
    assert all(row["keep"] for row in rows.values() if row["status"] == "ok")

    strict = project.definitions(selection={"max_exposure": 0.1})
    again = strict.resolve_job_def("process_batch").execute_in_process(
        partition_key="batch-000001", instance=project.instance, run_config=ONE_PROCESS
    )
    assert metadata(again, "clip_catalog")["kept_clips"] == 0
    assert metadata(again, "frame_quality")["clips_made_now"] == 0
    assert data_version(again, "clip_catalog") != data_version(result, "clip_catalog")
    row = project.workspace.rows("catalog", "batch-000001")[0]
    assert "exposure" in row["drop_reasons"][0]
    assert row["drop_reasons"][0].endswith("is above 0.1")


def test_clips_can_be_shots(project: Project, videos: Path) -> None:
    need("scenedetect")
    path = videos / "a.mp4"
    make_video(path, frames=100, options=X264, draw=scenes([60, 40]))
    project.seal()
    clipping = ByShots(kind="shots", detector="pyscenedetect", min_length_s=1, crop_s=0.2)
    job = project.definitions(clipping=clipping).resolve_job_def("process_batch")
    result = job.execute_in_process(
        partition_key="batch-000001",
        instance=project.instance,
        run_config=ONE_PROCESS,
        asset_selection=[dg.AssetKey("videos"), dg.AssetKey("clips")],
    )
    rows = project.workspace.tables.read("clips", "batch-000001").to_pylist()
    spans = [
        (row["start_seconds"], row["duration_seconds"])
        for row in rows
        if row["video_key"] == "a.mp4"
    ]
    assert spans == [(0.2, 2.0), (2.6, 1.2)]
    assert metadata(result, "clips")["dagster/partition_row_count"] == len(rows)
