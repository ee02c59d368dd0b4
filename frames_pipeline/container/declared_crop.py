"""Read the crop that a container declares: MP4's `clap`, Matroska's PixelCrop.

FFmpeg reads the crop since 7.1, and PyAV does not expose it. A crop that is damaged or larger than
the picture is ignored, as FFmpeg does.

Sources: ISO/IEC 14496-12, 12.1.4; RFC 9559, 5.1.4.1.28.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from frames_pipeline.container.byte_reader import ReadBytes
from frames_pipeline.container.elements import (
    DamagedError,
    Part,
    bounded,
    boxes_of_entry,
    elements,
    exactly,
    number,
    sample_entries,
    video_tracks,
)
from frames_pipeline.frames import Crop

_APERTURE: Final = 32
"""Bytes of a `clap` box's contents."""
_WIDTH, _HEIGHT = 0xB0, 0xBA
_CROPS: Final = (0x54BB, 0x54AA, 0x54CC, 0x54DD)
"""Top, bottom, left, right."""


def mp4_crop(read: ReadBytes, *, file_size: int, track: int) -> Crop | None:
    """Return the crop of a track of an MP4 or MOV file; `None` if it declares none.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Id of the track, as in its `tkhd`.
    """
    try:
        return _mp4_crop(bounded(read), file_size, track)
    except DamagedError:
        return None


def matroska_crop(read: ReadBytes, *, file_size: int) -> Crop | None:
    """Return the crop of the first video track of a Matroska or WebM file; `None` if it has none.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
    """
    read = bounded(read)
    try:
        first = next(video_tracks(read, file_size=file_size), None)
        return None if first is None else _pixel_crop(read, first[1])
    except DamagedError:
        return None


def _mp4_crop(read: ReadBytes, file_size: int, track: int) -> Crop | None:
    """Return the last valid aperture of all sample entries, as FFmpeg keeps the last one."""
    found = None
    for entry in sample_entries(read, file_size=file_size, track=track):
        sizes = exactly(read, entry.start + 24, 4)
        width, height = int.from_bytes(sizes[:2], "big"), int.from_bytes(sizes[2:], "big")
        for box in boxes_of_entry(read, entry):
            if box.kind == b"clap":
                data = exactly(read, box.start, _APERTURE)
                found = clean_aperture(data, width=width, height=height) or found
    return found


def clean_aperture(clap: bytes, *, width: int, height: int) -> Crop | None:
    """Return the crop of a `clap` box; `None` if it is empty or does not fit the picture.

    Args:
        clap: The contents of the box: width, height, horizontal and vertical offset of the
            aperture's centre from the picture's, each a numerator and a denominator.
        width: Width of the picture in its sample entry, in pixels.
        height: Height of the picture in its sample entry, in pixels.
    """
    numbers = [int.from_bytes(clap[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    w, h, x, y = zip(numbers[::2], numbers[1::2], strict=True)
    if min(w[0], h[0]) < 0 or min(w[1], h[1], x[1], y[1]) <= 0 or not width or not height:
        return None
    across = _edges(width, Fraction(*w), Fraction(*x))
    down = _edges(height, Fraction(*h), Fraction(*y))
    if across is None or down is None or not any(across + down):
        return None
    return Crop(*down, *across)


def _edges(side: int, aperture: Fraction, offset: Fraction) -> tuple[int, int] | None:
    """Return the pixels before and behind the aperture, along one axis of the picture."""
    centre = Fraction(side - 1, 2) + offset
    before, last = int(centre - (aperture - 1) / 2), int(centre + (aperture - 1) / 2)
    behind = side - 1 - last
    makes_sense = aperture <= side and min(before, behind) >= 0 and before + behind < side
    return (before, behind) if makes_sense else None


def _pixel_crop(read: ReadBytes, video: Part) -> Crop | None:
    declared = {
        part.kind: number(read, part)
        for part in elements(read, video)
        if part.kind in (_WIDTH, _HEIGHT, *_CROPS)
    }
    top, bottom, left, right = (declared.get(edge, 0) for edge in _CROPS)
    fits = left + right < declared.get(_WIDTH, 0) and top + bottom < declared.get(_HEIGHT, 0)
    return Crop(top, bottom, left, right) if fits and any((top, bottom, left, right)) else None
