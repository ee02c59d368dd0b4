"""Selection is exact: it equals the definition, written out in fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import (
    ConfigError,
    FrameExtractionPolicy,
    FrameExtractionSignature,
    LimitExceededError,
    select_frames,
)
from frames_pipeline.sampling import PARAMETERS, POLICIES, estimated_frames

timestamps = st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30, unique=True).map(
    sorted
)
close_timestamps = st.lists(st.integers(0, 300), min_size=1, max_size=30, unique=True).map(sorted)
time_bases = st.sampled_from(
    [Fraction(1, d) for d in (1, 25, 600, 1000, 90000)] + [Fraction(1001, 30000)]
)


def by_definition(pts: list[int], rate: Fraction, time_base: Fraction) -> list[int]:
    """Each target takes the nearest frame, an exact tie the earlier one."""
    times = [tick * time_base for tick in pts]
    chosen: list[int] = []
    while (target := times[0] + len(chosen) / rate) < times[-1] + 1 / (2 * rate):
        chosen.append(min(range(len(times)), key=lambda i: (abs(times[i] - target), i)))
    return chosen


@given(close_timestamps, time_bases, st.integers(1, 200))
def test_a_sequence_is_what_its_definition_says(
    pts: list[int], time_base: Fraction, wanted: int
) -> None:
    span = (pts[-1] - pts[0]) * time_base or Fraction(1)
    rate = Fraction(wanted) / span
    signature = FrameExtractionSignature(target_fps=rate)
    assert select_frames(signature, pts, time_base).tolist() == by_definition(pts, rate, time_base)


@given(timestamps, time_bases, st.integers(1, 50))
def test_a_sequence_is_exact_beyond_64_bits(
    pts: list[int], time_base: Fraction, wanted: int
) -> None:
    rate = Fraction(wanted * 2**30 + 1) / (((pts[-1] - pts[0]) or 1) * time_base * 2**30)
    signature = FrameExtractionSignature(target_fps=rate)
    assert select_frames(signature, pts, time_base).tolist() == by_definition(pts, rate, time_base)


def test_an_exact_tie_goes_to_the_earlier_frame() -> None:
    signature = FrameExtractionSignature(target_fps=2)  # targets 0, 12.5, 25, …
    assert select_frames(signature, range(26), Fraction(1, 25)).tolist() == [0, 12, 25]


@pytest.mark.parametrize("rate", ["8", "10", "12", "24", "30", "53", "30000/1001", "1/7"])
def test_no_drift_however_late_the_start(rate: str) -> None:
    signature = FrameExtractionSignature(target_fps=rate)
    start = np.arange(25 * 600, dtype=np.int64)
    late = start * 3600 + 80_000 * 90_000
    np.testing.assert_array_equal(
        select_frames(signature, late, Fraction(1, 90_000)),
        select_frames(signature, start, Fraction(1, 25)),
    )


@given(n=st.integers(1, 200), m=st.integers(1, 60))
def test_uniform_takes_the_centres_of_equal_stretches(n: int, m: int) -> None:
    signature = FrameExtractionSignature(policy="uniform", num_frames=m)
    chosen = select_frames(signature, np.arange(n), Fraction(1, 25)).tolist()
    assert chosen == [(2 * i + 1) * n // (2 * m) for i in range(m)]
    assert all(0 <= position < n for position in chosen)


@given(n=st.integers(1, 100))
def test_points(n: int) -> None:
    def one(policy: str) -> list[int]:
        signature = FrameExtractionSignature(policy=policy)
        return [int(row) for row in select_frames(signature, np.arange(n) * 7, Fraction(1, 90))]

    assert (one("first"), one("middle"), one("last")) == ([0], [(n - 1) // 2], [n - 1])


def test_key_frames_need_flags() -> None:
    keys = FrameExtractionSignature(policy="keyframes")
    flags = [True, False, False, True]
    assert select_frames(keys, range(4), Fraction(1), key_frame=flags).tolist() == [0, 3]
    with pytest.raises(ConfigError, match="needs key_frame, one flag per timestamp"):
        select_frames(keys, range(4), Fraction(1))
    with pytest.raises(ConfigError, match="needs key_frame, one flag per timestamp"):
        select_frames(keys, range(4), Fraction(1), key_frame=[True])


def test_no_candidates_give_no_positions() -> None:
    assert select_frames(FrameExtractionSignature(), [], Fraction(1)).tolist() == []


def test_timestamps_must_increase() -> None:
    with pytest.raises(ConfigError, match="timestamps must increase"):
        select_frames(FrameExtractionSignature(), [0, 1, 1], Fraction(1))


def test_more_than_the_limit_is_refused_before_anything_is_made() -> None:
    with pytest.raises(LimitExceededError, match=r"one clip would give .* the limit is 1000"):
        select_frames(
            FrameExtractionSignature(target_fps=10**15), [0, 10**9], Fraction(1), max_frames=1000
        )
    many = FrameExtractionSignature(policy="uniform", num_frames=10**9)
    with pytest.raises(LimitExceededError, match="would give 1000000000 frames"):
        select_frames(many, [0, 1], Fraction(1), max_frames=1000)


EXAMPLES: dict[str, Any] = {"target_fps": Fraction(3), "num_frames": 5}


@pytest.mark.parametrize("policy", FrameExtractionPolicy)
def test_every_policy_has_a_record_that_holds(policy: FrameExtractionPolicy) -> None:
    """Its fields, the spelling of its key and its estimate fit what it selects."""
    record = POLICIES[policy]
    values = {one.name: EXAMPLES[one.name] for one in record.parameters}
    signature = FrameExtractionSignature(policy, **values)
    spelled = [str(policy), *(one.spell(values[one.name]) for one in record.parameters), "native"]
    assert signature.key.startswith("-".join(spelled) + "-")
    for other in PARAMETERS.keys() - set(record.parameters):
        with pytest.raises(ConfigError, match=f"no effect with policy '{policy}'; leave it out"):
            FrameExtractionSignature(policy, **values, **{other.name: EXAMPLES[other.name]})

    seconds, keys = 4, [number % 50 == 0 for number in range(100)]
    selected = select_frames(signature, range(100), Fraction(1, 25), key_frame=keys)
    assert selected.tolist() == sorted(selected)
    estimate = estimated_frames(signature, Fraction(seconds))
    assert abs(len(selected) - estimate) <= (0 if record.is_estimate_exact else 1)
    if record.is_estimate_exact:
        assert estimated_frames(signature, Fraction(0)) == estimate


def test_policies_name_each_other_where_a_field_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="leave it out, or use policy 'sequence'"):
        FrameExtractionSignature("uniform", num_frames=2, target_fps=1)
    with pytest.raises(ConfigError, match="leave it out, or use policy 'uniform'"):
        FrameExtractionSignature(num_frames=2)
