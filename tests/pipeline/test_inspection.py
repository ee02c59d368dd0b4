"""What stored frames show, and whether they are what was asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline import FrameBatch, FrameExtractionSignature
from frames_pipeline.errors import IntegrityError
from frames_pipeline.pipeline import (
    Workspace,
    compare_with_signature,
    extract_batch,
    find_disorder,
    find_repeated,
    look_at_clips,
    sheet_of_batch,
    timeline_of_batch,
)
from frames_pipeline.signature import Samples
from frames_pipeline.store import Manifest
from tests.pipeline.conftest import BATCH, ONE

FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
THREE = FrameExtractionSignature(policy="uniform", num_frames=3)
FREE = FrameExtractionSignature(policy="last", target_res=(24, -1))
CLIP = "b.mp4#0-12800"
OTHER = "b.mp4#12800-25600"
Change = Callable[[FrameBatch], FrameBatch]


@pytest.fixture
def published(cut: Workspace) -> Workspace:
    extract_batch(BATCH, [FOUR, THREE, FREE], cut, workers=ONE)
    return cut


def manifest(workspace: Workspace, signature: FrameExtractionSignature) -> Manifest:
    return workspace.store.manifest(BATCH, signature)


def rewrite(
    workspace: Workspace, signature: FrameExtractionSignature, clip: str, make: Change
) -> None:
    """Commit other frames for a clip, as a faulty writer would."""
    frames = make(workspace.store.read(BATCH, signature, clip))
    workspace.store.write_clip(BATCH, clip, {signature: frames})
    workspace.store.commit_batch(BATCH, signature)


@pytest.mark.parametrize("signature", [FOUR, THREE, FREE], ids=lambda one: one.policy)
def test_what_was_extracted_is_as_it_should_be(
    published: Workspace, signature: FrameExtractionSignature
) -> None:
    fit = compare_with_signature(manifest(published, signature), signature, published)
    assert (fit.clips, fit.wrong, fit.unlike_video) == (8, (), ())
    assert not find_disorder(manifest(published, signature), published)
    assert not find_repeated(manifest(published, signature))


def test_a_size_that_the_signature_names_cannot_be_another(published: Workspace) -> None:
    rewrite(published, FOUR, CLIP, lambda batch: replace(batch, frames=batch.frames[:, :20]))
    fit = compare_with_signature(manifest(published, FOUR), FOUR, published)
    assert [(one.clip_id, one.found) for one in fit.wrong] == [(CLIP, "20x32 pixels, not 24x32")]


def test_a_size_that_follows_from_the_video_may_be_another(published: Workspace) -> None:
    rewrite(published, FREE, CLIP, lambda batch: replace(batch, frames=batch.frames[:, :, :30]))
    fit = compare_with_signature(manifest(published, FREE), FREE, published)
    assert not fit.wrong
    assert [(one.clip_id, one.found) for one in fit.unlike_video] == [
        (CLIP, "24x30 pixels, not 24x32")
    ]


@pytest.mark.parametrize("samples", ["gray8", "rgb16", "gray16"])
def test_frames_of_other_samples_are_inspected_and_shown(
    published: Workspace, samples: Samples
) -> None:
    """As frames of 8 bits of the same levels are."""
    signature = replace(FOUR, samples=samples)
    for clip in published.store.clips(BATCH, FOUR):
        batch = published.store.read(BATCH, FOUR, clip)
        frames = batch.frames if clip != CLIP else np.zeros_like(batch.frames)
        frames = frames[..., : signature.channels].astype(signature.dtype)
        frames *= 257 if signature.dtype == "uint16" else 1
        published.store.write_clip(BATCH, clip, {signature: replace(batch, frames=frames)})
    made = published.store.commit_batch(BATCH, signature)
    fit = compare_with_signature(made, signature, published)
    assert (fit.clips, fit.wrong, fit.unlike_video) == (8, (), ())
    blank = look_at_clips(made, published).blank
    assert [(one.clip_id, one.found) for one in blank] == [(CLIP, "black")]
    sheet = np.asarray(Image.open(io.BytesIO(sheet_of_batch(made, signature, published))))
    like = np.asarray(
        Image.open(io.BytesIO(sheet_of_batch(manifest(published, FOUR), FOUR, published)))
    )
    assert sheet.shape == like.shape
    assert sheet.max() > 200


def test_a_number_of_frames_that_was_asked_for(published: Workspace) -> None:
    rewrite(published, THREE, CLIP, lambda batch: taken(batch, np.array([0, 2])))
    fit = compare_with_signature(manifest(published, THREE), THREE, published)
    assert [(one.clip_id, one.found) for one in fit.wrong] == [(CLIP, "2 frames, not 3")]


def test_time_that_goes_back(published: Workspace) -> None:
    rewrite(published, FOUR, CLIP, lambda batch: taken(batch, np.array([0, 2, 1, 3])))
    assert [one.clip_id for one in find_disorder(manifest(published, FOUR), published)] == [CLIP]


def test_repeats_are_in_order(published: Workspace) -> None:
    rewrite(published, FOUR, CLIP, lambda batch: taken(batch, np.array([0, 0, 1, 1])))
    assert not find_disorder(manifest(published, FOUR), published)


def test_black_and_frozen_clips(published: Workspace) -> None:
    rewrite(published, FOUR, CLIP, lambda batch: replace(batch, frames=batch.frames * 0))
    rewrite(
        published,
        FOUR,
        OTHER,
        lambda batch: replace(batch, frames=batch.frames[[0] * len(batch)]),
    )
    sight = look_at_clips(manifest(published, FOUR), published)
    assert {one.clip_id: one.found for one in sight.blank} == {CLIP: "black", OTHER: "frozen"}
    assert sight.blank_share == 2 / 8


def test_a_clip_of_one_frame_is_not_frozen(published: Workspace) -> None:
    assert look_at_clips(manifest(published, FREE), published).blank == ()


def test_so_many_clips_are_looked_at(published: Workspace) -> None:
    assert look_at_clips(manifest(published, FOUR), published, clips=3, seed=1).clips == 3


def test_clips_with_the_same_frames(published: Workspace) -> None:
    same = published.store.read(BATCH, FOUR, CLIP)
    rewrite(published, FOUR, OTHER, lambda _: same)
    assert find_repeated(manifest(published, FOUR)) == ((CLIP, OTHER),)


def taken(batch: FrameBatch, indexes: NDArray[np.int64]) -> FrameBatch:
    """Some frames of a batch, in that order."""
    arrays = ("frames", "pts", "positions", "key_frame", "corrupt")
    return replace(batch, **{name: getattr(batch, name)[indexes] for name in arrays})


@pytest.mark.parametrize("name", ["zarr.json", "frames/c/0/0/0/0"])
def test_a_damaged_clip_is_marked_in_pictures_and_fails_what_looks_at_it(
    published: Workspace, name: str
) -> None:
    """Damage does not fail a contact sheet, but the checks of frames must report it."""
    whole = sheet_of_batch(manifest(published, FOUR), FOUR, published)
    commit = manifest(published, FOUR).clips[CLIP]
    objects, key = published.store.objects, f"frames/{BATCH}/{FOUR.key}/{commit.path}/{name}"
    data = bytearray(objects.get(key))
    data[len(data) // 2] ^= 1
    objects.put(key, bytes(data))
    assert sheet_of_batch(manifest(published, FOUR), FOUR, published) != whole
    assert timeline_of_batch(manifest(published, FOUR), published)
    with pytest.raises(IntegrityError, match="extract clip"):
        look_at_clips(manifest(published, FOUR), published)
