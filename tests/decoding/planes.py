"""Frames of known samples, and the formulas of ITU-T H.273 in float64.

This module never imports the package under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

Samples = NDArray[np.int64]
"""Samples of a plane in the format's own numbers. Shape (height, width)."""

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by the number of the matrix (H.273, table 4)."""


def bits_of(layout: str) -> int:
    return VideoFrame(16, 16, layout).format.components[0].bits


def frame_of(layout: str, planes: Sequence[Samples]) -> VideoFrame:
    """Return a frame of a planar or semi-planar format with these samples."""
    height, width = planes[0].shape
    frame = VideoFrame(width, height, layout)
    bits = bits_of(layout)
    kind = np.dtype("u1" if bits <= 8 else ">u2" if layout.endswith("be") else "<u2")
    shift = 16 - bits if layout.startswith(("p0", "p2", "p4")) else 0
    for plane, samples in zip(frame.planes, planes, strict=True):
        lines = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        lines.view(kind)[: samples.shape[0], : samples.shape[1]] = samples << shift
        plane.update(lines.tobytes())
    return frame


def plane_shapes(layout: str, height: int, width: int) -> list[tuple[int, int]]:
    """Return rows and samples per row of each plane; both samples of NV12's pairs are counted."""
    planes = VideoFrame(width, height, layout).planes
    return [
        (plane.height, plane.width * (2 if len(planes) == 2 and number else 1))
        for number, plane in enumerate(planes)
    ]


def from_luma(luma: NDArray[Any], bits: int, *, full: bool) -> NDArray[np.float64]:
    """Return luma on the scale of 0 to 1: H.273, equations 20 and 26."""
    scale = 1 << (bits - 8)
    if full:
        return luma / ((1 << bits) - 1)
    return (luma - 16 * scale) / (219 * scale)


def from_chroma(chroma: NDArray[Any], bits: int, *, full: bool) -> NDArray[np.float64]:
    """Return chroma on the scale of -0.5 to 0.5: H.273, equations 21 and 27."""
    scale = 1 << (bits - 8)
    return (chroma - 128 * scale) / ((1 << bits) - 1 if full else 224 * scale)


def rgb_of(
    y: NDArray[np.float64], cb: NDArray[np.float64], cr: NDArray[np.float64], matrix: int
) -> NDArray[np.float64]:
    """Invert luma and colour differences: H.273, equations 38 to 40. Shape (height, width, 3)."""
    kr, kb = WEIGHTS[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], axis=-1)


def quantised(values: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Return the nearest number of a full range of bits, halves up."""
    most = (1 << bits) - 1
    return np.clip(np.floor(values * most + 0.5), 0, most).astype(np.int64)


def tagged(frame: VideoFrame, *, full: bool, matrix: int = 1) -> VideoFrame:
    frame.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    frame.colorspace = matrix
    return frame


def write_frames(
    path: Path,
    frames: Sequence[VideoFrame],
    *,
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    colours: tuple[int, int, int] | None = None,
) -> Path:
    """Encode frames, and return the path.

    Args:
        path: The file to write.
        frames: Frames of one size and format.
        codec: FFmpeg's name of the encoder.
        options: The encoder's options.
        aspect: Width of a pixel divided by its height.
        rotation: Counter-clockwise degrees of the display matrix.
        colours: Numbers of primaries, transfer and matrix.
    """
    first = frames[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        context.thread_count, context.color_range = 1, first.color_range
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        if colours is not None:
            context.color_primaries, context.color_trc, context.colorspace = colours
        for number, frame in enumerate(frames):
            if colours is not None:
                frame.color_primaries, frame.color_trc, frame.colorspace = colours
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
