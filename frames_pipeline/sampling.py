"""Policies: which frames of a clip to take, in exact arithmetic.

A policy is a member of `FrameExtractionPolicy` and a `Policy` in `POLICIES`; signatures, keys,
dry runs, checks and the command line read that record.

A clip's shown frames have increasing integer timestamps t_0 < t_1 < … < t_n-1. A `sequence` at
rate r lays a grid over them, and each target takes the nearest frame, an exact tie the earlier:

    frames    t0        t1   t2             t3
    ----------|---------|----|--------------|------
    targets   +0     +1/r   +2/r    +3/r    +4/r      while target < t_n-1 + 1/(2r)
    taken     t0     t1     t2      t2|t3   t3

The code visits frames instead of targets, which gives the same answer in integers: frame i is
nearest to every target up to the midpoint of t_i and t_i+1, so with the step between targets P/Q in
ticks it takes the targets k <= Q (t_i + t_i+1 - 2 t_0) / 2P that earlier frames did not take.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError, LimitExceededError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
else:
    np = lazy_module("numpy")

Positions: TypeAlias = "NDArray[np.int64]"

Rate = int | float | str | Decimal | Fraction
"""A rate: `2`, `0.5`, `"30000/1001"`, `Fraction(30000, 1001)`."""

DEFAULT_RATE: Final = Fraction(2)
"""Frames per second of a `sequence` without `target_fps`."""

_KEY_FRAMES_PER_SECOND: Final = 0.5
"""Estimate from a clip's length. Encoders place a key frame every 250 frames or less by default."""


class FrameExtractionPolicy(enum.StrEnum):
    """Selection of frames from a clip of n shown frames, counted from 0."""

    first = enum.auto()
    """Frame 0."""
    middle = enum.auto()
    """Frame (n - 1) // 2."""
    last = enum.auto()
    """Frame n - 1."""
    sequence = enum.auto()
    """The frames nearest in time to a regular grid of `target_fps`."""
    uniform = enum.auto()
    """`num_frames` frames spread over the clip: frame floor((2i + 1) * n / 2m) for i < m."""
    keyframes = enum.auto()
    """Every key frame."""


class Parameters(Protocol):
    """The parameters of policies, as a signature has them after its checks."""

    @property
    def policy(self) -> FrameExtractionPolicy | str:
        """The policy."""

    @property
    def rate(self) -> Fraction:
        """Frames per second, of policies with `target_fps`."""

    @property
    def num_frames(self) -> int | None:
        """Number of frames, of policies with `num_frames`."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownFrames:
    """The shown frames of a clip: at least one."""

    ticks: Positions
    """Timestamps in `time_base` units, increasing. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit."""
    key_frame: ArrayLike | None
    """Whether each is a key frame, where that is known. Shape (n,)."""
    max_frames: int | None
    """The most frames to take."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.ticks)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of a signature that only some policies have."""

    name: str
    """Name of the field."""
    check: Callable[[Any], object]
    """Return the normalised value, or raise `ConfigError`; gets `None` for a missing value."""
    spell: Callable[[Any], str]
    """Return the value as the slug of a key spells it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything about a policy."""

    select: Callable[[ShownFrames, Parameters], Positions]
    """Return the positions to take, ascending, repeats included."""
    estimate: Callable[[Fraction, Parameters], int]
    """Return the number of frames of a clip with this many seconds."""
    parameters: tuple[Parameter, ...] = ()
    """Fields of a signature that it has; a signature refuses values of the others."""
    is_estimate_exact: bool = False
    """Whether every clip gives the estimated number of frames."""
    in_nemo_curator: bool = False
    """Whether NeMo Curator has a policy of this name."""


def select_frames(
    signature: Parameters,
    pts: ArrayLike,
    time_base: Fraction,
    *,
    key_frame: ArrayLike | None = None,
    max_frames: int | None = None,
) -> Positions:
    """Return the positions of a signature's frames, ascending, repeats included.

    Args:
        signature: The `FrameExtractionSignature`.
        pts: Timestamps of the clip's shown frames in `time_base` units, increasing. Shape (n,).
        time_base: Seconds per unit.
        key_frame: Whether each shown frame is a key frame; needed for `keyframes`. Shape (n,).
        max_frames: The most frames to take.

    Raises:
        ConfigError: The timestamps do not increase, or `key_frame` is needed and not given.
        LimitExceededError: The signature selects more than `max_frames`.

    >>> from frames_pipeline import FrameExtractionSignature
    >>> select_frames(FrameExtractionSignature(target_fps=2), [0, 10, 20, 30], Fraction(1, 20))
    array([0, 1, 2, 3])
    >>> select_frames(FrameExtractionSignature(policy="middle"), [0, 10, 20, 30], Fraction(1, 20))
    array([1])
    """
    ticks = np.asarray(pts, dtype=np.int64)
    if np.any(ticks[1:] <= ticks[:-1]):
        message = "timestamps must increase; where the container's do not, use frame counts instead"
        raise ConfigError(message)
    if len(ticks) == 0:
        return np.empty(0, np.int64)
    shown = ShownFrames(ticks, Fraction(time_base), key_frame, max_frames)
    taken = policy_of(signature).select(shown, signature)
    _check_count(len(taken), max_frames)
    return taken


def policy_of(signature: Parameters) -> Policy:
    """Return the policy of a signature."""
    return POLICIES[FrameExtractionPolicy(signature.policy)]


def estimated_frames(signature: Parameters, seconds: Fraction) -> int:
    """Return the number of frames that a clip of this length gives, from its length alone."""
    return policy_of(signature).estimate(seconds, signature)


def spread(n: int, count: int) -> Positions:
    """Return index floor((2i + 1) n / 2m) of n for each i < m: the centres of m equal stretches.

    >>> spread(10, 3).tolist(), spread(2, 3).tolist()
    ([1, 5, 8], [0, 1, 1])
    """
    return (2 * np.arange(count, dtype=np.int64) + 1) * n // (2 * max(count, 1))


def as_rate(value: Rate) -> Fraction:
    """Return a positive rate, exactly as written: the float `0.1` is one tenth.

    >>> as_rate("30000/1001"), as_rate(29.97)
    (Fraction(30000, 1001), Fraction(2997, 100))
    """
    try:
        # a float counts by its decimal text rather than its binary value
        rate = Fraction(repr(float(value)) if isinstance(value, float) else str(value))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        message = f"rate {value!r} is not a number; write it as 2, 0.5 or '30000/1001'"
        raise ConfigError(message) from error
    if rate <= 0:
        message = f"rate {value!r} must be above zero; write it as 2, 0.5 or '30000/1001'"
        raise ConfigError(message)
    return rate


def positive_int(name: str, value: object) -> int:
    """Return a whole number above zero."""
    number = operator.index(value) if hasattr(value, "__index__") else 0
    if number < 1 or isinstance(value, bool):
        message = f"{name}={value!r} must be a whole number above zero"
        raise ConfigError(message)
    return number


def _at(position: Callable[[int], int]) -> Policy:
    """Return the policy of one frame, by its position among n."""

    def select(shown: ShownFrames, _: Parameters) -> Positions:
        return np.array([position(len(shown))], np.int64)

    return Policy(select, lambda *_: 1, is_estimate_exact=True, in_nemo_curator=True)


def _uniform(shown: ShownFrames, parameters: Parameters) -> Positions:
    count = parameters.num_frames or 0
    _check_count(count, shown.max_frames)
    return spread(len(shown), count)


def _key_frames(shown: ShownFrames, _: Parameters) -> Positions:
    given = shown.key_frame
    if given is None or len(flags := np.asarray(given, dtype=bool)) != len(shown):
        message = "policy 'keyframes' needs key_frame, one flag per timestamp"
        raise ConfigError(message)
    return np.flatnonzero(flags).astype(np.int64)


def _sequence(shown: ShownFrames, parameters: Parameters) -> Positions:
    """Return the positions nearest to the targets t_0 + k / rate."""
    ticks, per_tick = shown.ticks, parameters.rate * shown.time_base
    step, scale = per_tick.denominator, per_tick.numerator  # P / Q ticks between two targets
    offsets = (
        ticks - ticks[0] if _fits(ticks, scale, step) else ticks.astype(object) - int(ticks[0])
    )
    last = int(offsets[-1])
    targets = -(-(2 * scale * last + step) // (2 * step))  # those below t_n-1 + 1/(2r)
    _check_count(targets, shown.max_frames)
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


TARGET_FPS: Final = Parameter(
    "target_fps",
    check=lambda value: DEFAULT_RATE if value is None else as_rate(value),
    spell=lambda rate: str(rate).replace("/", "-") + "fps",
)
NUM_FRAMES: Final = Parameter(
    "num_frames", check=lambda value: positive_int("num_frames", value), spell=str
)

POLICIES: Final[Mapping[FrameExtractionPolicy, Policy]] = {
    FrameExtractionPolicy.first: _at(lambda n: 0),
    FrameExtractionPolicy.middle: _at(lambda n: (n - 1) // 2),
    FrameExtractionPolicy.last: _at(lambda n: n - 1),
    FrameExtractionPolicy.sequence: Policy(
        _sequence,
        lambda seconds, parameters: max(1, round(seconds * parameters.rate)),
        parameters=(TARGET_FPS,),
        in_nemo_curator=True,
    ),
    FrameExtractionPolicy.uniform: Policy(
        _uniform,
        lambda _, parameters: parameters.num_frames or 0,
        parameters=(NUM_FRAMES,),
        is_estimate_exact=True,
    ),
    FrameExtractionPolicy.keyframes: Policy(
        _key_frames, lambda seconds, _: max(1, round(float(seconds) * _KEY_FRAMES_PER_SECOND))
    ),
}
"""The policies by name."""

PARAMETERS: Final[Mapping[Parameter, tuple[FrameExtractionPolicy, ...]]] = {
    parameter: tuple(name for name, policy in POLICIES.items() if parameter in policy.parameters)
    for parameter in dict.fromkeys(
        parameter for policy in POLICIES.values() for parameter in policy.parameters
    )
}
"""Parameters, in the order in which keys spell them, with the policies that have them."""
