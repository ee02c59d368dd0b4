"""8-bit planar YCbCr to RGB in the same size: the integer formula of `colour="ffmpeg"`.

swscale has a shortcut for these layouts, and its results differ between CPUs. x86 with SSSE3, which
every x86 has since 2011, rounds as below. Plain C is off by up to 2 levels and leaves the last
column of an odd width unwritten. The SSSE3 result is the definition. On CPUs where swscale gives
another result, NumPy computes the formula.

    y' = ((8 y - offset) * luma)   >> 16        offset: 8 * 16, or 0 for full range
    r  = y' + ((8 v - 1024) * red) >> 16        each product is rounded down by itself
    b  = y' + ((8 u - 1024) * blue) >> 16       chroma is repeated, as it is stored
    g  = y' + ((8 u - 1024) * green_u) >> 16 + ((8 v - 1024) * green_v) >> 16
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.reformatter import Interpolation as Sws
from numpy.typing import NDArray

SHORTCUT: Final = int(Sws.BICUBIC)
"""swscale's flags under which it takes its shortcut."""

_ROWS_PER_CHROMA: Final = {
    "yuv420p": 2,
    "yuvj420p": 2,
    "yuva420p": 2,
    "yuv422p": 1,
    "yuvj422p": 1,
}  # fmt: skip
"""Pixel formats with a shortcut in swscale, and the number of rows per row of chroma."""
_WEIGHTS: Final = {
    1: (117489, 138438, 13975, 34925),  # BT.709
    4: (104448, 132798, 24759, 53109),  # FCC
    7: (117579, 136230, 16907, 35559),  # SMPTE 240M
    9: (110013, 140363, 12277, 42626),  # BT.2020
    10: (110013, 140363, 12277, 42626),
}
"""Weights in 1/65536 of v in red, u in blue, u in green and v in green, by FFmpeg's colour space
(`ff_yuv2rgb_coeffs` of swscale)."""
_BT601: Final = (104597, 132201, 25675, 53279)
_PROBE: Final = (4, 31)
"""Height and width of the picture that tests swscale's formula; odd, to test the last column."""


class _Tables(NamedTuple):
    """Contribution of each sample value to a pixel. Each of shape (256,)."""

    luma: NDArray[np.int16]
    red: NDArray[np.int16]
    blue: NDArray[np.int16]
    green_u: NDArray[np.int16]
    green_v: NDArray[np.int16]


def correct(frame: VideoFrame, out: NDArray[np.uint8]) -> None:
    """Correct pixels from swscale's shortcut, so that they are equal on every CPU.

    Args:
        frame: The source frame of the pixels.
        out: The pixels. Shape (height, width, 3).
    """
    layout = frame.format.name
    if layout in _ROWS_PER_CHROMA and not _agrees(layout):
        apply_formula(frame, out)


def apply_formula(frame: VideoFrame, out: NDArray[np.uint8]) -> None:
    """Compute the pixels of swscale's shortcut.

    The shortcut is for pictures of even height; swscale treats each field of an interlaced frame as
    a picture.
    """
    layout = frame.format.name
    is_full = frame.color_range == ColorRange.JPEG or layout.startswith("yuvj")
    table = _tables(int(frame.colorspace), is_full=is_full)
    planes = [_samples(frame, number) for number in range(3)]
    fields = 2 if frame.interlaced_frame else 1
    for field in range(fields):
        y, u, v = (plane[field::fields] for plane in planes)
        if len(y) % 2 == 0:
            rows_per_chroma = _ROWS_PER_CHROMA[layout]
            _convert(table, y, u, v, rows_per_chroma=rows_per_chroma, out=out[field::fields])


def _convert(
    table: _Tables,
    y: NDArray[np.uint8],
    u: NDArray[np.uint8],
    v: NDArray[np.uint8],
    *,
    rows_per_chroma: int,
    out: NDArray[np.uint8],
) -> None:
    luma = table.luma[y]
    height, width = luma.shape
    chroma = (table.red[v], table.green_u[u] + table.green_v[v], table.blue[u])
    for channel, part in enumerate(chroma):
        whole = part.repeat(rows_per_chroma, axis=0).repeat(2, axis=1)
        out[..., channel] = np.clip(luma + whole[:height, :width], 0, 255)


@functools.cache
def _agrees(layout: str) -> bool:
    """Return whether swscale follows the formula for a pixel format on this CPU."""
    height, width = _PROBE
    frame = VideoFrame(width, height, layout)
    random = np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    shortcut = VideoReformatter().reformat(frame, format="rgb24", interpolation=SHORTCUT, threads=1)
    lines = padded_lines(shortcut, 0)[:height, : width * 3]
    expected = np.empty((height, width, 3), np.uint8)
    apply_formula(frame, expected)
    return bool(np.array_equal(lines.reshape(expected.shape), expected))


@functools.cache
def _tables(colour_space: int, *, is_full: bool) -> _Tables:
    red, blue, green_u, green_v = _WEIGHTS.get(colour_space, _BT601)
    luma, offset = (1 << 16, 0) if is_full else ((255 << 16) // 219, 16 << 3)
    if is_full:
        red, blue, green_u, green_v = (x * 224 // 255 for x in (red, blue, green_u, green_v))
    steps = np.arange(256, dtype=np.int64) << 3
    return _Tables(
        _scaled(steps - offset, luma),
        *(_scaled(steps - 1024, weight) for weight in (red, blue, -green_u, -green_v)),
    )


def _scaled(steps: NDArray[np.int64], weight: int) -> NDArray[np.int16]:
    """Return samples times a weight, with the weight rounded to 1/8192."""
    return (steps * (weight + 4 >> 3) >> 16).astype(np.int16)


def _samples(frame: VideoFrame, plane: int) -> NDArray[np.uint8]:
    """Return the samples of a plane without line padding."""
    return padded_lines(frame, plane)[: frame.planes[plane].height, : frame.planes[plane].width]


def padded_lines(frame: VideoFrame, number: int) -> NDArray[np.uint8]:
    """Return the bytes of a plane, with line padding. Shape (lines, bytes per line)."""
    plane = frame.planes[number]
    return np.frombuffer(cast(bytes, plane), np.uint8).reshape(-1, plane.line_size)
