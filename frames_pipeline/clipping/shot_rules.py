"""Shots and transitions: from a detector's output per frame to the spans of clips.

    probability   .0 .0 .0 .9 .0 .0 .0 .0 .2 .6 .7 .5 .1 .0 .0
    transitions            [-)                [-------)           frames outside of shots
    shots         [-------)   [--------------)         [-------)
    clips           [---)       [----)[----)             [---)    cut to length, then cropped

Pure: positions and timestamps in, spans out. Times are integers in the video's time base, so that
nothing here assumes a frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.sampling import as_rate

Seconds = Fraction | int | float | str
MaxLengthMode = Literal["stride", "truncate"]
Flags = NDArray[np.bool_]
Probabilities = NDArray[np.floating]

_WEAK_CUT: Final = 4
_WEAK_DISSOLVE: Final = 2
"""Divisors of the threshold for frames with other evidence for a cut, or for a dissolve."""
_DISSOLVING: Final = 0.7
_FADING: Final = 0.2
"""Least probability of a frame inside a transition: as evidence for a dissolve; for a fade."""

_LENGTHS: Final = ("min_length_s", "max_length_s", "crop_s")


class Transition(NamedTuple):
    """Frames between two shots that belong to neither, by position: [first, stop)."""

    first: int
    """First frame of the transition."""
    stop: int
    """First frame of the next shot. A cut between two frames has `first == stop`."""


def transitions_in(probabilities: ArrayLike, threshold: float) -> list[Transition]:
    """Return the runs of frames with a probability above a threshold.

    >>> transitions_in([0, 0, 0.9, 0, 0.2, 0.6, 0.7], 0.4)
    [Transition(first=2, stop=3), Transition(first=5, stop=7)]
    """
    is_over = np.concatenate(([False], np.asarray(probabilities) > threshold, [False]))
    edges = np.flatnonzero(is_over[1:] != is_over[:-1]).tolist()
    return [Transition(*edge) for edge in zip(edges[::2], edges[1::2], strict=True)]


class Evidence(NamedTuple):
    """Evidence for transitions, for every frame of a video."""

    middle: Probabilities
    """Probability of the middle frame of a transition; for a cut, of the last frame before it."""
    inside: Probabilities
    """Probability of any frame of a transition."""
    is_black: Flags
    """Whether the frame is black."""
    cuts: Sequence[int]
    """First frames after an abrupt change of colours."""


def settled_transitions(evidence: Evidence, threshold: float) -> list[Transition]:
    """Return transitions above the threshold, and weaker ones with other evidence.

        middle   .0 .0 .2 .0 .0 .0 .1 .3 .1 .0 .0 .0 .5 .1 .0 .1 .6 .0 .0
        inside   .0 .1 .3 .1 .0 .5 .8 .9 .8 .4 .0 .3 .9 .4 .1 .5 .9 .3 .0
        cuts              |
        black                                              *
        found          [--)           [--)           [--------------)
                       cut            dissolve       fade out and in again

    Frames above the threshold are a transition. Frames above a quarter of it are a cut if colours
    change abruptly there. Frames above half of it are a dissolve if they are inside a transition
    that leads neither to nor from black. Two transitions are one, the two halves of a fade, if all
    frames between them are black or inside a transition.

    Args:
        evidence: Evidence of the frames.
        threshold: Probability above which a frame is in a transition without other evidence.

    >>> nothing = np.zeros(4)
    >>> evidence = Evidence(np.array([0, 0.2, 0, 0.2]), nothing, nothing > 0, cuts=[2])
    >>> settled_transitions(evidence, threshold=0.4)
    [Transition(first=1, stop=2)]
    """
    middle, inside, black, cuts = evidence
    fading = black | (inside > _FADING)
    found: list[Transition] = []
    for one in sorted([*transitions_in(middle, threshold), *_weak_cuts(middle, cuts, threshold)]):
        before = found[-1] if found else None
        if before and fading[before.stop : one.first].all():
            found[-1] = Transition(before.first, max(before.stop, one.stop))
        else:
            found.append(one)
    dissolves = [
        one
        for one in transitions_in(middle, threshold / _WEAK_DISSOLVE)
        if inside[slice(*one)].max() > _DISSOLVING
        and not any(one.first <= other.stop and other.first <= one.stop for other in found)
        and not black[_stretch(one, fading)].any()
    ]
    return sorted(found + dissolves)


def _weak_cuts(middle: Probabilities, cuts: Iterable[int], threshold: float) -> list[Transition]:
    """Return cuts by colour for which the network's probability is high enough, to a frame."""
    return [
        Transition(cut - 1, cut)
        for cut in cuts
        if middle[max(cut - 2, 0) : cut + 1].max() > threshold / _WEAK_CUT
    ]


def _stretch(transition: Transition, fading: Flags) -> slice:
    """Extend a transition by adjacent frames that are black or inside a transition."""
    first, stop = transition
    while first > 0 and fading[first - 1]:
        first -= 1
    while stop < len(fading) and fading[stop]:
        stop += 1
    return slice(first, stop)


def shots_between(num_frames: int, transitions: Sequence[Transition]) -> list[tuple[int, int]]:
    """Return the non-empty ranges [first, stop) of frames between transitions.

    >>> shots_between(10, [Transition(3, 4), Transition(7, 7)])
    [(0, 3), (4, 7), (7, 10)]
    """
    starts = [0, *(transition.stop for transition in transitions)]
    stops = [*(transition.first for transition in transitions), num_frames]
    return [shot for shot in zip(starts, stops, strict=True) if shot[0] < shot[1]]


@dataclass(frozen=True, slots=True)
class ShotRules:
    """Rules from shots to clips, in the order of NeMo Curator's stage: length, crop, shortest."""

    min_length_s: Seconds = 2
    """Seconds below which a cropped clip is left out; 0: none is."""
    max_length_s: Seconds = 10
    """Seconds above which a shot is cut; 0: no limit."""
    max_length_mode: MaxLengthMode = "stride"
    """`stride` cuts a longer shot into adjacent clips; `truncate` keeps only the first."""
    crop_s: Seconds = 0.5
    """Seconds to remove at both ends of every clip."""

    def __post_init__(self) -> None:
        """Convert lengths to exact numbers, and check that some clip is possible."""
        for name in _LENGTHS:
            object.__setattr__(self, name, _seconds_or_none(name, getattr(self, name)))
        if self.max_length_mode not in get_args(MaxLengthMode):
            modes = ", ".join(get_args(MaxLengthMode))
            message = f"max_length_mode={self.max_length_mode!r}; choose one of {modes}"
            raise ConfigError(message)
        shortest, longest, crop = self._exact()
        left = longest - 2 * crop
        if longest and (left <= 0 or left < shortest):
            message = f"no clip can be long enough: max_length_s={longest} less crop_s={crop} at "
            message += f"both ends is below min_length_s={shortest}; raise max_length_s"
            raise ConfigError(message)

    def spans(
        self, shots: Iterable[tuple[int, int]], time_base: Fraction
    ) -> Iterator[tuple[int, int]]:
        """Yield the clips of shots in order of time.

        Args:
            shots: Half-open spans [start, stop) in units of `time_base`.
            time_base: Seconds per unit.

        Yields:
            Non-empty half-open spans in units of `time_base`.

        >>> list(ShotRules().spans([(0, 1200), (1210, 1530)], Fraction(1, 100)))
        [(50, 950), (1260, 1480)]
        """
        shortest, longest, crop = (seconds / time_base for seconds in self._exact())
        for shot in shots:
            for begin, end in self._parts(Fraction(shot[0]), Fraction(shot[1]), longest):
                start, stop = math.ceil(begin + crop), math.ceil(end - crop)
                if end - begin - 2 * crop >= shortest and start < stop:
                    yield start, stop

    def _parts(
        self, start: Fraction, stop: Fraction, longest: Fraction
    ) -> Iterator[tuple[Fraction, Fraction]]:
        if not longest or stop - start <= longest:
            yield start, stop
        elif self.max_length_mode == "truncate":
            yield start, start + longest
        else:
            for number in range(math.ceil((stop - start) / longest)):
                begin = start + number * longest
                yield begin, min(begin + longest, stop)

    def _exact(self) -> tuple[Fraction, Fraction, Fraction]:
        """Return shortest length, longest length and crop, in seconds."""
        return Fraction(self.min_length_s), Fraction(self.max_length_s), Fraction(self.crop_s)


def _seconds_or_none(name: str, value: Seconds) -> Fraction:
    if value == 0:
        return Fraction(0)
    try:
        return as_rate(value)
    except ConfigError as error:
        message = f"{name}={value!r} must be a number of seconds, or 0 for none"
        raise ConfigError(message) from error
