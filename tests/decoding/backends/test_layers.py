"""A VP9 packet with a picture in several sizes gives the last one, as libvpx does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.decoding.backends import PyavDecoder
from tests.videos import make_video, scenes

FRAMES = 12
INTRA = {"g": "1", "deadline": "realtime", "cpu-used": "8"}
EVERY = FrameExtractionSignature(policy="uniform", num_frames=FRAMES)


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def superframe(frames: Sequence[bytes]) -> bytes:
    """Return a packet of several frames followed by their index (VP9, Annex B)."""
    marker = bytes([0b110_11_000 | len(frames) - 1])
    sizes = b"".join(struct.pack("<I", len(frame)) for frame in frames)
    return b"".join(frames) + marker + sizes + marker


def write_ivf(path: Path, packets: Sequence[bytes], *, width: int, height: int) -> Path:
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP90", width, height, 25, 1, 0, 0)
    parts = [struct.pack("<IQ", len(data), pts) + data for pts, data in enumerate(packets)]
    path.write_bytes(header + b"".join(parts))
    return path


def layered(folder: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """Write a video with packets that hold a picture in several sizes (height, width)."""
    layers = []
    for number, size in enumerate(sizes):
        path = folder / f"layer{number}.webm"
        video = make_video(
            path, frames=FRAMES, size=size, codec="libvpx-vp9", options=INTRA, draw=scenes([FRAMES])
        )
        layers.append(packets_of(video))
    packets = [superframe(frames) for frames in zip(*layers, strict=True)]
    height, width = sizes[0]
    return write_ivf(folder / "layers.ivf", packets, width=width, height=height)


def by_libvpx(path: Path) -> list[VideoFrame]:
    context = av.CodecContext.create("libvpx-vp9", "r")
    packets = [*packets_of(path), b""]
    frames: list[VideoFrame] = []
    for data in packets:
        frames += context.decode(av.Packet(data) if data else None)
    return frames


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "sizes", [[(48, 80), (96, 160)], [(96, 160), (48, 80)], [(24, 40), (48, 80), (90, 150)]]
)
def test_the_last_layer_is_shown(
    tmp_path: Path, sizes: list[tuple[int, int]], threads: int
) -> None:
    path = layered(tmp_path, sizes)
    expected = [
        frame.reformat(format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
        for frame in by_libvpx(path)
    ]
    assert len(expected) == FRAMES
    index = probe(path)
    assert (index.num_frames, index.height, index.width) == (FRAMES, *sizes[-1])
    batch = extract_frames(path, [EVERY], decoder=PyavDecoder(threads))[EVERY]
    assert batch.outcome.status == "ok"
    np.testing.assert_array_equal(batch.frames, np.stack(expected))
    middle = FrameExtractionSignature(policy="middle")
    alone = extract_frames(path, [middle], decoder=PyavDecoder(threads))[middle]
    np.testing.assert_array_equal(alone.frames[0], expected[(FRAMES - 1) // 2])
