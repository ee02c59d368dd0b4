"""What a change would cost, compared with what it then does."""

from __future__ import annotations

from pathlib import Path

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clips import FixedStride
from frames_pipeline.pipeline import (
    Places,
    cut_clips,
    estimate_changes,
    extract_batch,
)
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, -1))
THREE = FrameExtractionSignature(policy="uniform", num_frames=3)


def test_before_anything_was_done(cut: Places) -> None:
    (found,) = estimate_changes(BATCH, [THREE], cut)
    assert (found.clips, len(found.to_extract), found.frames) == (8, 8, 24)
    assert found.cpu_seconds is None


def test_what_is_there_is_not_done_again_and_what_is_added_is(cut: Places) -> None:
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    same, added = estimate_changes(BATCH, [TWO, FOUR], cut)
    assert (same.to_extract, same.frames, same.bytes) == ((), 0, 0)
    assert len(added.to_extract) == 8
    assert added.cpu_seconds is not None
    assert added.cpu_seconds > 0

    report = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    frames = sum(report.outcomes["frames"].to_pylist())
    assert abs(added.frames - frames) <= 8  # one per clip: where its grid ends is not known before
    stored = sum(report.outcomes["bytes"].to_pylist())
    assert stored / 4 < added.bytes < 4 * stored


def test_a_file_that_changed(cut: Places) -> None:
    extract_batch(BATCH, [THREE], cut, workers=ONE)
    make_video(Path(cut.source.url) / "b.mp4", frames=50, options=X264, first=900)
    assert estimate_changes(BATCH, [THREE], cut)[0].to_extract == ()  # nobody looked yet

    cut_clips(cut.batches.read(BATCH), cut, FixedStride(1, 1, 1), workers=ONE)
    (found,) = estimate_changes(BATCH, [THREE], cut)
    assert found.to_extract == ("b.mp4#0-12800", "b.mp4#12800-25600")
    assert found.frames == 6
