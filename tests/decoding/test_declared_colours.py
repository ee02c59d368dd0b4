"""Colours that only the container declares."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from tests.containers import box, with_boxes
from tests.videos import make_video

X265 = "bframes=0:log-level=none:pools=none:frame-threads=1"
SDR = FrameExtractionSignature(policy="first", colour="sdr")
ACCURATE = FrameExtractionSignature(policy="first", colour="accurate")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_are_mapped_by_the_colours_of_the_container(tmp_path: Path, codec: str) -> None:
    """FFmpeg's HEVC decoder leaves the container's tags out of frames; its H.264 decoder does not.

    A gray of limited range, of code 143 in 8 bits, is code 573 of PQ in 10: 155 in SDR.
    """
    gray = 149  # full-range RGB of luma 143
    options = {"x265-params": X265} if codec == "libx265" else {}
    plain = make_video(
        tmp_path / "plain.mp4",
        frames=2,
        codec=codec,
        options=options,
        draw=lambda number, height, width: np.full((height, width, 3), gray, np.uint8),
    )
    nclx = struct.pack(">4sHHHB", b"nclx", 9, 16, 9, 0)
    tagged = with_boxes(plain, tmp_path / "tagged.mp4", box(b"colr", nclx))
    assert probe(tagged).picture.transfer == "smpte2084"
    found = extract_frames(tagged, [SDR, ACCURATE])
    assert abs(int(found[SDR].frames[0, 10, 10, 0]) - 155) <= 3
    untagged = extract_frames(plain, [SDR, ACCURATE])
    assert np.array_equal(untagged[SDR].frames, untagged[ACCURATE].frames)
