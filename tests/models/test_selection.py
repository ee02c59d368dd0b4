"""Which clips are worth keeping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError
from frames_pipeline.models.selection import Selection

SHARES = st.floats(0, 1)


def test_every_reason_has_its_number() -> None:
    rules = Selection(max_black_share=0.5, min_sharpness=50, max_motion=0.2)
    decision = rules.decide({"black_share": 0.75, "sharpness": 12.345, "motion": 0.1})
    assert not decision.keep
    assert decision.reasons == ("black_share 0.75 is above 0.5", "sharpness 12.3 is below 50")
    assert decision.score == 2 / 4


@given(SHARES, SHARES, SHARES)
def test_a_bound_is_kept_to_from_either_side(low: float, high: float, value: float) -> None:
    decision = Selection(min_exposure=low, max_exposure=high).decide({"exposure": value})
    assert decision.keep == (low <= value <= high)


def test_what_was_not_measured_speaks_for_nothing() -> None:
    assert Selection(min_sharpness=50).decide({}).keep
    nothing = Selection(max_black_share=None, max_duplicate_share=None)
    assert nothing.decide({"black_share": 1.0}) == (True, 1.0, ())


@pytest.mark.parametrize("bounds", [{"max_black_share": 1.1}, {"min_sharpness": -1}])
def test_bounds_that_nothing_can_meet(bounds: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bounds))):
        Selection(**bounds)
