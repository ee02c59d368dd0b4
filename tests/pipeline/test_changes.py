"""What a change would cost, compared with what it then does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from frames_pipeline import FrameBatch, FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    changes,
    cut_clips,
    embed_batch,
    estimate_changes,
    estimate_rows,
    extract_batch,
)
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, -1))
THREE = FrameExtractionSignature(policy="uniform", num_frames=3)


def test_before_anything_was_done(cut: Workspace) -> None:
    (found,) = estimate_changes(BATCH, [THREE], cut)
    assert (found.clips, len(found.to_do), found.frames) == (8, 8, 24)
    assert found.cpu_seconds is None


def test_what_is_there_is_not_done_again_and_what_is_added_is(cut: Workspace) -> None:
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    same, added = estimate_changes(BATCH, [TWO, FOUR], cut)
    assert (same.to_do, same.frames, same.bytes) == ((), 0, 0)
    assert len(added.to_do) == 8
    assert added.cpu_seconds is not None
    assert added.cpu_seconds > 0

    report = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    frames = sum(report.outcomes["frames"].to_pylist())
    assert abs(added.frames - frames) <= 8  # one per clip: where its grid ends is not known before
    stored = sum(report.outcomes["bytes"].to_pylist())
    assert stored / 4 < added.bytes < 4 * stored


def test_a_file_that_changed(cut: Workspace) -> None:
    extract_batch(BATCH, [THREE], cut, workers=ONE)
    make_video(Path(cut.source.url) / "b.mp4", frames=50, options=X264, first=900)
    assert estimate_changes(BATCH, [THREE], cut)[0].to_do == ()  # nobody looked yet

    cut_clips(cut.batches.read(BATCH), cut, FixedStride(1, 1, 1), workers=ONE)
    (found,) = estimate_changes(BATCH, [THREE], cut)
    assert found.to_do == ("b.mp4#0-12800", "b.mp4#12800-25600")
    assert found.frames == 6


def test_rows_that_would_be_made(cut: Workspace) -> None:
    """Of frames that are there, of those that are not yet, and again where they stand."""
    provider = PerceptualEmbedding()
    extract_batch(BATCH, [THREE], cut, workers=ONE)
    commits = cut.store.manifest(BATCH, THREE).clips.values()
    told = estimate_rows(BATCH, THREE, cut, step="embeddings", provider=provider)
    assert (told.clips, len(told.to_do), told.frames) == (8, 8, 24)
    assert told.bytes == sum(commit.bytes for commit in commits)
    assert told.cpu_seconds is None

    unseen = estimate_rows(BATCH, TWO, cut, step="embeddings", provider=provider)
    assert (len(unseen.to_do), unseen.frames) == (8, 16)

    assert embed_batch(BATCH, THREE, cut, provider).made == 8
    told = estimate_rows(BATCH, THREE, cut, step="embeddings", provider=provider)
    assert (told.to_do, told.frames, told.bytes, told.cpu_seconds) == ((), 0, 0, 0)


def test_a_provider_is_asked_only_to_be_measured(
    cut: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves while the provider is at work."""
    asked: list[int] = []
    spent = [100.0]
    monkeypatch.setattr(changes, "time", SimpleNamespace(process_time=lambda: spent[0]))

    def ask(clip: FrameBatch) -> None:
        asked.append(len(clip))
        spent[0] += 0.5

    step = {"step": "quality", "provider": TechnicalQuality()}
    told = estimate_rows(BATCH, THREE, cut, ask=ask, **step)  # type: ignore[arg-type]
    assert (told.cpu_seconds, asked) == (None, [])  # there is nothing to ask about

    extract_batch(BATCH, [THREE], cut, workers=ONE)
    told = estimate_rows(BATCH, THREE, cut, ask=ask, **step)  # type: ignore[arg-type]
    assert asked == [3, 3]
    assert told.cpu_seconds == 8 * 0.5
