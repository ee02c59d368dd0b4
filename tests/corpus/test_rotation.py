"""Turned videos look as ffmpeg's own program shows them, which turns by default."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames
from tests.corpus.files import CorpusFile, each_file

FFMPEG = shutil.which("ffmpeg")
FIRST = FrameExtractionSignature(policy="first")


def first_frame_by_ffmpeg(file: CorpusFile, *, height: int, width: int) -> NDArray[np.uint8]:
    command = [
        str(FFMPEG), "-v", "error", "-i", str(file.path), "-map", "0:V:0", "-frames:v", "1",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
    ]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


def is_turned(file: CorpusFile) -> bool:
    return file.rotation != 0


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@each_file(is_turned)
def test_turned_as_ffmpeg_turns(file: CorpusFile) -> None:
    """To the bit where samples have 8 bits: both convert those without rounding chroma anew."""
    ours = extract_frames(file.path, [FIRST])[FIRST].frames[0]
    width, height = file.size if file.rotation % 180 == 0 else file.size[::-1]
    assert ours.shape == (height, width, 3)
    theirs = first_frame_by_ffmpeg(file, height=height, width=width)
    difference = np.abs(ours.astype(int) - theirs).mean()
    assert difference <= (0.2 if file.row["pix_fmt"].endswith("10le") else 0)
