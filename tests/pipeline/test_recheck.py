"""Stored frames are decoded again from their source."""

from __future__ import annotations

from pathlib import Path

import pytest

from frames_pipeline import ConfigError, FrameExtractionSignature
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    extract_batch,
    recheck_frames,
)
from frames_pipeline.sources.batches import Batching
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video

FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))


@pytest.fixture
def published(cut: Workspace) -> Workspace:
    """Eight clips with 40 frames, in the manifest."""
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    return cut


def test_frames_are_those_of_the_source(published: Workspace) -> None:
    report = recheck_frames(BATCH, FOUR, published, frames=6, seed=1, workers=ONE)
    assert report.ok
    assert report.frames == 6
    every = recheck_frames(BATCH, FOUR, published, frames=1000, workers=ONE)
    assert (every.ok, every.clips, every.frames) == (True, 8, 40)


def test_what_hashes_cannot_show(published: Workspace) -> None:
    """Whole objects, committed as they are, with the frames of another video."""
    clip = "a.mp4#0-12800"
    fingerprint = published.store.clips(BATCH, FOUR)[clip].fingerprint
    other = published.store.read(BATCH, FOUR, "b.mp4#0-12800")
    published.store.write_clip(BATCH, clip, {FOUR: other}, fingerprint=fingerprint)
    published.store.commit_batch(BATCH, FOUR)
    assert published.store.verify(BATCH, deep=True).ok
    report = recheck_frames(BATCH, FOUR, published, frames=1000, workers=ONE)
    assert [mismatch.clip_id for mismatch in report.mismatches] == [clip]
    assert "have other pixels" in report.mismatches[0].found


def test_frames_that_are_not_the_same_alone(workspace: Workspace) -> None:
    """Of a video whose size changes, frames alone have their own size; of a damaged one, others."""
    folder = Path(workspace.source.url)
    for path in folder.iterdir():
        path.unlink()
    big = make_video(folder / "big.ts", frames=24, options=X264)
    small = make_video(folder / "small.ts", frames=24, size=(24, 32), options=X264, first=24)
    (folder / "both.ts").write_bytes(big.read_bytes() + small.read_bytes())
    damaged = bytearray(big.read_bytes())
    for place in range(len(damaged) // 3, len(damaged), 400):
        damaged[place] ^= 0xFF
    (folder / "damaged.ts").write_bytes(damaged)
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    native = FrameExtractionSignature(target_fps=25)
    outcomes = extract_batch(batch.key, [native], workspace, workers=ONE)[native].outcomes
    assert outcomes.column("status").to_pylist() != ["ok"] * 4
    report = recheck_frames(batch.key, native, workspace, frames=1000, workers=ONE)
    assert (report.ok, report.clips, report.skipped) == (True, 4, {})


def test_sources_that_are_others_or_gone_are_skipped(published: Workspace) -> None:
    folder = Path(published.source.url)
    make_video(folder / "a.mp4", frames=50, options=X264, first=900)
    (folder / "b.mp4").unlink()
    report = recheck_frames(BATCH, FOUR, published, frames=1000, workers=ONE)
    assert report.ok
    assert report.clips == 4
    assert {clip.partition("#")[0] for clip in report.skipped} == {"a.mp4", "b.mp4"}


def test_damage_is_a_mismatch(published: Workspace) -> None:
    commit = published.store.clips(BATCH, FOUR)["c.mp4#0-12800"]
    path = f"frames/{BATCH}/{FOUR.key}/{commit.path}/frames/c/0/0/0/0"
    published.store.objects.put(path, b"")
    report = recheck_frames(BATCH, FOUR, published, frames=1000, workers=ONE)
    assert [mismatch.clip_id for mismatch in report.mismatches] == ["c.mp4#0-12800"]


def test_none_is_no_sample(cut: Workspace) -> None:
    with pytest.raises(ConfigError, match="frames=0 must be 1 or above"):
        recheck_frames(BATCH, FOUR, cut, frames=0)
