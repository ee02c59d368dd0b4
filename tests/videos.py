"""Generated videos: the picture of every frame shows the frame's number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

ROWS, COLUMNS = 3, 4
"""A picture is a grid of black and white cells: the bits of its frame's number, lowest first."""


def picture(number: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return the picture of a frame. Shape (height, width, 3)."""
    bits = [number >> bit & 1 for bit in range(ROWS * COLUMNS)]
    cells = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 235 + 10
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(cells[rows][:, columns][..., None], 3, axis=2)


def scenes(lengths: Sequence[int]) -> Callable[[int, int, int], NDArray[np.uint8]]:
    """Return pictures of shots of given lengths: a texture each, which moves slowly sideways."""
    shot_of = np.repeat(np.arange(len(lengths)), lengths)
    grids = np.random.default_rng(1).integers(30, 226, (len(lengths), 3, 6, 3), np.uint8)

    def drawn(number: int, height: int, width: int) -> NDArray[np.uint8]:
        rows = np.arange(height) * 3 // height
        columns = (2 * np.arange(width) + number) * 3 // width % 6
        return np.ascontiguousarray(grids[shot_of[number]][rows][:, columns])

    return drawn


def number_in(pixels: NDArray[np.uint8]) -> int:
    """Return the number that a picture of any size shows."""
    height, width, _ = pixels.shape
    number = 0
    for bit in range(ROWS * COLUMNS):
        row, column = divmod(bit, COLUMNS)
        y = (2 * row + 1) * height // (2 * ROWS)
        x = (2 * column + 1) * width // (2 * COLUMNS)
        number |= int(pixels[y, x].mean() > 128) << bit
    return number


def numbers_in(frames: NDArray[np.uint8]) -> list[int]:
    """Return the numbers that pictures show. `frames` has shape (n, height, width, 3)."""
    return [number_in(frame) for frame in frames]


def make_video(
    path: Path,
    *,
    frames: int = 48,
    size: tuple[int, int] = (48, 64),
    rate: Fraction | int = 25,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    first: int = 0,
    container_options: Mapping[str, str] | None = None,
    draw: Callable[[int, int, int], NDArray[np.uint8]] = picture,
) -> Path:
    """Write a video of numbered pictures, and return its path.

    Args:
        path: The file to write; its suffix determines the container.
        frames: Number of frames.
        size: (height, width) as stored.
        rate: Frames per second.
        codec: FFmpeg's name of the encoder.
        options: The encoder's options.
        pixel_format: FFmpeg's name of the pixel format.
        pts: Timestamps in `time_base` units, for a variable rate.
        time_base: Seconds per unit of `pts`.
        rotation: Counter-clockwise degrees of the display matrix.
        first: Number of the first picture.
        container_options: The muxer's options.
        draw: Returns the picture of a number, height and width.
    """
    height, width = size
    base = time_base or 1 / Fraction(rate)
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=dict(options or {}))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = VideoFrame.from_ndarray(draw(first + number, height, width), "rgb24")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


X264 = {"g": "12", "bf": "3", "x264-params": "keyint=12:scenecut=0:b-pyramid=normal:threads=1"}
"""Groups of 12 with B-frames that are references, and B-frames that are not."""


def make_videos(folder: Path, names: Iterable[str], *, frames: int) -> None:
    """Make a video under each name.

    Encodes elsewhere, since FFmpeg may treat a name as a pattern.
    """
    for number, name in enumerate(names):
        made = make_video(folder / "new.mp4", frames=frames, options=X264, first=10 * number)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.rename(path)
