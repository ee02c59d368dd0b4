"""Frames are laid out as their display matrix says, and reading it keeps none of them alive."""

from __future__ import annotations

import gc
import itertools
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.decoding.convert import UPRIGHT, Orientation, nearest_orientation
from tests.videos import X264, make_video

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
    before = {id(item) for item in gc.get_objects() if issubclass(type(item), VideoFrame)}
    gc.disable()
    try:
        extract_frames(video, [FrameExtractionSignature(target_fps=25)])
        frames = [item for item in gc.get_objects() if issubclass(type(item), VideoFrame)]
        alive = [frame for frame in frames if id(frame) not in before]
    finally:
        gc.enable()
    assert len(alive) <= 1  # the decoder's own


FFMPEG = shutil.which("ffmpeg")
ONCE, WHOLE = 1 << 16, 1 << 30
"""The number 1 in 16.16 and in 2.30 fixed point."""
ORIENTATIONS = [Orientation(*flags) for flags in itertools.product([False, True], repeat=3)]
INT32 = st.integers(-(2**31), 2**31 - 1)


def matrix_of(turn: Orientation) -> tuple[int, int, int, int]:
    """Return a, b, c, d of an orientation: a stored (x, y) maps to (ax + cy, bx + dy)."""
    rows, columns = (-1 if turn.flip_rows else 1), (-1 if turn.flip_columns else 1)
    if turn.transpose:
        return 0, rows, columns, 0
    return columns, 0, 0, rows


def spelled(a: int, b: int, c: int, d: int) -> list[int]:
    return [a, b, 0, c, d, 0, 0, 0, WHOLE]


@given(st.lists(INT32, min_size=9, max_size=9))
@example([0] * 9)
@example(spelled(ONCE, 0, 0, 0))
@example(spelled(0, -ONCE, 0, 0))
@example(spelled(-(2**31), -(2**31), -(2**31), -(2**31)))
def test_any_nine_numbers_have_the_orientation_nearest_to_them(matrix: list[int]) -> None:
    """Nearest by inner product, after both columns are scaled to length one."""
    found = nearest_orientation(matrix)
    a, b, _, c, d = matrix[:5]
    first, second = np.hypot(a, c), np.hypot(b, d)
    if not first or not second:
        assert found == UPRIGHT
        return
    columns = np.array([a / first, b / second, c / first, d / second])
    likeness = {turn: float(columns @ matrix_of(turn)) for turn in ORIENTATIONS}
    assert likeness[found] == pytest.approx(max(likeness.values()))


@given(
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.integers(1 << 8, 1 << 24)] * 2),
    st.tuples(*[st.integers(-100, 100)] * 4),
    st.lists(INT32, min_size=5, max_size=5),
)
def test_scale_skew_and_shift_change_no_orientation(
    turn: Orientation, scale: tuple[int, int], skew: tuple[int, ...], rest: list[int]
) -> None:
    """Entries that are small relative to the scale of their column are skew."""
    a, b, c, d = (
        number * size + part * size // 1000
        for number, size, part in zip(matrix_of(turn), scale * 2, skew, strict=True)
    )
    u, v, x, y, w = rest
    assert nearest_orientation([a, b, u, c, d, v, x, y, w]) == turn


def with_matrix(source: Path, path: Path, matrix: Sequence[int]) -> Path:
    """Copy an MP4 with another matrix in the header of its track."""
    data = bytearray(source.read_bytes())
    header = data.index(b"tkhd")
    version = data[header + 4]
    at = header + 4 + (52 if version else 40)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def shown_by_ffmpeg(path: Path) -> bytes:
    command = [
        str(FFMPEG), "-v", "error", "-i", str(path), "-frames:v", "1",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a video of one frame that shows which of the eight orientations it has."""
    folder = tmp_path_factory.mktemp("upright")
    return make_video(folder / "v.mp4", frames=1, first=0b1011, options=X264)


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_odd_matrices_turn_as_the_program_ffmpeg_turns(
    upright: Path, tmp_path: Path, turn: Orientation
) -> None:
    """Pixels are equal bit for bit. ffmpeg rounds the angle to degrees to find right angles."""
    rng = random.Random(repr(turn))
    for number in range(3):
        scale = rng.choice([ONCE, rng.randrange(1 << 12, 1 << 20)])
        skew = [rng.randrange(-scale // 200, scale // 200 + 1) if number else 0 for _ in range(4)]
        numbers = [scale * one + part for one, part in zip(matrix_of(turn), skew, strict=True)]
        path = with_matrix(upright, tmp_path / f"{number}.mp4", spelled(*numbers))
        found = extract_frames(path, [FIRST, STORED])
        assert found[FIRST].frames.tobytes() == shown_by_ffmpeg(path)
        plain = extract_frames(upright, [FIRST])[FIRST]
        np.testing.assert_array_equal(found[STORED].frames, plain.frames)
        assert probe(path).rotation == turn.degrees


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@pytest.mark.parametrize(
    "matrix", [[0] * 9, spelled(0, 0, 0, 0), spelled(ONCE, 0, 0, 0), spelled(0, 0, 0, ONCE)]
)
def test_a_matrix_that_says_nothing_is_shown_upright(
    upright: Path, tmp_path: Path, matrix: list[int]
) -> None:
    path = with_matrix(upright, tmp_path / "v.mp4", matrix)
    found = extract_frames(path, [FIRST, STORED])
    assert found[FIRST].frames.tobytes() == shown_by_ffmpeg(path)
    np.testing.assert_array_equal(found[FIRST].frames, found[STORED].frames)


@pytest.mark.parametrize(("degrees", "shown"), [(33, 0), (50, 90), (-50, -90), (140, -180)])
def test_any_other_angle_is_the_nearest_right_one(tmp_path: Path, degrees: int, shown: int) -> None:
    path = make_video(tmp_path / "tilted.mp4", frames=2, rotation=degrees, first=0b1011)
    found = extract_frames(path, [FIRST, STORED])
    turned = np.rot90(found[STORED].frames[0], shown // 90)
    np.testing.assert_array_equal(found[FIRST].frames[0], turned)
    assert probe(path).rotation == shown
