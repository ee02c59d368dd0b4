"""Full-range 16-bit RGB and gray, for `samples` other than `rgb8` and for tone mapping.

swscale resamples each plane to 16 bits without a change of range or matrix. The matrix is applied
here: swscale's own 16-bit RGB is off by up to 255 of 65535, and its white is 65283.

    y' = (y - 16 s) / (219 s)      s = 256, samples shifted up to 16 bits; full range: y / max
    r  = y' + 2 (1 - kr) v'        v' = (v - 128 s) / (224 s); full range: (v - 128 s) / max
    b  = y' + 2 (1 - kb) u'
    g  = (y' - kr r - kb b) / (1 - kr - kb)

Results are rounded to the nearest of 0 to 65535. Gray is luma y' on the same scale; of an RGB
source it is BT.709's luma. Within the nominal range each level of the source keeps a value of its
own, which round(y' (white - black) / 65535) + black inverts.

Source of the formulas: ITU-T H.273, 8.3.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from frames_pipeline.container.picture_format import MATRICES
from frames_pipeline.decoding.geometry import Size
from frames_pipeline.decoding.ycbcr import padded_lines
from frames_pipeline.errors import UnsupportedSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Plane = NDArray[np.uint16]
"""Samples of 16 bits over the full range. Shape (height, width)."""

LUMA_WEIGHTS: Final = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601
    6: (0.299, 0.114),
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
"""Weights of red and blue in luma, by FFmpeg's number of the matrix (ITU-T H.273, 8.3)."""
BT709: Final = 1
BT601: Final = 5
"""Matrix of streams that do not name one, as in FFmpeg."""
BT2020: Final = 9
_CONVERTIBLE: Final = frozenset((*LUMA_WEIGHTS, 0, 2))
"""Matrices that FFmpeg converts to RGB. 0 and 2, RGB's and unspecified, count as BT.601's."""

_MAX: Final = 65535
_NO_CHROMA: Final = np.float32(128 << 8)
_POINT: Final = int(Interpolation.POINT)
_YUV444: Final = re.compile(r"yuv[aj]?444p(\d+[lb]e)?")
_GBR: Final = re.compile(r"gbra?p(\d+[lb]e)?")
_GBR_ORDER: Final = (1, 2, 0)
"""Channel of each plane of a planar RGB frame."""
_HIGH_BITS: Final = re.compile(r"p[0-4]1[0-6][lb]e")
"""Formats with samples in the high bits of each word."""
_LUMA_PLANE: Final = re.compile(
    r"yuv[aj]?4[0-4][0-4]p(\d+[lb]e)?|nv\d+|gray(\d+[lb]e)?|" + _HIGH_BITS.pattern
)
"""Formats with luma in a plane of its own."""
_BAND: Final = 1 << 16
"""Samples per step, so that the intermediate values stay in the cache."""


class Scaler(NamedTuple):
    """A cached scaler of swscale, with its flags."""

    reformatter: VideoReformatter
    flags: int


def check_matrix(frame: VideoFrame, matrix: int) -> None:
    """Refuse YCbCr that FFmpeg cannot convert to RGB, such as ICtCp and YCgCo.

    Args:
        frame: The frame.
        matrix: FFmpeg's number of its matrix.

    Raises:
        UnsupportedSourceError: The matrix is such a one, or reserved.
    """
    if matrix in _CONVERTIBLE or _model(frame) != "ycbcr":
        return
    message = (
        f"the matrix {MATRICES.get(matrix, matrix)} cannot be converted to RGB; ask for luma: "
    )
    raise UnsupportedSourceError(message + "samples='gray8' or 'gray16' with colour='accurate'")


def rgb16(frame: VideoFrame, size: Size, scaler: Scaler, *, matrix: int) -> tuple[Plane, ...]:
    """Return a frame as planes of red, green and blue.

    Args:
        frame: The frame, in main memory.
        size: Size of the planes.
        scaler: Scaler for this size, which other frames of the stream share.
        matrix: FFmpeg's number of the matrix of a YCbCr frame; see `check_matrix`.
    """
    match _model(frame):
        case "rgb":
            return _rgb_planes(frame, size, scaler)
        case "gray":
            return (gray16(frame, size, scaler),) * 3
        case "ycbcr":
            planes = _ycbcr_planes(frame, size, scaler)
            return _through_matrix(planes, _Levels.of(frame), LUMA_WEIGHTS.get(matrix))


def gray16(frame: VideoFrame, size: Size, scaler: Scaler) -> Plane:
    """Return the luma of a frame. Gray formats are full range, as in FFmpeg.

    Arguments are those of `rgb16`.
    """
    if _model(frame) == "rgb":
        return luma_of(_rgb_planes(frame, size, scaler))
    return _table(_Levels.of(frame))[_luma(frame, size, scaler)]


def luma_of(planes: Sequence[Plane]) -> Plane:
    """Return BT.709's luma of planes of red, green and blue."""
    red, green, blue = planes
    luma = np.empty_like(red)
    for band in _bands(luma):
        part = red[band] * np.uint32(2126) + green[band] * np.uint32(7152)
        luma[band] = (part + blue[band] * np.uint32(722) + 5000) // 10000
    return luma


class _Levels(NamedTuple):
    """The scale of a frame's samples, shifted up to 16 bits."""

    black: int
    """Sample of black."""
    luma: int
    """Difference between the samples of white and black."""
    chroma: int
    """Difference between the largest and the smallest nominal chroma sample."""

    @classmethod
    def of(cls, frame: VideoFrame) -> _Levels:
        is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        if not is_full and _model(frame) == "ycbcr":
            return cls(16 << 8, 219 << 8, 224 << 8)
        bits = min(16, frame.format.components[0].bits)
        most = ((1 << bits) - 1) << (16 - bits)
        return cls(0, most, most)


def _model(frame: VideoFrame) -> Literal["rgb", "gray", "ycbcr"]:
    samples = frame.format
    if samples.is_rgb or samples.has_palette or samples.name.startswith("xyz"):
        return "rgb"
    return "gray" if samples.name.startswith(("gray", "ya", "mono")) else "ycbcr"


def _through_matrix(
    planes: Sequence[Plane], levels: _Levels, weights: tuple[float, float] | None
) -> tuple[Plane, ...]:
    """Return red, green and blue of luma and chroma planes."""
    kr, kb = weights or LUMA_WEIGHTS[BT601]
    luma, blue, red = planes
    out = tuple(np.empty_like(luma) for _ in range(3))
    for band in _bands(luma):
        y = (luma[band] - np.float32(levels.black)) * np.float32(_MAX / levels.luma)
        u = (blue[band] - _NO_CHROMA) * np.float32(_MAX / levels.chroma)
        v = (red[band] - _NO_CHROMA) * np.float32(_MAX / levels.chroma)
        green = y - np.float32(2 * (1 - kr) * kr / (1 - kr - kb)) * v
        green -= np.float32(2 * (1 - kb) * kb / (1 - kr - kb)) * u
        rgb = (y + np.float32(2 * (1 - kr)) * v, green, y + np.float32(2 * (1 - kb)) * u)
        for plane, values in zip(out, rgb, strict=True):
            plane[band] = np.clip(np.rint(values), 0, _MAX)
    return out


def _bands(plane: Plane) -> Iterator[slice]:
    rows = max(1, _BAND // max(1, plane.shape[1]))
    for start in range(0, len(plane), rows):
        yield slice(start, start + rows)


def _ycbcr_planes(frame: VideoFrame, size: Size, scaler: Scaler) -> list[Plane]:
    """Return luma and both chroma planes in one size, shifted up to 16 bits."""
    if _YUV444.fullmatch(frame.format.name) and size == (frame.height, frame.width):
        return [_shifted(frame, plane) for plane in range(3)]  # swscale would repeat bits
    scaled = _in_444(frame, size, scaler)
    return [_shifted(scaled, plane) for plane in range(3)]


def _in_444(frame: VideoFrame, size: Size, scaler: Scaler) -> VideoFrame:
    """Let swscale resample each plane to a size, with samples shifted up to 16 bits."""
    is_full = _Levels.of(frame).black == 0
    levels = ColorRange.JPEG if is_full else ColorRange.MPEG
    return scaler.reformatter.reformat(
        frame,
        size.width,
        size.height,
        "yuv444p16le",
        src_color_range=levels,
        dst_color_range=levels,
        interpolation=scaler.flags,
        threads=1,
    )


def _luma(frame: VideoFrame, size: Size, scaler: Scaler) -> Plane:
    """Return luma in a size, shifted up to 16 bits.

    swscale scales the fields of an interlaced frame apart, so it gets the whole frame.
    """
    is_resized = size != (frame.height, frame.width)
    if is_resized and frame.interlaced_frame and _model(frame) == "ycbcr":
        return _shifted(_in_444(frame, size, scaler), 0)
    return _resized(_shifted(_with_luma_plane(frame), 0), size, scaler)


def _with_luma_plane(frame: VideoFrame) -> VideoFrame:
    """Return the frame, or one with the same luma in a plane of its own."""
    name = frame.format.name
    if _LUMA_PLANE.fullmatch(name):
        return frame
    if _model(frame) == "gray":
        is_deep = frame.format.components[0].bits > 8
        return frame.reformat(format="gray16le" if is_deep else "gray", threads=1)
    return _in_444(frame, Size(frame.height, frame.width), Scaler(VideoReformatter(), _POINT))


def _rgb_planes(frame: VideoFrame, size: Size, scaler: Scaler) -> tuple[Plane, ...]:
    """Return red, green and blue of an RGB frame, over the full range."""
    red, green, blue = (_resized(plane, size, scaler) for plane in _stored_rgb(frame))
    return red, green, blue


def _stored_rgb(frame: VideoFrame) -> Iterator[Plane]:
    """Yield red, green and blue in the frame's own size, over the full range.

    Formats of up to 8 bits that are not planar go by way of `rgb24`, as in `samples="rgb8"`.
    """
    is_planar = _GBR.fullmatch(frame.format.name) is not None
    if not is_planar and max(part.bits for part in frame.format.components) <= 8:
        packed = frame.reformat(format="rgb24", threads=1)
        pixels = padded_lines(packed, 0)[: frame.height, : 3 * frame.width]
        yield from (pixels[:, channel::3] * np.uint16(_MAX // 255) for channel in range(3))
        return
    if not is_planar:
        frame = frame.reformat(format="gbrp16le", threads=1)
    table = _table(_Levels.of(frame))
    for channel in range(3):
        yield table[_shifted(frame, _GBR_ORDER.index(channel))]


def _resized(plane: Plane, size: Size, scaler: Scaler) -> Plane:
    if plane.shape == tuple(size):
        return plane
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(plane), format="gray16le")
    scaled = scaler.reformatter.reformat(
        frame, size.width, size.height, "gray16le", interpolation=scaler.flags, threads=1
    )
    return _shifted(scaled, 0)


@lru_cache
def _table(levels: _Levels) -> Plane:
    """Return the full-range value of each sample, shifted up to 16 bits. Shape (65536,)."""
    samples = np.arange(_MAX + 1, dtype=np.int64)
    values = (2 * (samples - levels.black) * _MAX + levels.luma) // (2 * levels.luma)
    table = np.clip(values, 0, _MAX).astype(np.uint16)
    table.setflags(write=False)
    return table


def _shifted(frame: VideoFrame, number: int) -> Plane:
    """Return the samples of a plane without line padding, shifted up to 16 bits."""
    plane, samples, name = frame.planes[number], padded_lines(frame, number), frame.format.name
    bits = frame.format.components[0].bits
    if bits > 8:
        samples = samples.view(">u2" if name.endswith("be") else "<u2")
    shift = np.uint16(0 if _HIGH_BITS.fullmatch(name) else 16 - bits)
    return np.left_shift(samples[: plane.height, : plane.width], shift, dtype=np.uint16)
