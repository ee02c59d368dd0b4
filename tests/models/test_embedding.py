"""Embeddings: what the default provider promises of its vectors."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.embedding import (
    EMBEDDING_PROVIDERS,
    PerceptualEmbedding,
    open_embedding_provider,
)
from tests.models.frame_batches import flat_frames, scene
from tests.oracle import CORPUS, needs_corpus
from tests.suites import live_from

Frame = NDArray[np.uint8]
any_frames = npst.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3, st.just(3)))
provider = PerceptualEmbedding()


def resized(frame: Frame) -> Frame:
    return np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BICUBIC))


def compressed(frame: Frame) -> Frame:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=20)
    return np.asarray(Image.open(buffer))


def brighter(frame: Frame) -> Frame:
    return np.clip(frame.astype(np.int16) + 20, 0, 255).astype(np.uint8)


def more_contrast(frame: Frame) -> Frame:
    return np.asarray(np.clip(frame * 1.15, 0, 255), np.uint8)


def noisy(frame: Frame) -> Frame:
    noise = np.random.default_rng(7).normal(0, 8, frame.shape)
    return np.asarray(np.clip(frame + noise, 0, 255), np.uint8)


ALTERATIONS = [resized, compressed, brighter, more_contrast, noisy]


def embed(frames: list[Frame]) -> NDArray[np.float32]:
    return np.concatenate([provider.embed(frame[None]) for frame in frames])


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 1, 1, 3), (3, 1, 50, 3), (2, 90, 31, 3)])
def test_one_unit_vector_per_frame(shape: tuple[int, ...]) -> None:
    """Any number of frames of any size give float32 rows of length 1."""
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    vectors = provider.embed(frames)
    assert vectors.shape == (shape[0], provider.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


@given(any_frames)
def test_neighbours_do_not_matter(frames: Frame) -> None:
    """A frame has the same vector, to the bit, in whatever company it is embedded."""
    together = provider.embed(frames)
    for frame, vector in zip(frames, together, strict=True):
        np.testing.assert_array_equal(provider.embed(frame[None])[0], vector)


def test_large_frames_are_sliced_unnoticed() -> None:
    """Frames that do not fit into one slice come out as they do alone."""
    frames = np.random.default_rng(1).integers(0, 256, (3, 800, 1200, 3), np.uint8)
    np.testing.assert_array_equal(provider.embed(frames), embed(list(frames)))


def test_memory_layout_does_not_matter() -> None:
    """A view with other strides has the vectors of its copy."""
    frames = np.random.default_rng(2).integers(0, 256, (4, 20, 30, 3), np.uint8)[::-1, :, ::2]
    np.testing.assert_array_equal(provider.embed(frames), provider.embed(frames.copy()))


def test_vectors_are_those_of_revision_1() -> None:
    """Whoever changes the vectors must raise the revision, and this digest with it."""
    row, column, channel = np.ogrid[:45, :80, :3]
    frame = (row * row * (channel + 2) // 9 + column * (7 - channel) // 2) % 256
    vectors = provider.embed(frame[None].astype(np.uint8))
    digest = hashlib.sha256(np.rint(vectors * 1e5).astype("<i4").tobytes()).hexdigest()
    assert (provider.revision, digest[:16]) == (1, "602a80a1ca5c5d24")


def test_flat_frames_have_vectors_too() -> None:
    """Black frames are alike, also with noise, and unlike white and coloured ones."""
    black, white, red, blue = flat_frames((0, 0, 0), (255, 255, 255), (200, 0, 0), (0, 0, 200))
    grain = np.random.default_rng(3).integers(0, 3, black.shape, np.uint8)
    vectors = embed([black, black + grain, white, red, blue])
    alike = vectors @ vectors.T
    assert np.all(np.isfinite(vectors))
    assert alike[0, 1] > 0.99
    assert np.all(alike[0, 2:] < 0.5)
    assert alike[3, 4] < 0.5


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_altered_frame_is_found(alter: Callable[[Frame], Frame]) -> None:
    """The nearest neighbour of an altered frame is the original, and clearly so."""
    scenes = [scene(seed) for seed in range(40)]
    alike = embed([alter(frame) for frame in scenes]) @ embed(scenes).T
    itself = np.diag(alike)
    assert np.all(itself > 0.9)
    assert np.all(alike - np.diag(itself) < 0.9)
    np.testing.assert_array_equal(np.argmax(alike, axis=1), np.arange(len(scenes)))


def first_frames(path: Path, *, every: int = 30, count: int = 6) -> list[Frame]:
    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        chosen = (frame for number, frame in decoded if number % every == 0)
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in itertools.islice(chosen, count)
        ]


@needs_corpus
@pytest.mark.parametrize("alter", live_from(1, ALTERATIONS))
def test_altered_real_footage_is_found(alter: Callable[[Frame], Frame]) -> None:
    """In real footage an altered frame stays above 0.9 of itself, other videos stay below 0.75."""
    names = ["cv_box.mp4", "cv_tree.avi", "mpy_chaplin.mp4", "mpy_doc_long.mp4", "wpt_counting.mp4"]
    videos = [first_frames(CORPUS / "real" / name) for name in names]
    video = np.repeat(np.arange(len(videos)), [len(frames) for frames in videos])
    frames = [frame for found in videos for frame in found]
    alike = embed([alter(frame) for frame in frames]) @ embed(frames).T
    assert np.all(np.diag(alike) > 0.9)
    assert np.all(alike[video[:, None] != video] < 0.75)


def test_provider_is_identified_by_its_parameters() -> None:
    """Name, revision and dimensions say which vectors one gets."""
    opened = open_embedding_provider("perceptual")
    assert opened == provider
    assert opened.parameters() == {"name": "perceptual", "revision": 1, "dimensions": 96}
    assert set(EMBEDDING_PROVIDERS) == {"perceptual", "transformers"}


def test_unknown_provider() -> None:
    """A name that is not there is answered with those that are."""
    with pytest.raises(ConfigError, match="no embedding provider 'clip'; choose one of perceptual"):
        open_embedding_provider("clip")


def test_unknown_parameter() -> None:
    """A parameter that the provider does not take is named."""
    with pytest.raises(ConfigError, match=r"'perceptual': got an unexpected .* 'size'; .* none"):
        open_embedding_provider("perceptual", size=3)


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint8), r"uint8 \(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 4), np.uint8), r"uint8 \(1, 4, 4, 4\)"),
        (np.zeros((1, 0, 4, 3), np.uint8), "at least one pixel"),
    ],
)
def test_what_is_not_frames(frames: NDArray[np.uint8], found: str) -> None:
    """Anything but RGB frames is refused with what it is."""
    with pytest.raises(ConfigError, match=found):
        provider.embed(frames)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "perceptive",
            "choose one of perceptual, transformers, or name your own class as module:Class",
        ),
        ("no_such_module:Model", "cannot be imported"),
        ("decimal:NoSuchClass", "cannot be imported"),
        ("fractions:Fraction", "has no name, revision, parameters, dimensions, embed"),
    ],
)
def test_a_class_of_ones_own_must_be_a_provider(name: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_embedding_provider(name)
