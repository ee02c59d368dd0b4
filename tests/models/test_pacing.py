"""Requests and tokens per minute, by a clock that moves when a thread sleeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.models import pacing
from frames_pipeline.models.pacing import RateLimiter

WINDOW = 64.0


class Clock:
    """Stands in for the module `time`; whole numbers, so that sums are exact."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@contextmanager
def own_clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patched:
        clock = Clock()
        patched.setattr(pacing, "time", clock)
        yield clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with own_clock() as clock:
        yield clock


def busiest(times: list[float]) -> int:
    """The most of these times that lie in any window, which starts at one of them."""
    return max(sum(start <= t < start + WINDOW for t in times) for start in times)


@pytest.mark.usefixtures("clock")
def test_threads_share_the_requests_of_a_minute() -> None:
    pace = RateLimiter(3, window_s=WINDOW)
    with ThreadPoolExecutor(8) as pool:
        permits = list(pool.map(lambda _: pace.wait(), range(12)))
    assert busiest([permit.at for permit in permits]) == 3


def test_what_was_asked_before_the_limit_is_free(clock: Clock) -> None:
    pace = RateLimiter(100, 10_000, window_s=60)
    start = clock.monotonic()
    for _ in range(100):
        pace.settle(pace.wait(), 99)
    assert clock.monotonic() == start


@given(costs=st.lists(st.integers(1, 60), min_size=4, max_size=12))
def test_tokens_go_beyond_by_one_answer_at_most(costs: list[int]) -> None:
    """A request is let through while there is room, so the last one of a minute may cross it."""
    spent: list[tuple[float, int]] = []
    with own_clock():
        pace = RateLimiter(tokens=100, window_s=WINDOW)
        for cost in costs:
            permit = pace.wait()
            pace.settle(permit, cost)
            spent.append((permit.at, cost))
    for start, _ in spent:
        inside = [cost for at, cost in spent if start <= at < start + WINDOW]
        assert sum(inside[:-1]) < 100


@pytest.mark.usefixtures("clock")
def test_a_request_under_way_counts_as_much_as_the_dearest() -> None:
    """Otherwise many could be sent before the first answer says what they cost."""
    pace = RateLimiter(tokens=100, window_s=WINDOW)
    pace.settle(pace.wait(), 60)
    permits = [pace.wait() for _ in range(3)]
    assert permits[1].at - permits[0].at >= WINDOW * 0.5
    assert busiest([permit.at for permit in permits]) <= 2


def test_everybody_waits_while_it_is_held(clock: Clock) -> None:
    pace = RateLimiter()
    start = clock.monotonic()
    pace.hold(8)
    assert pace.wait().at == start + 8
