"""What the checks of a batch say, and which of them keep it from being used."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from dagster_defs.drift import ENOUGH
from frames_pipeline import FrameExtractionSignature
from tests.dagster_defs.conftest import Project
from tests.videos import make_video

EMBEDDINGS = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
ASSET = dg.AssetKey(["clip_frames", "embeddings"])
BLOCKING = {
    "every_frame_committed",
    "timestamps_increase",
    "frames_fit_signature",
    "few_clips_failed",
}
WARNING = {
    "frames_match_source",
    "clips_show_something",
    "clips_are_distinct",
    "pictures_as_shown",
    "like_other_batches",
}
Evaluations = dict[str, dg.AssetCheckEvaluation]


def evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    return {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if one.asset_key == ASSET
    }


def test_every_check_of_a_good_batch(project: Project) -> None:
    (project.videos / "not-a-video.mp4").unlink()
    project.seal()
    found = evaluations(project.run())
    assert found.keys() == BLOCKING | WARNING
    assert {name for name, one in found.items() if one.blocking} == BLOCKING
    assert all(one.passed for one in found.values())
    assert {one.partition for one in found.values()} == {"batch-000001"}


def rows_of(evaluation: dg.AssetCheckEvaluation, name: str) -> list[dg.TableRecord]:
    value = evaluation.metadata[name]
    assert isinstance(value, dg.TableMetadataValue)
    return list(value.records)


def test_the_same_video_twice_is_a_warning(project: Project) -> None:
    (project.videos / "again.mp4").write_bytes((project.videos / "a.mp4").read_bytes())
    project.seal()
    result = project.run()
    assert result.success
    found = evaluations(result)["clips_are_distinct"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    (row,) = rows_of(found, "repeated")
    assert row.data["clips"] == "a.mp4#0-24576, again.mp4#0-24576"


def test_pictures_left_as_coded_are_a_warning(project: Project) -> None:
    """It names the attribute that changes it, and says so in a table with examples."""
    make_video(
        project.videos / "hdr.mp4",
        frames=50,
        options={"x264-params": "colorprim=bt2020:transfer=arib-std-b67:sar=3\\:2"},
    )
    project.seal()
    result = project.run()
    assert result.success
    found = evaluations(result)["pictures_as_shown"]
    assert (found.passed, found.blocking) == (False, False)
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["hdr_clips"].value == found.metadata["not_square_clips"].value == 1
    hdr, not_square = (row.data for row in rows_of(found, "remarks"))
    assert (hdr["remark"], hdr["clips"], hdr["examples"]) == ("hdr", 1, "hdr.mp4#0-25600")
    assert "`colour: sdr`" in str(hdr["meaning"])
    assert "`pixel_aspect: square`" in str(not_square["meaning"])


def test_frames_of_another_size_are_an_error(project: Project) -> None:
    project.seal()
    project.run()
    store = project.workspace.store
    clip, commit = next(iter(store.manifest("batch-000001", EMBEDDINGS).clips.items()))
    frames = store.read("batch-000001", EMBEDDINGS, clip)
    narrow = replace(frames, frames=frames.frames[:, :, :30])
    store.write_clip("batch-000001", clip, {EMBEDDINGS: narrow}, fingerprint=commit.fingerprint)
    store.commit_batch("batch-000001", EMBEDDINGS)

    result = project.run(selection=["clip_frames/embeddings", "frame_embeddings"])
    found = evaluations(result)["frames_fit_signature"]
    assert not result.success
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    (row,) = rows_of(found, "wrong")
    assert row.data == {"clip_id": clip, "found": "24x30 pixels, not 24x32"}


@pytest.mark.live
def test_a_family_that_was_decoded_wrongly_is_named_and_mended(project: Project) -> None:
    """Stores frames of another moment of the same video, as a wrong plan would."""
    (project.videos / "not-a-video.mp4").unlink()
    project.seal()
    assert all(one.passed for one in evaluations(project.run()).values())
    store = project.workspace.store
    clip, commit = next(
        (clip, commit)
        for clip, commit in store.manifest("batch-000001", EMBEDDINGS).clips.items()
        if clip.startswith("c.ts")
    )
    frames = store.read("batch-000001", EMBEDDINGS, clip)
    wrong = replace(frames, frames=np.roll(frames.frames, 1, axis=0))
    store.write_clip("batch-000001", clip, {EMBEDDINGS: wrong}, fingerprint=commit.fingerprint)
    store.commit_batch("batch-000001", EMBEDDINGS)

    result = project.run(selection=["clip_frames/embeddings"])
    found = evaluations(result)["frames_match_source"]
    assert result.success, "frames_match_source does not block"
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    family = found.metadata["wrong_families"].value
    assert str(family).startswith("h264-mpegts-")
    rows = [row.data for row in rows_of(found, "families")]
    (row,) = (row for row in rows if row["family"] == family)
    assert (row["video"], row["suspect_clips"]) == ("c.ts", clip)
    assert "its pixels differ by" in str(row["found"])
    assert all(not row["found"] for row in rows if row["family"] != family)

    result = project.run(selection=["clip_frames/embeddings"])
    assert evaluations(result)["frames_match_source"].passed
    commits = store.manifest("batch-000001", EMBEDDINGS).clips
    linear = {clip for clip, commit in commits.items() if commit.outcome.decode.fallback}
    assert linear == {clip}
    assert commits[clip].digest == commit.digest


@pytest.mark.parametrize("others", [ENOUGH - 1, ENOUGH])
def test_more_failures_than_in_the_batches_before(project: Project, others: int) -> None:
    """One of six clips fails here, and none did elsewhere."""
    for number in range(others):
        project.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                ASSET,
                partition=f"batch-1{number:05d}",
                metadata={"failed_share": 0.0, "frames_decoded_per_second": 1e9},
            )
        )
    project.seal()
    result = project.run()
    found = evaluations(result)["like_other_batches"]
    assert result.success
    assert found.metadata["batches_compared"].value == others
    assert found.passed == (others < ENOUGH)
    if others == ENOUGH:
        assert found.severity == dg.AssetCheckSeverity.WARN
        text = str(found.metadata["found"].value)
        assert "17% of the clips failed, not 0%" in text
        assert "frames decoded per second, not 1000000000" in text
