"""What is not called damaged is what it was before the damage."""

from __future__ import annotations

import numpy as np
import pytest

from frames_pipeline import FrameBatch, FrameExtractionSignature, extract_frames
from tests.corpus.files import FILES, CorpusFile
from tests.corpus.totals import Count
from tests.oracle import needs_corpus
from tests.suites import live_from

INTACT = {
    "bitflip_mdat.mp4": "base_h264.mp4",
    "zeroed_middle.mp4": "base_h264.mp4",
    "trunc_mdat.mp4": "faststart.mp4",
    "trunc_frag.mp4": "frag.mp4",
    "trunc.mkv": "base.mkv",
}
"""The file that each was made of."""


def every_frame(file: CorpusFile) -> FrameBatch:
    signature = FrameExtractionSignature(policy="uniform", num_frames=file.frames)
    return extract_frames(file.path, [signature])[signature]


@needs_corpus
@pytest.mark.parametrize("name", live_from(2, INTACT))
def test_the_frames_with_a_mark_are_those_that_changed(name: str, count: Count) -> None:
    damaged, intact = every_frame(FILES[name]), every_frame(FILES[INTACT[name]])
    before = dict(zip(intact.pts_seconds.tolist(), intact.frames, strict=True))
    seconds = damaged.pts_seconds.tolist()
    equal = np.array(
        [np.array_equal(a, before[t]) for a, t in zip(damaged.frames, seconds, strict=True)]
    )
    np.testing.assert_array_equal(equal, ~damaged.corrupt)
    count("frames of damaged files without a mark, with the intact file", int(equal.sum()))
