"""What came from what, down to the frame. The pictures have numbers, which are the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from frames_pipeline import CommitNotFoundError, ConfigError, FrameExtractionSignature
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    caption_batch,
    embed_batch,
    extract_batch,
    measure_batch,
    observe_videos,
    origins_of_rows,
    uses_of_frame,
    uses_of_video,
)
from tests.pipeline.conftest import BATCH, ONE
from tests.pipeline.test_derive import Reader
from tests.videos import X264, make_video, number_in

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
MIDDLE = FrameExtractionSignature(policy="middle")
B = "b.mp4#12800-25600"
"""The second of two clips of the video whose frames are numbered from 100."""


@pytest.fixture
def made(cut: Workspace) -> Workspace:
    """Frames, embeddings and quality of one signature, captions of another."""
    extract_batch(BATCH, [TWO, MIDDLE], cut, workers=ONE)
    embed_batch(BATCH, TWO, cut, PerceptualEmbedding())
    measure_batch(BATCH, TWO, cut, TechnicalQuality())
    caption_batch(BATCH, MIDDLE, cut, Reader())
    return cut


def test_a_caption_leads_to_the_picture_that_it_is_about(made: Workspace, tmp_path: Path) -> None:
    captions = list(origins_of_rows("captions", BATCH, made))
    assert len(captions) == 8
    for row in captions:
        group = zarr.open_group(str(tmp_path / "root" / row.frames.path), mode="r")
        pixels = np.asarray(group["frames"])[0]
        assert row.says["text"] == f"frame {number_in(pixels)}"
        first = 100 * "abcd".index(row.frames.video_key[0])
        assert row.positions == (number_in(pixels) - first,)
        assert row.frames.uri == str(tmp_path / "videos" / row.frames.video_key)
        assert row.made_from_them
        assert row.frames.is_current


def test_rows_of_one_clip_and_of_one_frame(made: Workspace) -> None:
    rows = list(origins_of_rows("embeddings", BATCH, made, clip_id=B))
    assert [row.positions for row in rows] == [(25,), (37,), (49,)]
    assert [row.seconds for row in rows] == [(1.0,), (1.48,), (1.96,)]
    (one,) = origins_of_rows("embeddings", BATCH, made, clip_id=B, position=37)
    assert len(one.says["embedding"]) == PerceptualEmbedding().dimensions


def test_everything_that_a_video_was_used_for(made: Workspace) -> None:
    uses = uses_of_video("b.mp4", made)
    assert {(one.clip_id, one.signature) for one in uses.frames} == {
        (clip, signature.key) for clip in ("b.mp4#0-12800", B) for signature in (TWO, MIDDLE)
    }
    assert {row.frames.video_key for row in uses.rows} == {"b.mp4"}
    tables = [row.table for row in uses.rows]
    assert {table: tables.count(table) for table in set(tables)} == {
        "embeddings": 6,
        "quality": 6,
        "captions": 2,
    }


def test_everything_that_a_frame_was_used_for(made: Workspace) -> None:
    """37 is in both signatures, 25 in one, and 26 in none."""
    assert [one.signature for one in uses_of_frame(BATCH, B, 37, made).frames] == sorted(
        [MIDDLE.key, TWO.key]
    )
    assert [row.table for row in uses_of_frame(BATCH, B, 37, made).rows] == [
        "embeddings",
        "quality",
        "captions",
    ]
    assert [row.table for row in uses_of_frame(BATCH, B, 25, made).rows] == [
        "embeddings",
        "quality",
    ]
    assert uses_of_frame(BATCH, B, 26, made).rows == ()


def test_what_changed_since(made: Workspace) -> None:
    """The file first, then the frames; rows say that they are of those before."""
    path = Path(made.source.url) / "b.mp4"
    make_video(path, frames=50, options=X264, first=700)
    observe_videos(made.batches.read(BATCH), made)
    (before,) = origins_of_rows("captions", BATCH, made, clip_id=B)
    assert (before.frames.is_current, before.made_from_them) == (False, True)

    (other,) = origins_of_rows("captions", BATCH, made, clip_id="a.mp4#0-12800")
    frames = made.store.read(BATCH, MIDDLE, B)
    made.store.write_clip(BATCH, other.frames.clip_id, {MIDDLE: frames})
    made.store.commit_batch(BATCH, MIDDLE)
    (after,) = origins_of_rows("captions", BATCH, made, clip_id="a.mp4#0-12800")
    assert not after.made_from_them


def test_what_is_not_there(made: Workspace) -> None:
    with pytest.raises(CommitNotFoundError, match="in no batch"):
        uses_of_video("z.mp4", made)
    with pytest.raises(ConfigError, match="not made from frames"):
        next(origins_of_rows("clips", BATCH, made))
    assert not list(origins_of_rows("captions", "batch-000009", made))
