"""Picture order counts of H.264 and HEVC."""

from __future__ import annotations

from typing import Final

MOST_COUNT_BITS: Final = 16
"""Maximum bits of the low part of a count, and of a frame number (H.264, 7.4.2.1.1)."""


def poc_msb(lsb: int, previous_msb: int, previous_lsb: int, wrap: int) -> int:
    """Return the high part of a picture order count, by its low part and the last count (8.2.1.1).

    >>> poc_msb(2, 0, 14, 16), poc_msb(14, 16, 2, 16), poc_msb(6, 16, 2, 16)
    (16, 0, 16)
    """
    if lsb < previous_lsb and previous_lsb - lsb >= wrap // 2:
        return previous_msb + wrap
    if lsb > previous_lsb and lsb - previous_lsb > wrap // 2:
        return previous_msb - wrap
    return previous_msb
