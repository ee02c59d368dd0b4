"""Videos are observed and cut; what is known is not read again."""

from __future__ import annotations

import os
from pathlib import Path

from frames_pipeline.batches import Batch, Batching
from frames_pipeline.clips import FixedStride, WholeVideo
from frames_pipeline.media import Limits
from frames_pipeline.pipeline import Places, cut_clips, discover, observe_videos, videos_version
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video


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
