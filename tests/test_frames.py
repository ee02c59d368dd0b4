"""A batch's arrays speak of the same frames, and its digest tells any two batches apart."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError, DecodeReport, FrameBatch, Outcome
from frames_pipeline.clips import exact_seconds, ticks

OUTCOME = Outcome(DecodeReport("pyav"), candidates=9)


def batch(n: int = 3, **changed: Any) -> FrameBatch:
    fields: dict[str, Any] = {
        "frames": np.arange(n * 2 * 4 * 3, dtype=np.uint8).reshape(n, 2, 4, 3),
        "pts": np.arange(n) * 512,
        "time_base": Fraction(1, 12800),
        "positions": np.arange(n),
        "key_frame": np.zeros(n, np.bool_),
        "corrupt": np.zeros(n, np.bool_),
        "outcome": OUTCOME,
    }
    return FrameBatch(**(fields | changed))


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (np.zeros((3, 2, 4, 3), np.float32), r"not float32 \(3, 2, 4, 3\)"),
        (np.zeros((3, 2, 4), np.uint8), r"not uint8 \(3, 2, 4\)"),
        (np.zeros((3, 2, 4, 4), np.uint8), r"not uint8 \(3, 2, 4, 4\)"),
    ],
)
def test_frames_are_rgb(frames: np.ndarray, found: str) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 or uint16 of shape .*, " + found):
        batch(frames=frames)


@pytest.mark.parametrize("name", ["pts", "positions", "key_frame", "corrupt"])
@pytest.mark.parametrize(("wrong", "shape"), [(2, r"\(2,\)"), ((3, 1), r"\(3, 1\)")])
def test_every_array_has_one_entry_per_frame(name: str, wrong: Any, shape: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must have shape \(3,\), .* not {shape}"):
        batch(3, **{name: np.zeros(wrong, np.int64)})


def test_a_batch_may_hold_no_frame() -> None:
    """Every wanted frame of one signature may be missing while another has some."""
    empty = batch(0)
    assert len(empty) == 0
    assert empty.pts_seconds.shape == (0,)
    assert repr(empty) == "FrameBatch(0 frames, 2x4, ok)"


def test_a_batch_shows_its_shape_and_not_its_pixels() -> None:
    damaged = batch(outcome=replace(OUTCOME, corrupt=(1,)))
    assert repr(damaged) == "FrameBatch(3 frames, 2x4, partial)"


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, "ok"), ({"missing": (4,)}, "partial"), ({"corrupt": (0,)}, "partial")],
)
def test_an_outcome_is_ok_if_every_frame_is_there_and_undamaged(
    changed: dict[str, Any], status: str
) -> None:
    assert replace(OUTCOME, **changed).status == status


@given(
    st.integers(-(2**52), 2**52),
    st.sampled_from([Fraction(1, 90_000), Fraction(1, 25), Fraction(1001, 30_000), Fraction(5)]),
)
def test_seconds_are_the_nearest_floats(tick: int, time_base: Fraction) -> None:
    """As long as ticks times the numerator stay below 2^53, which at 90 kHz is 3000 years."""
    tick //= time_base.numerator
    seconds = batch(1, pts=np.array([tick]), time_base=time_base).pts_seconds
    assert seconds.dtype == np.float64
    assert seconds.tolist() == [float(tick * time_base)]


@pytest.mark.parametrize(
    "changed",
    [
        {"pts": np.array([0, 512, 1025])},
        {"positions": np.array([0, 1, 3])},
        {"key_frame": np.array([True, False, False])},
        {"corrupt": np.array([False, False, True])},
        {"time_base": Fraction(1, 25)},
        {"frames": np.arange(1, 73, dtype=np.uint8).reshape(3, 2, 4, 3)},
        {"frames": np.arange(72, dtype=np.uint8).reshape(3, 4, 2, 3)},
    ],
    ids=["pts", "positions", "key_frame", "corrupt", "time_base", "pixels", "shape"],
)
def test_the_digest_covers_every_array(changed: dict[str, Any]) -> None:
    assert batch(**changed).digest() != batch().digest()


def test_the_digest_covers_values_and_neither_layout_nor_the_work_done() -> None:
    turned = np.ascontiguousarray(batch().frames.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    assert not turned.flags.c_contiguous
    dear = replace(OUTCOME, decode=DecodeReport("nvdec", packets_fed=99), detail="dear")
    assert batch(frames=turned, outcome=dear).digest() == batch().digest()


TIME_BASES = [Fraction(1, 90_000), Fraction(1, 12_800), Fraction(1001, 30_000), Fraction(5)]
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30),
    st.fractions(),
    st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.integers(0, 255).map(np.uint8),
)


@given(NUMBERS, st.sampled_from(TIME_BASES))
def test_a_time_becomes_the_first_timestamp_at_or_after_it(
    seconds: Any, time_base: Fraction
) -> None:
    exact = exact_seconds(seconds)
    assert exact == (int(seconds) if isinstance(seconds, np.integer) else Fraction(seconds))
    found = ticks(seconds, time_base)
    if abs(exact / time_base) >= 2**63 - 1:
        assert abs(found) == 2**63 - 1
    elif isinstance(seconds, float):
        assert found - exact / time_base < 1
        assert exact <= found * time_base or float(found * time_base) == seconds
    else:
        assert 0 <= found - exact / time_base < 1


@given(
    st.integers(0, 2**20),
    st.sampled_from(TIME_BASES),
    st.sampled_from([float, np.float64, np.float32, np.longdouble]),
)
def test_seconds_read_off_a_frame_lead_back_to_it(tick: int, base: Fraction, kind: Any) -> None:
    """Holds at each float precision that can tell two frames apart."""
    assert ticks(kind(float(tick * base)), base) == tick


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, Decimal])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_time_that_is_not_finite_is_refused(kind: Any, value: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"start=.* is not a finite number of seconds; to leave that side open, omit",
    ):
        exact_seconds(kind(value), name="start")


@pytest.mark.parametrize(
    "value",
    ["1.5", "", b"1", True, False, np.True_, None, 1j, [1], (1, 2), np.array([1.0]), object(),
     np.timedelta64(1, "s"), math],
)  # fmt: skip
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"end=.* is not a number of seconds; give an int, a fl"):
        exact_seconds(value, name="end")
