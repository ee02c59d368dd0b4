"""Results do not depend on decoder threads or on the run, for damaged videos too."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, SourceError, extract_frames, probe
from frames_pipeline.decoding.backends import PyavDecoder
from frames_pipeline.frames import DecodeReport
from tests.corpus.files import FILES, CorpusFile, each_file
from tests.videos import make_video

RUNS = int(os.environ.get("FRAMES_THREAD_RUNS", "1"))
"""Decodes per file and number of threads: 20 in a long run."""
DAMAGED_COPIES = int(os.environ.get("FRAMES_DAMAGED_COPIES", "2"))
"""Damaged videos per encoder."""
THREADS = (1, 2, 4)
ENCODERS = {
    "h264.mp4": ("libx264", {"preset": "veryfast", "bf": "2", "g": "10"}),
    "h264_slices.ts": ("libx264", {"preset": "veryfast", "bf": "0", "g": "10", "slices": "4"}),
    "hevc.mp4": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:keyint=10"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "10"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "10"}),
    "mpeg2.ts": ("mpeg2video", {"bf": "2", "g": "10"}),
    "mjpeg.avi": ("mjpeg", {"strict": "unofficial"}),
    "ffv1.mkv": ("ffv1", {"level": "3", "slicecrc": "1"}),
}
WORK_NOT_COMPARED = DecodeReport("-", packets_planned=0, packets_fed=0, frames_decoded=0)
"""The number of packets fed before damage is noticed does depend on threads."""


def result(path: Path, threads: int) -> Any:
    """Return everything reported about a video's frames, pixels included; or the error."""
    try:
        signature = FrameExtractionSignature(policy="uniform", num_frames=probe(path).num_frames)
        batch = extract_frames(path, [signature], decoder=PyavDecoder(threads))[signature]
    except SourceError as error:
        return type(error).__name__, str(error)
    outcome = replace(batch.outcome, decode=WORK_NOT_COMPARED)
    fallback = batch.outcome.decode.fallback
    marks, positions = batch.corrupt.tolist(), batch.positions.tolist()
    return outcome, fallback, marks, positions, batch.pts.tolist(), batch.frames.tobytes()


def assert_same_for_all_threads(path: Path) -> None:
    expected = result(path, 1)
    for run in range(RUNS):
        for threads in THREADS if run else THREADS[1:]:
            assert result(path, threads) == expected, f"{path.name}: run {run}, {threads} threads"


def is_damaged(file: CorpusFile) -> bool:
    return file.is_damaged or file.path.name in {"trunc.mkv", "bitflip_moov.mp4"}


@each_file(is_damaged)
def test_damaged_files_of_the_corpus(file: CorpusFile) -> None:
    assert_same_for_all_threads(file.path)


def noise(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a picture that moves a little and needs a long packet."""
    grain = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    return np.ascontiguousarray(np.roll(grain // 2 + 64, 2 * number, axis=1))


def damaged_copy(path: Path, seed: int) -> Path:
    """Copy a video with some bits of one packet flipped."""
    with av.open(str(path)) as container:
        packets = [
            (p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None
        ]
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    position, size = packets[chance.randrange(1, len(packets))]
    for _ in range(3):
        data[position + chance.randrange(size // 3, size)] ^= 1 << chance.randrange(8)
    copy = path.with_stem(f"{path.stem}_{seed}")
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("name", ENCODERS)
def test_flipped_bits(tmp_path: Path, name: str) -> None:
    codec, options = ENCODERS[name]
    layout = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_video(
        tmp_path / name, frames=30, size=(96, 128), codec=codec, options=options,
        pixel_format=layout, draw=noise,
    )  # fmt: skip
    assert_same_for_all_threads(path)
    assert result(path, 1)[0].status == "ok"
    for seed in range(DAMAGED_COPIES):
        assert_same_for_all_threads(damaged_copy(path, seed))


@pytest.mark.skipif("trunc_mdat.mp4" not in FILES, reason="no corpus; set FRAMES_CORPUS")
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("name", ["trunc_mdat.mp4", "trunc_frag.mp4"])
def test_only_the_packet_that_is_cut_short_is_lost(name: str, threads: int) -> None:
    """Frames that the decoder still holds when it meets the error are not lost."""
    file = FILES[name]
    signature = FrameExtractionSignature(policy="uniform", num_frames=file.frames)
    batch = extract_frames(file.path, [signature], decoder=PyavDecoder(threads))[signature]
    assert batch.outcome.missing == tuple(file.differs.missing)
    assert not batch.corrupt.any()
