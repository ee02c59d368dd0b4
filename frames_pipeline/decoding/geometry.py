"""Sizes and places of pixels: the fields of a signature that decide them, scaling, rotation.

Everything here is pure. `convert` applies it to frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.signature import FrameExtractionSignature

Pixels = NDArray[Any]
"""RGB or gray, uint8 or uint16. Shape (height, width, channels)."""


class PixelSpec(NamedTuple):
    """The fields of a signature that affect the pixels of a frame."""

    target_res: tuple[int | None, int | None]
    resize_mode: str
    interpolation: str
    colour: str
    rotation: str
    pixels: str = "swscale"
    crop: str = "coded"
    pixel_aspect: str = "coded"
    samples: str = "rgb8"

    @classmethod
    def of(cls, signature: FrameExtractionSignature) -> PixelSpec:
        """Return the pixel fields of a signature."""
        return cls(
            signature.resolution,
            signature.resize_mode,
            signature.interpolation,
            signature.colour,
            signature.rotation,
            signature.pixels,
            signature.crop,
            signature.pixel_aspect,
            signature.samples,
        )

    @property
    def channels(self) -> int:
        """Number of channels of a pixel."""
        return 3 if self.samples.startswith("rgb") else 1

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Type of a sample."""
        return np.uint16 if self.samples.endswith("16") else np.uint8


class Orientation(NamedTuple):
    """Rotation and mirroring of stored pixels for display: transpose first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise rotation, -90 to 180, as ffprobe reports it, without mirroring."""
        if self.transpose:
            return 90 if self.flip_rows else -90
        return -180 if self.flip_rows and self.flip_columns else 0


UPRIGHT: Final = Orientation()


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Placement of a scaled frame in the output."""

    scaled: Size
    """Size of the shown frame after scaling."""
    output: Size
    """Size of the output."""
    top: int
    """Row of the output at which the scaled frame starts: above 0 pads, below 0 crops."""
    left: int
    """Column of the output at which the scaled frame starts."""


def geometry(spec: PixelSpec, shown: Size, output: Size | None = None) -> Geometry:
    """Return the placement of a shown frame.

    Args:
        spec: Size and resize mode.
        shown: Size of the frame as shown, after rotation.
        output: Output size of earlier frames. A frame that would have another size, because the
            stream changes its size, is stretched to this one.

    >>> spec = PixelSpec((224, 224), "pad", "bicubic", "ffmpeg", "apply")
    >>> geometry(spec, Size(720, 1280))
    Geometry(scaled=Size(height=126, width=224), output=Size(height=224, width=224), top=49, left=0)
    """
    fitted = _fitted(spec, shown)
    if output is None or fitted.output == output:
        return fitted
    return Geometry(output, output, 0, 0)


def _fitted(spec: PixelSpec, shown: Size) -> Geometry:
    height, width = spec.target_res
    if height is None and width is None:
        return Geometry(shown, shown, 0, 0)
    if height is None or width is None:
        scaled = _keeping_aspect(shown, height, width)
        return Geometry(scaled, scaled, 0, 0)
    box = Size(height, width)
    if spec.resize_mode == "stretch":
        return Geometry(box, box, 0, 0)
    by_height = _keeping_aspect(shown, height, None)
    by_width = _keeping_aspect(shown, None, width)
    is_wide = shown.width * height > shown.height * width  # wider than the box
    if spec.resize_mode == "crop":
        scaled = by_height if is_wide else by_width
    else:
        scaled = by_width if is_wide else by_height
    if spec.resize_mode == "fit":
        return Geometry(scaled, scaled, 0, 0)
    top, left = (box.height - scaled.height) // 2, (box.width - scaled.width) // 2
    return Geometry(scaled, box, top, left)


def _keeping_aspect(shown: Size, height: int | None, width: int | None) -> Size:
    """Return a size with one side given. The other is rounded to the nearest pixel, halves up."""
    if height is not None:
        return Size(height, max(1, (2 * shown.width * height + shown.height) // (2 * shown.height)))
    side = cast(int, width)
    return Size(max(1, (2 * shown.height * side + shown.width) // (2 * shown.width)), side)


def squared(stored: Size, aspect: Fraction) -> Size:
    """Return the size in square pixels: only the width changes, to the nearest pixel, halves up.

    Args:
        stored: Size in stored pixels, before rotation.
        aspect: Width of a pixel divided by its height.

    >>> squared(Size(576, 720), Fraction(64, 45))
    Size(height=576, width=1024)
    """
    if aspect == 1:
        return stored
    width = stored.width * aspect
    return Size(stored.height, max(1, math.floor(width + Fraction(1, 2))))


def nearest_orientation(matrix: Sequence[int]) -> Orientation:
    """Return the nearest of the eight orientations to a display matrix.

    The matrix maps a stored point (x, y) to the shown point (a x + c y, b x + d y). As in FFmpeg,
    each column is normalised to length one first, so scale has no effect. With a column of zeros
    the frame is shown upright.

    Args:
        matrix: a, b, u, c, d, v, x, y, w, of which a, b, c and d count.

    >>> nearest_orientation([0, 65536, 0, -65536, 700, 0, 0, 0, 1 << 30]).degrees  # a slight skew
    -90
    """
    a, b, _, c, d = matrix[:5]
    first, second = math.hypot(a, c), math.hypot(b, d)
    if not first or not second:
        return UPRIGHT
    upright, turned = abs(a) / first + abs(d) / second, abs(b) / second + abs(c) / first
    if upright >= turned:
        return Orientation(flip_rows=d < 0, flip_columns=a < 0)
    return Orientation(transpose=True, flip_rows=b < 0, flip_columns=c < 0)


def shown_size(stored: Size, turn: Orientation) -> Size:
    """Return the size of a frame after rotation."""
    return Size(stored.width, stored.height) if turn.transpose else stored


def laid_out(out: Pixels, turn: Orientation) -> Pixels:
    """Return a view of shown pixels in the layout of stored pixels."""
    rows = slice(None, None, -1 if turn.flip_rows else 1)
    columns = slice(None, None, -1 if turn.flip_columns else 1)
    view = out[rows, columns]
    return view.transpose(1, 0, 2) if turn.transpose else view


def overlap(target: Geometry) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slice of the output and the matching slice of the scaled frame."""
    into, part = [], []
    for offset, scaled, output in zip(
        (target.top, target.left), target.scaled, target.output, strict=True
    ):
        length = min(scaled, output)
        into.append(slice(max(offset, 0), max(offset, 0) + length))
        part.append(slice(max(-offset, 0), max(-offset, 0) + length))
    return (into[0], into[1]), (part[0], part[1])
