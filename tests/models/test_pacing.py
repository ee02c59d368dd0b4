"""Requests and tokens per minute, with minutes of a fraction of a second."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from frames_pipeline.models.pacing import RateLimiter

WINDOW = 0.15


def busiest(times: list[float]) -> int:
    """The most of these times that lie in any window, which starts at one of them."""
    return max(sum(start <= t < start + WINDOW for t in times) for start in times)


def test_threads_share_the_requests_of_a_minute() -> None:
    pace = RateLimiter(3, window_s=WINDOW)
    with ThreadPoolExecutor(8) as pool:
        permits = list(pool.map(lambda _: pace.wait(), range(12)))
    assert busiest([permit.at for permit in permits]) == 3


def test_what_was_asked_before_the_limit_is_free() -> None:
    pace = RateLimiter(100, 10_000, window_s=60)
    start = time.monotonic()
    for _ in range(100):
        pace.settle(pace.wait(), 99)
    assert time.monotonic() - start < 10


@given(costs=st.lists(st.integers(1, 60), min_size=4, max_size=12))
@settings(max_examples=8)
def test_tokens_go_beyond_by_one_answer_at_most(costs: list[int]) -> None:
    """A request is let through while there is room, so the last one of a minute may cross it."""
    pace = RateLimiter(tokens=100, window_s=WINDOW)
    spent: list[tuple[float, int]] = []
    for cost in costs:
        permit = pace.wait()
        pace.settle(permit, cost)
        spent.append((permit.at, cost))
    for start, _ in spent:
        inside = [cost for at, cost in spent if start <= at < start + WINDOW]
        assert sum(inside[:-1]) < 100


def test_a_request_under_way_counts_as_much_as_the_dearest() -> None:
    """Otherwise many could be sent before the first answer says what they cost."""
    pace = RateLimiter(tokens=100, window_s=WINDOW)
    pace.settle(pace.wait(), 60)
    permits = [pace.wait() for _ in range(3)]
    assert permits[1].at - permits[0].at >= WINDOW * 0.5
    assert busiest([permit.at for permit in permits]) <= 2


def test_everybody_waits_while_it_is_held() -> None:
    pace = RateLimiter()
    start = time.monotonic()
    pace.hold(0.1)
    assert pace.wait().at - start >= 0.1
