"""A container's crop reaches tables, frames, attributes and checks."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.frames import Crop
from frames_pipeline.pipeline import (
    Workspace,
    clips_version,
    compare_with_signature,
    cut_clips,
    discover,
    extract_batch,
)
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.tables import CLIPS
from tests.containers import with_aperture
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video

CUT = FrameExtractionSignature(policy="first", crop="container")
RESIZED = FrameExtractionSignature(policy="last", crop="container", target_res=(64, -1))
WHOLE = FrameExtractionSignature(policy="first")
SIZES = {CUT: (32, 24), RESIZED: (64, 48), WHOLE: (64, 48)}
"""Sizes of the cropped video's frames; it is turned by 90 degrees."""


@pytest.fixture
def cropped(tmp_path: Path) -> Workspace:
    """Make a turned video of 48x64 with a crop of 24x32, and one without a crop."""
    (tmp_path / "videos").mkdir()
    plain = make_video(tmp_path / "plain.mp4", frames=20, rotation=90, options=X264)
    with_aperture(plain, tmp_path / "videos" / "a.mp4", (32, 1, 24, 1, 1, 1, 1, 1))
    (tmp_path / "videos" / "b.mp4").write_bytes(plain.read_bytes())
    return Workspace.at(str(tmp_path / "videos"), str(tmp_path / "root"))


def sealed(workspace: Workspace) -> Batch:
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    return batch


def test_a_crop_is_kept_with_clips_and_frames(cropped: Workspace) -> None:
    batch = sealed(cropped)
    rows = cut_clips(batch, cropped, WholeVideo(), workers=ONE).to_pylist()
    said = {row["video_key"]: (row["container_crop"], row["pixel_format"]) for row in rows}
    assert said == {"a.mp4": ([13, 11, 17, 15], "yuv420p"), "b.mp4": (None, "yuv420p")}

    reports = extract_batch(batch, SIZES, cropped, workers=ONE)
    for signature, size in SIZES.items():
        manifest = reports[signature].manifest
        fit = compare_with_signature(manifest, signature, cropped)
        assert (fit.clips, fit.wrong, fit.unlike_video) == (2, (), ())
        for clip_id, commit in manifest.clips.items():
            stored = cropped.store.open(batch.key, signature, clip_id)
            attributes = zarr.open_array(f"{stored.url}/frames", mode="r").attrs.asdict()
            frames = cropped.store.read(batch.key, signature, clip_id)
            if clip_id.startswith("a.mp4"):
                assert attributes["container_crop"] == [13, 11, 17, 15]
                assert frames.container_crop == Crop(13, 11, 17, 15)
                assert (commit.height, commit.width) == size
            else:
                assert "container_crop" not in attributes
                assert frames.container_crop is None


def test_a_table_of_the_first_release_is_read_and_its_clips_are_not_cut_again(
    cropped: Workspace,
) -> None:
    batch, later = sealed(cropped), CLIPS.names[CLIPS.names.index("detail") + 1 :]
    now = cut_clips(batch, cropped, WholeVideo(), workers=ONE)
    old = now.drop_columns(later)
    cropped.tables.write("clips", batch.key, old)
    again = cut_clips(batch, cropped, WholeVideo(), workers=ONE)
    assert again.drop_columns(later).equals(old)
    assert again["container_crop"].to_pylist() == [None, None]
    assert clips_version(again) == clips_version(now)
    manifest = extract_batch(batch, [CUT], cropped, workers=ONE)[CUT].manifest
    fit = compare_with_signature(manifest, CUT, cropped)
    assert (fit.wrong, fit.unlike_video) == ((), ())
