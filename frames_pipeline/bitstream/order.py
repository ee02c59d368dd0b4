"""Output order: picture order counts of H.264 and HEVC, and the rule of MPEG."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from frames_pipeline.bitstream.flags import BETWEEN

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


def ranks_of_places(places: Iterable[tuple[int, int] | None]) -> list[int] | None:
    """Return the output rank of each packet by its sequence and its count in it, which may repeat.

    `None` if the place of a packet is unknown.

    >>> ranks_of_places([(0, 0), (0, 8), (0, 4), (1, 0)]), ranks_of_places([(0, 0), None])
    ([0, 2, 1, 3], None)
    """
    keys: list[tuple[int, int, int]] = []
    for row, place in enumerate(places):
        if place is None:
            return None
        keys.append((*place, row))
    ranks = [0] * len(keys)
    for rank, (_, _, row) in enumerate(sorted(keys)):
        ranks[row] = rank
    return ranks


def ranks_of_references(flags: Iterable[int]) -> list[int]:
    """Return output ranks of I, P and B pictures: a reference waits until the next one arrives.

    >>> from frames_pipeline.bitstream.flags import SHOWN
    >>> ranks_of_references([SHOWN, SHOWN, BETWEEN, BETWEEN, SHOWN])
    [0, 3, 1, 2, 4]
    """
    ranks: list[int] = []
    waiting: int | None = None
    shown = 0
    for row, flag in enumerate(flags):
        ranks.append(-1)
        if flag & BETWEEN:
            ranks[row], shown = shown, shown + 1
            continue
        if waiting is not None:
            ranks[waiting], shown = shown, shown + 1
        waiting = row
    if waiting is not None:
        ranks[waiting] = shown
    return ranks
