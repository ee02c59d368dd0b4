"""Every file of the corpus is refused, or gives the frames that ffprobe and ffmpeg say it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    FramesPipelineError,
    NoFramesError,
    extract_frames,
    probe,
)
from tests.corpus.files import DIFFERENCES, FILES, TOO_LARGE_TO_DECODE_OFTEN, CorpusFile, each_file
from tests.oracle import needs_corpus

FIRST = FrameExtractionSignature(policy="first")


def every_frame(count: int) -> FrameExtractionSignature:
    """Each of `count` frames once, small."""
    return FrameExtractionSignature(policy="uniform", num_frames=count, target_res=(16, 16))


@needs_corpus
def test_every_difference_is_of_a_file() -> None:
    assert set(DIFFERENCES) <= set(FILES)


@each_file()
def test_the_outcome_and_the_count_are_those_of_ffmpeg(file: CorpusFile) -> None:
    if file.error is not None:
        for call in (lambda: probe(file.path), lambda: extract_frames(file.path, [FIRST])):
            with pytest.raises(FramesPipelineError, match=re.escape(file.path.name)) as caught:
                call()
            assert type(caught.value) is file.error
        return
    index = probe(file.path)
    assert index.num_frames == file.frames
    assert (index.width, index.height) == file.size
    assert index.rotation == file.rotation
    assert index.codec == file.row["codec"]
    assert index.timestamps == file.timestamps
    assert bool(index.timestamps_detail) == (file.timestamps != "container")
    assert index.time_base == file.time_base
    if not file.frames:
        with pytest.raises(NoFramesError, match="the stream shows no frame at all"):
            extract_frames(file.path, [FIRST])
        return
    if file.path.name in TOO_LARGE_TO_DECODE_OFTEN:
        small = FrameExtractionSignature(policy="first", target_res=(16, 16))
        assert extract_frames(file.path, [small])[small].positions.tolist() == [0]
        return
    signature = every_frame(file.frames)
    batch = extract_frames(file.path, [signature])[signature]
    present = [p for p in range(file.frames) if p not in file.differs.missing]
    assert batch.positions.tolist() == present
    assert batch.outcome.missing == tuple(file.differs.missing)
    assert batch.outcome.corrupt == tuple(file.differs.corrupt)
    assert batch.outcome.candidates == file.frames
    assert bool(batch.outcome.detail) == file.is_damaged
    assert batch.outcome.timestamps == file.timestamps
    assert batch.outcome.timestamps_detail == index.timestamps_detail


def test_the_document_names_every_difference() -> None:
    document = (Path(__file__).parents[2] / "docs" / "design" / "corpus.md").read_text()
    table = document.split("## Where the result differs")[1].split("## ")[0]
    named = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(DIFFERENCES)
