"""Frame times: choose the believable timestamps of a container, and replace the others.

    container    0  40  80  80  160   -  240  9000  320  360    one repeated, missing, far off
    believed     0  40  80   -  160   -  240     -  320  360
    times        0  40  80 120  160 200  240   280  320  360

A time is believed if it fits the times around it: as many as possible are kept, in increasing
order. If the clock itself jumps, times continue after the jump:

    container    0  40  80 120 |   0  40  80 120  160       a recording that starts over
    times        0  40  80 120 | 160 200 240 280  320

The rule, its limits and the alternatives are in `docs/adr/0013-times.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.frames import Timestamps

NO_PTS: Final = np.iinfo(np.int64).min
"""Value of a missing timestamp."""


Ticks = NDArray[np.int64]

_COST_OF_LEAVING_OUT: Final = 2
_COST_OF_A_JUMP: Final = 7
"""Up to three frames in a row out of order count as outliers; four mean that the clock jumped."""
_LOOK_BACK: Final = 32
"""Frames to look at before and after a time that does not fit, to choose the believed times."""
_LONGEST_GAP: Final = Fraction(10)
"""In seconds, and in frame durations below. A longer gap is a jump, in formats that allow clock
jumps."""
_LONGEST_GAP_IN_FRAMES: Final = 16
_LARGEST: Final = 1 << 61
"""Largest time to calculate with."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """The times of the shown frames of a stream."""

    source: Timestamps
    """Origin of the times."""
    ticks: Ticks
    """Times in `time_base` units, increasing. Shape (n,)."""
    time_base: Fraction
    """Seconds per tick."""
    step: int
    """Typical time from one frame to the next, in ticks."""
    last_is_believed: bool
    """Whether the container's time of the last frame was believed."""
    detail: str = ""
    """Reason for repairing or replacing the container's times; empty for `container`."""


class _Choice(NamedTuple):
    """The believed frames of a stretch."""

    kept: list[int]
    """Their indices, ascending."""
    jumped: list[bool]
    """Whether the clock jumped before each."""


class _Believed(NamedTuple):
    """The believed frames of the whole stream."""

    frames: Ticks
    """Their positions, ascending."""
    clock: Ticks
    """Their times in the container."""
    jumped: NDArray[np.bool_]
    """Whether the clock jumped before each."""


def frame_times(
    pts: Ticks, *, time_base: Fraction, rate: Fraction, clock_may_jump: bool = False
) -> FrameTimes:
    """Return the times of the shown frames, in presentation order.

    Args:
        pts: The container's timestamps, `NO_PTS` where missing. Shape (n,).
        time_base: Seconds per unit of `pts`.
        rate: The stream's average rate, in frames per second.
        clock_may_jump: Whether the format's clock may jump ahead, as in a transport stream.

    >>> def times(*pts):
    ...     found = frame_times(np.array(pts), time_base=Fraction(1, 1000), rate=Fraction(25))
    ...     return found.ticks.tolist()
    >>> times(0, 40, 80, 80, 160, NO_PTS, 240, 9000, 320, 360)
    [0, 40, 80, 120, 160, 200, 240, 280, 320, 360]
    >>> times(0, 40, 80, 120, 0, 40, 80, 120, 160)
    [0, 40, 80, 120, 160, 200, 240, 280, 320]
    """
    usual = max(1, round(1 / (rate * time_base)))
    steps = np.diff(pts)
    longest = longest_gap(steps, time_base) if clock_may_jump else _LARGEST
    if not np.any(pts == NO_PTS) and np.all((steps > 0) & (steps <= longest)):
        return FrameTimes("container", pts, time_base, usual, last_is_believed=True)
    if np.any(np.abs(pts[pts != NO_PTS]) > _LARGEST):
        return counted_times(len(pts), rate, "times exceed the range of a clock")
    exchanged = _exchanged(pts)
    believed = _believed(exchanged, longest)
    if 2 * len(believed.frames) < len(pts):
        return counted_times(len(pts), rate, _fewer_than_half(pts, believed))
    resolved = _resolved(len(pts), believed, usual)
    if resolved is None:
        return counted_times(len(pts), rate, "times leave no room for the missing ones")
    return FrameTimes(
        "repaired",
        resolved.ticks,
        time_base / resolved.finer,
        resolved.step,
        last_is_believed=int(believed.frames[-1]) == len(pts) - 1,
        detail=_fault_summary(pts, exchanged, believed),
    )


def as_decode_times(times: FrameTimes, rate: Fraction) -> FrameTimes:
    """Assign decode times to frames in display order.

    If the times are even, frames are counted instead, which gives the same result.
    """
    detail = "the container gives times of decoding only"
    if times.source == "counted" or len(np.unique(np.diff(times.ticks))) <= 1:
        return counted_times(len(times.ticks), rate, detail)
    detail = f"{detail}; {times.detail}" if times.detail else detail
    return replace(times, source="repaired", detail=detail)


def counted_times(frames: int, rate: Fraction, detail: str) -> FrameTimes:
    """Return frame times at an even rate: a tick is a frame."""
    ticks = np.arange(frames, dtype=np.int64)
    return FrameTimes("counted", ticks, 1 / rate, 1, last_is_believed=False, detail=detail)


def longest_gap(steps: Ticks, time_base: Fraction) -> int:
    """Return the longest time between two frames, in ticks, that is not a jump of the clock.

    Args:
        steps: Times between consecutive frames.
        time_base: Seconds per tick.
    """
    ahead = steps[(steps > 0) & (steps < _LARGEST)]
    median = int(np.median(ahead)) if len(ahead) else 0
    return max(int(_LONGEST_GAP / time_base), _LONGEST_GAP_IN_FRAMES * median)


def _exchanged(pts: Ticks) -> Ticks:
    """Swap the times of two neighbours if each fits in the other's place.

    >>> _exchanged(np.array([0, 80, 40, 120])).tolist()
    [0, 40, 80, 120]
    """
    times = pts.copy()
    for at in np.flatnonzero((pts[1:-2] > pts[2:-1]) & (pts[2:-1] != NO_PTS)).tolist():
        before, first, second, after = times[at : at + 4].tolist()
        if NO_PTS < before < second < first < after:
            times[at + 1], times[at + 2] = second, first
    return times


def _believed(times: Ticks, longest: int) -> _Believed:
    """Choose the frames with believed times, around each time that does not fit."""
    known = np.flatnonzero(times != NO_PTS)
    clock = times[known]
    kept = np.ones(len(known), np.bool_)
    jumped = np.zeros(len(known), np.bool_)
    steps = np.diff(clock)
    odd = np.flatnonzero((steps <= 0) | (steps > longest))
    for start, stop in _stretches(odd, len(known)):
        choice = _choose(
            clock[start:stop].tolist(),
            longest,
            from_first=start > 0,
            to_last=stop < len(known),
        )
        kept[start:stop] = False
        kept[start + np.array(choice.kept)] = True
        jumped[start + np.array(choice.kept)] = choice.jumped
    return _Believed(known[kept], clock[kept], jumped[kept])


def _stretches(odd: Ticks, count: int) -> list[tuple[int, int]]:
    """Return stretches [start, stop) around the times that do not fit.

    >>> _stretches(np.array([50, 60, 200]), 300)
    [(19, 93), (169, 233)]
    """
    stretches: list[tuple[int, int]] = []
    for at in odd.tolist():
        start, stop = max(0, at + 1 - _LOOK_BACK), min(count, at + 1 + _LOOK_BACK)
        if stretches and start <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((start, stop))
    return stretches


def _choose(times: list[int], longest: int, *, from_first: bool, to_last: bool) -> _Choice:
    """Return the cheapest choice of frames; of equal ones, the choice with the earlier frame.

    Args:
        times: Times of frames in a row.
        longest: Longest step that is not a jump.
        from_first: Whether the first time is already believed.
        to_last: Whether the last time is already believed.
    """
    count = len(times)
    cost, came_from, jumped = [0] * count, [-1] * count, [False] * count
    for at, time in enumerate(times):
        cost[at] = _LARGEST if from_first and at else at * _COST_OF_LEAVING_OUT
        for earlier in range(max(0, at - _LOOK_BACK), at):
            is_jump = not 0 < time - times[earlier] <= longest
            total = cost[earlier] + (at - earlier - 1) * _COST_OF_LEAVING_OUT
            total += is_jump * _COST_OF_A_JUMP
            if total < cost[at]:
                cost[at], came_from[at], jumped[at] = total, earlier, is_jump
    last = count - 1
    if not to_last:
        costs = [spent + (last - at) * _COST_OF_LEAVING_OUT for at, spent in enumerate(cost)]
        last = min(range(count), key=lambda at: (costs[at], times[at]))
    kept = []
    while last >= 0:
        kept.append(last)
        last = came_from[last]
    kept.reverse()
    return _Choice(kept, [jumped[at] for at in kept])


class _Resolved(NamedTuple):
    """Times of all frames."""

    ticks: Ticks
    """Increasing."""
    finer: int
    """Number of these ticks in one of the container's."""
    step: int
    """Typical time from one frame to the next."""


def _resolved(count: int, believed: _Believed, usual: int) -> _Resolved | None:
    """Return every frame's time: its own if believed, else evenly between its neighbours'.

    `None` if the times would exceed `_LARGEST`.

    Args:
        count: Number of frames.
        believed: The frames with believed times.
        usual: Typical step, by the average rate.
    """
    frames = believed.frames
    apart, spans = np.diff(frames), np.diff(believed.clock)
    is_step = (apart == 1) & ~believed.jumped[1:]
    step = int(np.median(spans[is_step])) if np.any(is_step) else usual
    spans = np.where(believed.jumped[1:], apart * step, spans)
    finer = int(np.max(-(-apart // spans), initial=1))  # room for a tick to each frame
    start = int(believed.clock[0])
    if finer * (sum(spans.tolist()) + count * step + abs(start)) > _LARGEST:
        return None
    known = finer * (start + np.append(0, np.cumsum(spans)))
    # before the first believed frame and after the last, frames are a step apart
    at, steps, places = np.arange(count), np.append(spans, step) * finer, np.append(apart, 1)
    left = np.maximum(np.searchsorted(frames, at, side="right") - 1, 0)
    is_before = at < frames[0]
    steps = np.where(is_before, step * finer, steps[left])
    places = np.where(is_before, 1, places[left])
    ticks = known[left] + _share(steps, at - frames[left], places)
    return _Resolved(ticks, finer, step * finer)


def _share(span: Ticks, part: Ticks, places: Ticks) -> Ticks:
    """Return span * part // places, in whole ticks, without overflow."""
    whole, rest = np.divmod(span, places)
    shared: Ticks = whole * part + rest * part // places
    return shared


def _fault_summary(pts: Ticks, exchanged: Ticks, believed: _Believed) -> str:
    """Describe the faults of the container's times, in words and numbers."""
    left_out = np.setdiff1d(np.flatnonzero(exchanged != NO_PTS), believed.frames)
    repeated = int(np.count_nonzero(np.isin(exchanged[left_out], believed.clock)))
    counts = {
        "missing": int(np.count_nonzero(pts == NO_PTS)),
        "repeated": repeated,
        "out of order": len(left_out) - repeated,
        "exchanged with a neighbour's": int(np.count_nonzero(pts != exchanged)),
    }
    found = [f"{count} {fault}" for fault, count in counts.items() if count]
    parts = [f"of {len(pts)} times, {', '.join(found)}"] if found else []
    if jumps := int(np.count_nonzero(believed.jumped)):
        parts.append(f"the clock jumps {'once' if jumps == 1 else f'{jumps} times'}")
    return "; ".join(parts)


def _fewer_than_half(pts: Ticks, believed: _Believed) -> str:
    if np.all(pts == NO_PTS):
        return "the container gives no times"
    return f"of {len(pts)} times, {len(believed.frames)} can be used: fewer than half"
