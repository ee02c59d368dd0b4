"""Frame sampling: the frames that a signature selects, in exact arithmetic.

A clip's shown frames have increasing integer timestamps t_0 < t_1 < … < t_n-1. A `sequence` at
rate r lays a grid over them, and each target takes the nearest frame, an exact tie the earlier:

    frames    t0        t1   t2             t3
    ----------|---------|----|--------------|------
    targets   +0     +1/r   +2/r    +3/r    +4/r      while target < t_n-1 + 1/(2r)
    taken     t0     t1     t2      t2|t3   t3

The targets are counted rather than visited: the number of targets that end at each frame gives the
same answer in integers. Frame i is nearest to every target up to the midpoint of t_i and t_i+1.
With P/Q ticks between two targets, it takes the targets k <= Q (t_i + t_i+1 - 2 t_0) / 2P that
earlier frames left.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frames_pipeline.errors import ConfigError, LimitExceededError
from frames_pipeline.signature import FrameExtractionPolicy, FrameExtractionSignature

Positions = NDArray[np.int64]


def select_frames(
    signature: FrameExtractionSignature,
    pts: ArrayLike,
    time_base: Fraction,
    *,
    key_frame: ArrayLike | None = None,
    max_frames: int | None = None,
) -> Positions:
    """Return the positions that a signature selects, ascending, with repeats.

    Args:
        signature: The selection to make.
        pts: Timestamps of the clip's shown frames in `time_base` units, increasing. Shape (n,).
        time_base: Seconds per unit.
        key_frame: Whether each shown frame is a key frame; required for `keyframes`. Shape (n,).
        max_frames: Upper limit on the number of positions.

    Raises:
        ConfigError: The timestamps do not increase, or the policy needs `key_frame` and it is
            missing.
        LimitExceededError: The signature selects more than `max_frames`.

    >>> select_frames(FrameExtractionSignature(target_fps=2), [0, 10, 20, 30], Fraction(1, 20))
    array([0, 1, 2, 3])
    >>> select_frames(FrameExtractionSignature(policy="middle"), [0, 10, 20, 30], Fraction(1, 20))
    array([1])
    """
    ticks = np.asarray(pts, dtype=np.int64)
    n = len(ticks)
    if np.any(ticks[1:] <= ticks[:-1]):
        message = "timestamps must increase; where the container's do not, use frame counts instead"
        raise ConfigError(message)
    if n == 0:
        return np.empty(0, np.int64)
    match signature.policy:
        case FrameExtractionPolicy.first:
            wanted = np.array([0], np.int64)
        case FrameExtractionPolicy.middle:
            wanted = np.array([(n - 1) // 2], np.int64)
        case FrameExtractionPolicy.last:
            wanted = np.array([n - 1], np.int64)
        case FrameExtractionPolicy.uniform:
            count = signature.num_frames or 0
            _check_count(count, max_frames)
            wanted = spread(n, count)
        case FrameExtractionPolicy.keyframes:
            wanted = _key_frames(n, key_frame)
        case _:
            wanted = _sequence(ticks, signature.rate * Fraction(time_base), max_frames)
    _check_count(len(wanted), max_frames)
    return wanted


def spread(n: int, count: int) -> Positions:
    """Return index floor((2i + 1) n / 2m) for each i < m: the centres of m equal parts of n.

    >>> spread(10, 3).tolist(), spread(2, 3).tolist()
    ([1, 5, 8], [0, 1, 1])
    """
    return (2 * np.arange(count, dtype=np.int64) + 1) * n // (2 * max(count, 1))


def _key_frames(n: int, key_frame: ArrayLike | None) -> Positions:
    if key_frame is None or len(flags := np.asarray(key_frame, dtype=bool)) != n:
        message = "policy 'keyframes' needs key_frame, one flag per timestamp"
        raise ConfigError(message)
    return np.flatnonzero(flags).astype(np.int64)


def _sequence(ticks: Positions, per_tick: Fraction, max_frames: int | None) -> Positions:
    """Return the positions nearest to the targets t_0 + k / per_tick."""
    step, scale = per_tick.denominator, per_tick.numerator  # P / Q ticks between two targets
    offsets = (
        ticks - ticks[0] if _fits(ticks, scale, step) else ticks.astype(object) - int(ticks[0])
    )
    last = int(offsets[-1])
    targets = -(-(2 * scale * last + step) // (2 * step))  # those below t_n-1 + 1/(2r)
    _check_count(targets, max_frames)
    taken = scale * (offsets[:-1] + offsets[1:]) // (2 * step) + 1  # targets up to each midpoint
    upto = np.minimum(np.append(taken, targets), targets).astype(np.int64)
    return np.repeat(np.arange(len(ticks), dtype=np.int64), np.diff(upto, prepend=0))


def _fits(ticks: Positions, scale: int, step: int) -> bool:
    """Return whether the integers of `_sequence` stay below 2^62, so that int64 can hold them."""
    span = int(ticks[-1]) - int(ticks[0])
    return max(2 * scale * span + step, 2 * step) < 2**62


def _check_count(count: int, max_frames: int | None) -> None:
    if max_frames is not None and count > max_frames:
        message = f"one clip would give {count} frames, and the limit is {max_frames}"
        raise LimitExceededError(
            f"{message}; lower the rate, cut shorter clips, or raise the limit"
        )
