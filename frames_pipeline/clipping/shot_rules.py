"""Shots and transitions: from what a detector says of each frame to the spans of clips.

    probability   .0 .0 .0 .9 .0 .0 .0 .0 .2 .6 .7 .5 .1 .0 .0
    transitions            [-)                [-------)           frames that are in no shot
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
from frames_pipeline.signature import as_rate

Seconds = Fraction | int | float | str
MaxLengthMode = Literal["stride", "truncate"]
Flags = NDArray[np.bool_]
Probabilities = NDArray[np.floating]

_WEAK_CUT: Final = 4
_WEAK_DISSOLVE: Final = 2
"""What the threshold is divided by where something else speaks for a cut, or for a dissolve."""
_DISSOLVING: Final = 0.7
_FADING: Final = 0.2
"""How likely a frame has to be inside of a transition to speak for a dissolve; to be in a fade."""

_LENGTHS: Final = ("min_length_s", "max_length_s", "crop_s")


class Transition(NamedTuple):
    """Frames between two shots that belong to neither, by position: [first, stop)."""

    first: int
    """The first of them."""
    stop: int
    """The first frame of the next shot. A cut that takes no frame has `first == stop`."""


def transitions_in(probabilities: ArrayLike, threshold: float) -> list[Transition]:
    """The runs of frames that are a transition with more than some probability.

    >>> transitions_in([0, 0, 0.9, 0, 0.2, 0.6, 0.7], 0.4)
    [Transition(first=2, stop=3), Transition(first=5, stop=7)]
    """
    is_over = np.concatenate(([False], np.asarray(probabilities) > threshold, [False]))
    edges = np.flatnonzero(is_over[1:] != is_over[:-1]).tolist()
    return [Transition(*edge) for edge in zip(edges[::2], edges[1::2], strict=True)]


class Evidence(NamedTuple):
    """What speaks for transitions, of every frame of a video."""

    middle: Probabilities
    """How likely it is the middle one of a transition; a cut's is the last one before it."""
    inside: Probabilities
    """How likely it is any frame of one."""
    is_black: Flags
    """Whether it is black."""
    cuts: Sequence[int]
    """The first frames of what are other shots by their colours."""


def settled_transitions(evidence: Evidence, threshold: float) -> list[Transition]:
    """The transitions of which a network is sure, and those for which something else speaks.

        middle   .0 .0 .2 .0 .0 .0 .1 .3 .1 .0 .0 .0 .5 .1 .0 .1 .6 .0 .0
        inside   .0 .1 .3 .1 .0 .5 .8 .9 .8 .4 .0 .3 .9 .4 .1 .5 .9 .3 .0
        cuts              |
        black                                              *
        found          [--)           [--)           [--------------)
                       cut            dissolve       fade out and in again

    What is above the threshold is a transition. Above a quarter of it, it is a cut if colours
    change there at once, too. Above half of it, it is a dissolve if its frames are inside of a
    transition that leads neither to black nor from it. Two with nothing between them but black, or
    frames inside of a transition, are one: the two halves of a fade.

    Args:
        evidence: What is known of the frames.
        threshold: Probability above which a frame needs nothing else to be in a transition.

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
    """Cuts by their colours that the network, to a frame, does not rule out."""
    return [
        Transition(cut - 1, cut)
        for cut in cuts
        if middle[max(cut - 2, 0) : cut + 1].max() > threshold / _WEAK_CUT
    ]


def _stretch(transition: Transition, fading: Flags) -> slice:
    """A transition with all frames next to it that are black or inside of one."""
    first, stop = transition
    while first > 0 and fading[first - 1]:
        first -= 1
    while stop < len(fading) and fading[stop]:
        stop += 1
    return slice(first, stop)


def shots_between(num_frames: int, transitions: Sequence[Transition]) -> list[tuple[int, int]]:
    """The stretches of frames, [first, stop), that transitions leave; none is empty.

    >>> shots_between(10, [Transition(3, 4), Transition(7, 7)])
    [(0, 3), (4, 7), (7, 10)]
    """
    starts = [0, *(transition.stop for transition in transitions)]
    stops = [*(transition.first for transition in transitions), num_frames]
    return [shot for shot in zip(starts, stops, strict=True) if shot[0] < shot[1]]


@dataclass(frozen=True, slots=True)
class ShotRules:
    """How shots become clips, in the order of NeMo Curator's stage: length, crop, shortest."""

    min_length_s: Seconds = 2
    """Seconds below which a clip is left out, once it is cropped; 0: none is."""
    max_length_s: Seconds = 10
    """Seconds above which a shot is cut; 0: it never is."""
    max_length_mode: MaxLengthMode = "stride"
    """`stride` cuts a longer shot into one clip after the other; `truncate` keeps the first."""
    crop_s: Seconds = 0.5
    """Seconds that are taken off at both ends of every clip."""

    def __post_init__(self) -> None:
        """Take every length exactly as it is written, and refuse what gives no clip ever."""
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
        """The clips of shots, by time.

        Args:
            shots: Half-open stretches [start, stop) in units of `time_base`.
            time_base: Seconds per unit.

        Yields:
            Half-open spans in units of `time_base`, none of them empty.

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
        """Shortest, longest and crop, in seconds."""
        return Fraction(self.min_length_s), Fraction(self.max_length_s), Fraction(self.crop_s)


def _seconds_or_none(name: str, value: Seconds) -> Fraction:
    if value == 0:
        return Fraction(0)
    try:
        return as_rate(value)
    except ConfigError as error:
        message = f"{name}={value!r} must be a number of seconds, or 0 for none"
        raise ConfigError(message) from error
