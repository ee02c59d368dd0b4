"""Expected repairs of wrong timestamps in corpus files."""

from __future__ import annotations

from collections.abc import Callable

Ticks = list[int]


def between(at: int) -> Callable[[Ticks], Ticks]:
    """Put one timestamp in the middle between its neighbours."""
    return lambda pts: [*pts[:at], (pts[at - 1] + pts[at + 1]) // 2, *pts[at + 1 :]]


def even(pts: Ticks) -> Ticks:
    """Space the timestamps of a transport stream of 25 frames per second evenly."""
    return [pts[0] + 3600 * n for n in range(len(pts))]


def overlapping(pts: Ticks) -> Ticks:
    """Continue with the second recording, which starts two frames before the first one ends."""
    return [*pts[:50], 184_800, 186_000, *pts[52:]]
