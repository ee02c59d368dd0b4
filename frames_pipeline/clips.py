"""Values of a clip: a half-open span of one video, in pts. A clip is a span, not a file."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeGuard

from frames_pipeline.errors import ConfigError, SourceChangedError

if TYPE_CHECKING:
    import numpy as np

Seconds: TypeAlias = "Fraction | Decimal | int | float | np.integer | np.floating"
"""A time."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of clips done, and of all."""

_FIRST: Final = 1 - (1 << 63)
_LAST: Final = (1 << 63) - 1
"""Range of a timestamp."""


class Span(NamedTuple):
    """A half-open stretch of a video, [start, stop), in `time_base` units."""

    start: int | None = None
    """`None`: from the first frame."""
    stop: int | None = None
    """`None`: to the last frame."""

    @classmethod
    def between(cls, start: Seconds | None, end: Seconds | None, time_base: Fraction) -> Span:
        """Return the span between two times; `None` is an end of the video."""
        return cls(
            None if start is None else ticks(start, time_base),
            None if end is None else ticks(end, time_base),
        )


@dataclass(frozen=True, slots=True)
class Clip:
    """A half-open span of one video, [start, stop), in pts."""

    video_key: str
    """Key of the video: its path relative to the source's root."""
    start: int
    """First timestamp inside, in `time_base` units."""
    stop: int
    """First timestamp after, in `time_base` units."""
    time_base: Fraction
    """Seconds per unit."""
    num_frames: int
    """Shown frames inside."""

    @property
    def clip_id(self) -> str:
        """Identity of the clip within its batch."""
        return f"{self.video_key}#{self.start}-{self.stop}"

    @property
    def span(self) -> Span:
        """The clip without its video."""
        return Span(self.start, self.stop)

    @property
    def start_seconds(self) -> float:
        """Start on the video's own clock."""
        return float(self.start * self.time_base)

    @property
    def duration_seconds(self) -> float:
        """Length of the clip."""
        return float((self.stop - self.start) * self.time_base)

    def check_time_base(self, time_base: Fraction) -> None:
        """Check that the clip's span is in the units of its video's timestamps.

        Raises:
            SourceChangedError: The units differ: the clip was cut from an earlier version of the
                video.
        """
        if self.time_base != time_base:
            message = f"clip {self.clip_id} is in units of {self.time_base} s, and the timestamps "
            message += f"of its video are in units of {time_base} s; materialise the clips again"
            raise SourceChangedError(message)


def video_key(clip_id: str) -> str:
    """Return the key of a clip's video: the id without the span that `Clip.clip_id` adds.

    >>> video_key("trips/day 1.mp4#0-96000"), video_key("mine")
    ('trips/day 1.mp4', 'mine')
    """
    key, separator, span = clip_id.rpartition("#")
    start, _, stop = span.removeprefix("-").partition("-")
    is_span = bool(separator) and start.isdigit() and stop.removeprefix("-").isdigit()
    return key if is_span else clip_id


def check_bounds(start: Seconds | None, end: Seconds | None) -> None:
    """Check the bounds of a part of a video.

    Raises:
        ConfigError: A bound is not a finite number, or the part is empty.
    """
    bounds = {"start": start, "end": end}
    exact = {
        name: exact_seconds(value, name=name) for name, value in bounds.items() if value is not None
    }
    if len(exact) == len(bounds) and exact["end"] <= exact["start"]:
        message = f"the part from {start} s to {end} s is empty; end must be after start"
        raise ConfigError(message)


def exact_seconds(seconds: Seconds, *, name: str = "a time") -> Fraction:
    """Return a time as an exact number.

    Raises:
        ConfigError: The value is not a finite number. Text and booleans are refused.

    >>> exact_seconds(0.5), exact_seconds(Decimal("0.1"))
    (Fraction(1, 2), Fraction(1, 10))
    """
    is_number = isinstance(seconds, Real | Decimal) and not isinstance(seconds, bool)
    is_whole = isinstance(seconds, Integral)
    if not is_number or (is_whole and not hasattr(seconds, "__index__")):  # numpy.timedelta64
        message = f"{name}={seconds!r} is not a number of seconds; "
        raise ConfigError(message + "give an int, a float, a Fraction or a Decimal")
    try:
        if is_whole:
            return Fraction(int(seconds))
        return Fraction(*seconds.as_integer_ratio())  # type: ignore[union-attr]
    except (ValueError, OverflowError) as error:
        message = f"{name}={seconds!r} is not a finite number of seconds; to leave that side open,"
        raise ConfigError(f"{message} omit {name}") from error


def ticks(seconds: Seconds, time_base: Fraction) -> int:
    """Return the first timestamp at or after a time, limited to 64 bits.

    A float that is the nearest one to a timestamp means that timestamp, so that seconds read off a
    frame lead back to it. NumPy floats count in their own precision.

    Raises:
        ConfigError: The time is not a finite number.

    >>> ticks(0.1, Fraction(1, 30)), ticks(Fraction(1, 10), Fraction(1, 30))
    (3, 3)
    >>> ticks(0.11, Fraction(1, 30))
    4
    """
    exact = exact_seconds(seconds) / time_base
    nearest = round(exact)
    if _is_float(seconds) and _nearest(nearest * time_base, seconds):
        exact = Fraction(nearest)
    return min(max(math.ceil(exact), _FIRST), _LAST)


def _is_float(seconds: Seconds) -> TypeGuard[float | np.floating]:
    return isinstance(seconds, Real) and not isinstance(seconds, Rational)


def _nearest(exact: Fraction, given: float | np.floating) -> bool:
    """Return whether an exact number converts to this very float, in the float's type."""
    try:
        return bool(type(given)(float(exact)) == given)
    except OverflowError:
        return False


def __getattr__(name: str) -> object:
    """Return a way of clipping that lived here in 0.1."""
    if name in ("WholeVideo", "FixedStride", "Shots"):
        return getattr(importlib.import_module("frames_pipeline.clipping"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
