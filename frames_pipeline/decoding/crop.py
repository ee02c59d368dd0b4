"""Container crop: the part of a coded picture that the container declares visible.

FFmpeg's tools cut it with the filter `crop`, before rotation. Both size and offset are rounded down
to whole chroma samples.

    coded   0         left                        width-right  width
            |---------|============ shown =========|-----------|
            0         left, rounded down           |           width
            |--------|============ shown ========|-------------|      4:2:0, left and right odd
"""

from __future__ import annotations

from typing import NamedTuple

from frames_pipeline.frames import Crop


class Window(NamedTuple):
    """A part of a picture."""

    top: int
    left: int
    height: int
    width: int


def window(crop: Crop, height: int, width: int, *, rows: int, columns: int) -> Window | None:
    """Return the part of a picture that a crop leaves, or `None` if it leaves nothing.

    Args:
        crop: Pixels to cut off each edge.
        height: Of the coded picture.
        width: Of the coded picture.
        rows: Number of pixel rows that share a chroma sample: 2 in 4:2:0.
        columns: Number of pixel columns that share one.

    >>> window(Crop(45, 45, 80, 80), 180, 320, rows=2, columns=2)
    Window(top=44, left=80, height=90, width=160)
    """
    left_over = (height - crop.top - crop.bottom, width - crop.left - crop.right)
    shown = (left_over[0] // rows * rows, left_over[1] // columns * columns)
    if min(shown) <= 0:
        return None
    return Window(crop.top // rows * rows, crop.left // columns * columns, *shown)
