"""A depth stream from its file to a pack, a training loop and pictures: every level is kept."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    FrameStore,
    export,
    extract_frames,
    open_frames,
)
from frames_pipeline.export import Encoding
from frames_pipeline.readers.datasets import WindowDataset
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.signature import Samples

FRAMES = 4


def levels(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    """A picture of 65536 levels, each of them once. Shape (256, 256)."""
    return np.roll(np.arange(65536, dtype=np.uint16), 1000 * number).reshape(256, 256)


@pytest.fixture
def depth(tmp_path: Path) -> Path:
    """FFV1 with gray samples of 16 bits, as depth cameras are recorded."""
    path = tmp_path / "depth.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = 256
        stream.pix_fmt = "gray16le"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(levels(number), format="gray16le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("samples", ["gray16", "gray8", "rgb16"])
def test_every_level_is_kept(tmp_path: Path, depth: Path, samples: Samples) -> None:
    signature = FrameExtractionSignature(target_fps=10, samples=samples)
    FrameStore(tmp_path / "store").write_clip("b", "depth.mkv", extract_frames(depth, [signature]))
    FrameStore(tmp_path / "store").commit_batch("b", signature)
    frames = open_frames(tmp_path / "store", signature=signature)
    pack_frames(frames, tmp_path / "pack")
    export.export_images(frames, tmp_path / "out", encoding=Encoding("png"))
    pictures = sorted((tmp_path / "out" / "images" / "b").glob("*/*.png"))
    read = [
        frames.read("depth.mkv").frames,
        open_pack(tmp_path / "pack").read("depth.mkv").frames,
        WindowDataset(frames)[0]["frames"],  # type: ignore[index]
        np.stack([np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in pictures]),
    ]
    expected = np.stack([levels(number) for number in range(FRAMES)])
    if samples == "gray8":
        expected = np.round(expected / 257).astype(np.uint8)
    for found in read:
        assert found.dtype == expected.dtype
        shaped = found if found.ndim == 4 else found[..., None]
        for channel in range(signature.channels):
            np.testing.assert_array_equal(shaped[..., channel], expected)
