"""Values of a clip: a half-open span of one video, in pts. A clip is a span, not a file."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from frames_pipeline.errors import ConfigError, SourceChangedError

Seconds = Fraction | Decimal | int | float | np.integer | np.floating
"""A time."""

_CLOCK: Final = np.iinfo(np.int64)
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
    """Which video: its path relative to the source's root."""
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
        """Make sure that the clip's span is in the units in which its video is read.

        Raises:
            SourceChangedError: It is in other units: the clip is of an earlier version.
        """
        if self.time_base != time_base:
            message = f"{self.clip_id} was cut in units of {self.time_base} s, and the timestamps "
            message += f"of its video are in units of {time_base} s; make the clips again"
            raise SourceChangedError(message)


def video_key(clip_id: str) -> str:
    """Return the video of a clip: the id without the span that `Clip.clip_id` adds, if it has one.

    >>> video_key("trips/day 1.mp4#0-96000"), video_key("mine")
    ('trips/day 1.mp4', 'mine')
    """
    key, separator, span = clip_id.rpartition("#")
    start, _, stop = span.removeprefix("-").partition("-")
    is_span = bool(separator) and start.isdigit() and stop.removeprefix("-").isdigit()
    return key if is_span else clip_id


def check_bounds(start: Seconds | None, end: Seconds | None) -> None:
    """Make sure that a part of a video can be asked for.

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
    """A time as an exact number.

    Raises:
        ConfigError: It is not a finite number. Text and truth values are none.

    >>> exact_seconds(0.5), exact_seconds(Decimal("0.1"))
    (Fraction(1, 2), Fraction(1, 10))
    """
    is_number = isinstance(seconds, Fraction | Decimal | int | float | np.integer | np.floating)
    if not is_number or isinstance(seconds, bool | np.timedelta64):
        message = f"{name}={seconds!r} is not a number of seconds; "
        raise ConfigError(message + "give an int, a float, a Fraction or a Decimal")
    try:
        if isinstance(seconds, np.integer):
            return Fraction(int(seconds))
        return Fraction(*seconds.as_integer_ratio())
    except (ValueError, OverflowError) as error:
        message = f"{name}={seconds!r} is not a finite number of seconds; leave {name} out"
        raise ConfigError(f"{message} where there is no bound") from error


def ticks(seconds: Seconds, time_base: Fraction) -> int:
    """The first timestamp at or after a time; times beyond 64 bits are the ends of the clock.

    A float that is the nearest one to a timestamp means that timestamp, so that seconds which
    were read off a frame lead back to it. So does one of NumPy's, in its own precision.

    Raises:
        ConfigError: The time is not a finite number.

    >>> ticks(0.1, Fraction(1, 30)), ticks(Fraction(1, 10), Fraction(1, 30))
    (3, 3)
    >>> ticks(0.11, Fraction(1, 30))
    4
    """
    exact = exact_seconds(seconds) / time_base
    nearest = round(exact)
    if isinstance(seconds, float | np.floating) and _nearest(nearest * time_base, seconds):
        exact = Fraction(nearest)
    return min(max(math.ceil(exact), int(_CLOCK.min) + 1), int(_CLOCK.max))


def _nearest(exact: Fraction, given: float | np.floating) -> bool:
    """Whether a float is the one of its type that an exact number becomes."""
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
