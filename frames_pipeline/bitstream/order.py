"""Picture order counts, which H.264 and HEVC share."""

from __future__ import annotations

from typing import Final

MOST_COUNT_BITS: Final = 16
"""Bits of the low part of a count, and of a frame number, at most (H.264, 7.4.2.1.1)."""


def poc_msb(lsb: int, previous_msb: int, previous_lsb: int, wrap: int) -> int:
    """The high part of a picture order count, from its low part and the one before (8.2.1.1).

    >>> poc_msb(2, 0, 14, 16), poc_msb(14, 16, 2, 16), poc_msb(6, 16, 2, 16)
    (16, 0, 16)
    """
    if lsb < previous_lsb and previous_lsb - lsb >= wrap // 2:
        return previous_msb + wrap
    if lsb > previous_lsb and lsb - previous_lsb > wrap // 2:
        return previous_msb - wrap
    return previous_msb
