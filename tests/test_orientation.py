"""Frames are laid out as their display matrix says, and reading it keeps none of them alive."""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames
from tests.videos import make_video

FIRST = FrameExtractionSignature(policy="first")
STORED = FrameExtractionSignature(policy="first", rotation="ignore")
Layout = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

# Exif 2.32, 4.6.4.A: at which side row 0 and column 0 of the stored picture are to be seen
EXIF_ORIENTATIONS: dict[int, Layout] = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.transpose(1, 0, 2),  # left, top
    6: lambda stored: stored[::-1].transpose(1, 0, 2),  # right, top
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda stored: stored[:, ::-1].transpose(1, 0, 2),  # left, bottom
}


def exif_segment(orientation: int) -> bytes:
    """A JPEG segment (APP1) that says nothing but an orientation."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_exif(source: Path, path: Path, orientation: int) -> Path:
    """Motion JPEG, as cameras write it: every picture has EXIF data."""
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for packet in reader.demux(stream):
            if packet.size:
                data = bytes(packet)
                changed = av.Packet(data[:2] + exif_segment(orientation) + data[2:])
                changed.pts, changed.dts = packet.pts, packet.dts
                changed.time_base, changed.stream = packet.time_base, copy
                changed.is_keyframe = True
                writer.mux(changed)
    return path


@pytest.mark.parametrize("orientation", EXIF_ORIENTATIONS)
def test_orientation_in_exif_data_is_applied(tmp_path: Path, orientation: int) -> None:
    """Mirrored ones too; PyAV lists no side data of such a frame and gives its angle alone."""
    plain = make_video(
        tmp_path / "v.avi", frames=2, codec="mjpeg", pixel_format="yuvj420p", first=0b1011
    )
    path = with_exif(plain, tmp_path / "exif.avi", orientation)

    batches = extract_frames(path, [FIRST, STORED])

    stored = batches[STORED].frames[0]
    np.testing.assert_array_equal(stored, extract_frames(plain, [FIRST])[FIRST].frames[0])
    np.testing.assert_array_equal(batches[FIRST].frames[0], EXIF_ORIENTATIONS[orientation](stored))


def test_no_frame_waits_for_the_garbage_collector(video: Path) -> None:
    """At 8K a hundred of them are 5 GB."""
    gc.collect()
    gc.disable()
    try:
        extract_frames(video, [FrameExtractionSignature(target_fps=25)])
        alive = [item for item in gc.get_objects() if issubclass(type(item), VideoFrame)]
    finally:
        gc.enable()
    assert len(alive) <= 1  # the decoder's own
