"""From probabilities to spans."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError
from frames_pipeline.clipping.shot_rules import (
    Evidence,
    ShotRules,
    Transition,
    settled_transitions,
    shots_between,
    transitions_in,
)

PROBABILITIES = st.lists(st.sampled_from([0.0, 0.4, 0.41, 1.0]), max_size=40)
LENGTHS = st.fractions(min_value=Fraction(1, 4), max_value=5, max_denominator=12)
NO_LENGTH = st.just(Fraction(0))


@given(PROBABILITIES)
def test_shots_are_the_longest_stretches_without_a_transition(told: list[float]) -> None:
    shots = shots_between(len(told), transitions_in(told, 0.4))
    inside = [position for first, stop in shots for position in range(first, stop)]
    assert inside == [position for position, p in enumerate(told) if p <= 0.4]
    for first, stop in shots:
        assert first == 0 or told[first - 1] > 0.4
        assert stop == len(told) or told[stop] > 0.4


def test_cuts_take_no_frame() -> None:
    assert shots_between(5, [Transition(2, 2)]) == [(0, 2), (2, 5)]
    assert shots_between(5, []) == [(0, 5)]
    assert shots_between(2, [Transition(0, 0), Transition(2, 2)]) == [(0, 2)]


CUT_AT_2 = [0.0, 0.2, 0.0, 0.0]
DISSOLVE = [0.0, 0.0, 0.1, 0.3, 0.1, 0.0, 0.0]
FADE = [0.0, 0.0, 0.5, 0.1, 0.0, 0.1, 0.6, 0.0]
"""How likely each frame is the middle of a transition."""


def settle(
    middle: list[float],
    inside: list[float] | None = None,
    *,
    cuts: Sequence[int] = (),
    black: Sequence[int] = (),
) -> list[tuple[int, int]]:
    is_black = np.isin(np.arange(len(middle)), black)
    evidence = Evidence(np.array(middle), np.array(inside or [0.0] * len(middle)), is_black, cuts)
    return [(first, last) for first, last in settled_transitions(evidence, 0.4)]


def test_the_picture_in_the_docstring_is_true() -> None:
    picture = (settled_transitions.__doc__ or "").splitlines()
    rows = {line.split()[0]: line for line in picture if line.startswith("        ")}
    middle, inside = ([float(p) for p in rows[name].split()[1:]] for name in ("middle", "inside"))
    column = rows["middle"].index(".0")
    position = {column + 3 * number: number for number in range(len(middle) + 1)}
    found = settle(
        middle,
        inside,
        cuts=[position[rows["cuts"].index("|")]],
        black=[position[rows["black"].index("*")]],
    )
    marks = [
        [position[place] for place, mark in enumerate(rows["found"]) if mark == bracket]
        for bracket in "[)"
    ]
    assert found == list(zip(*marks, strict=True))


@pytest.mark.parametrize(
    ("cuts", "found"), [([2], [(1, 2)]), ([1], [(0, 1)]), ([3], [(2, 3)]), ([], []), ([0], [])]
)
def test_a_cut_is_where_colours_and_the_network_agree_to_a_frame(
    cuts: list[int], found: list[tuple[int, int]]
) -> None:
    assert settle(CUT_AT_2, cuts=cuts) == found


def test_what_the_network_rules_out_is_no_cut() -> None:
    """A flash, or a quick movement."""
    assert settle([0.05] * 6, cuts=[2, 3]) == []


def test_a_dissolve_is_between_two_pictures() -> None:
    inside = [0.0, 0.3, 0.8, 0.9, 0.8, 0.3, 0.0]
    assert settle(DISSOLVE, inside) == [(3, 4)]
    assert settle(DISSOLVE, [0.6] * 7) == []
    for position in range(7):
        assert settle(DISSOLVE, inside, black=[position]) == []
    assert settle([0, 0, *DISSOLVE], [0, 0, *inside], black=[0, 1]) == [(5, 6)]


@pytest.mark.parametrize("kind", ["black", "inside"])
def test_a_fade_out_and_in_again_is_one_transition(kind: str) -> None:
    assert settle(FADE) == [(2, 3), (6, 7)]
    between, all_but_one = range(3, 6), range(3, 5)
    for positions, found in ((between, [(2, 7)]), (all_but_one, [(2, 3), (6, 7)])):
        if kind == "black":
            assert settle(FADE, black=positions) == found
        else:
            assert settle(FADE, [0.3 * (one in positions) for one in range(8)]) == found


UNITS = st.sampled_from([0.0, 0.1, 0.15, 0.2, 0.25, 0.39, 0.41, 0.75, 1.0])


@given(
    st.lists(st.tuples(UNITS, UNITS, st.booleans(), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([0.2, 0.4, 0.7]),
)
def test_transitions_are_apart_in_order_and_all_that_are_certain(
    frames: list[tuple[float, float, bool, bool]], threshold: float
) -> None:
    middle, inside, is_black, is_cut = zip(*frames, strict=True)
    cuts = [position for position, here in enumerate(is_cut) if here and position]
    evidence = Evidence(np.array(middle), np.array(inside), np.array(is_black), cuts)
    found = settled_transitions(evidence, threshold)
    assert all(0 <= first < stop <= len(frames) for first, stop in found)
    assert all(before.stop <= after.first for before, after in pairwise(found))
    taken = {position for first, stop in found for position in range(first, stop)}
    assert {position for position, p in enumerate(middle) if p > threshold} <= taken
    for position in taken:
        assert (
            middle[position] > threshold / 4
            or inside[position] > 0.2
            or is_black[position]
            or any(abs(position + 1 - cut) <= 1 for cut in cuts)
        )
    if not any(cuts) and max(inside) <= 0.2 and not any(is_black):
        assert found == transitions_in(middle, threshold)


SHOTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 600)), max_size=3).map(
    lambda pairs: [
        (
            sum(a + b for a, b in pairs[:number]) + gap,
            sum(a + b for a, b in pairs[: number + 1]),
        )
        for number, (gap, _) in enumerate(pairs)
    ]
)


@given(
    shots=SHOTS,
    shortest=LENGTHS | NO_LENGTH,
    longest=LENGTHS | NO_LENGTH,
    crop=LENGTHS | NO_LENGTH,
    mode=st.sampled_from(["stride", "truncate"]),
    time_base=st.sampled_from([Fraction(1, 30), Fraction(1, 1000), Fraction(1001, 24000)]),
)
def test_clips_keep_the_rules(
    shots: list[tuple[int, int]],
    shortest: Fraction,
    longest: Fraction,
    crop: Fraction,
    mode: str,
    time_base: Fraction,
) -> None:
    try:
        rules = ShotRules(shortest, longest, mode, crop)  # type: ignore[arg-type]
    except ConfigError:
        assert longest <= 2 * crop or longest - 2 * crop < shortest
        return
    spans = list(rules.spans(shots, time_base))
    assert spans == sorted(spans)
    for (_, stop), (start, _) in pairwise(spans):
        assert stop <= start
    for first, stop in shots:
        mine = [span for span in spans if first <= span[0] < stop]
        duration = (stop - first) * time_base
        parts = [duration]
        if longest and duration > longest:
            whole, rest = divmod(duration, longest)
            parts = [longest] * int(whole) + [rest] * bool(rest)
            parts = parts[:1] if mode == "truncate" else parts
        begins = [sum(parts[:number], Fraction(0)) for number in range(len(parts))]
        for begin, end in mine:
            assert first * time_base + crop <= begin * time_base
            assert (end - 1) * time_base < stop * time_base - crop
        # a frame of the shot is in a clip exactly if its time is inside a part that is kept
        for tick in {first, (first + stop) // 2, stop - 1}:
            at = (tick - first) * time_base
            expected = any(
                begin + crop <= at < begin + part - crop and part - 2 * crop >= shortest
                for begin, part in zip(begins, parts, strict=True)
            )
            assert any(begin <= tick < end for begin, end in mine) == expected


def seconds(rules: ShotRules, *shots: tuple[int, int]) -> list[tuple[float, float]]:
    return [(a / 1000, b / 1000) for a, b in rules.spans(shots, Fraction(1, 1000))]


def test_the_references_defaults() -> None:
    """A shot of 25 s is cut to 10, 10 and 5 s, each is cropped, and what is below 2 s left out."""
    rules = ShotRules()
    assert seconds(rules, (0, 25_000)) == [(0.5, 9.5), (10.5, 19.5), (20.5, 24.5)]
    assert seconds(rules, (1000, 3999), (5000, 8000)) == [(5.5, 7.5)]
    assert seconds(rules, (0, 22_500)) == [(0.5, 9.5), (10.5, 19.5)]


def test_a_long_shot_can_be_truncated_or_kept() -> None:
    assert seconds(ShotRules(max_length_mode="truncate"), (0, 25_000)) == [(0.5, 9.5)]
    assert seconds(ShotRules(max_length_s=0, crop_s=0), (0, 25_000)) == [(0.0, 25.0)]
    assert seconds(ShotRules(0, 0, crop_s=0), (0, 1), (5, 9)) == [(0.0, 0.001), (0.005, 0.009)]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"min_length_s": -1}, "min_length_s=-1 must be a number of seconds, or 0 for none"),
        ({"max_length_s": "x"}, "max_length_s='x' must be a number of seconds, or 0 for none"),
        ({"crop_s": float("nan")}, "crop_s=nan must be a number of seconds, or 0 for none"),
        ({"max_length_mode": "cut"}, "max_length_mode='cut'; choose one of stride, truncate"),
        ({"max_length_s": 1}, "no clip can be long enough: max_length_s=1 less crop_s=1/2"),
        ({"crop_s": 5, "min_length_s": 0}, "no clip can be long enough"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fields: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ShotRules(**fields)  # type: ignore[arg-type]
