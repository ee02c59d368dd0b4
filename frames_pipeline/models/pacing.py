"""Rate limiter for an endpoint: requests and tokens per minute, over all threads.

Why no library: `aiolimiter` is for asyncio, and `pyrate-limiter` and `limits` need the cost of a
request before it is sent. The tokens of an answer are known only when it arrives.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0


@dataclass(slots=True)
class Permit:
    """A permitted request."""

    at: float
    """Time of the permit, on the monotonic clock."""
    tokens: int
    """Cost in tokens; until it is known, the highest cost so far."""


class RateLimiter:
    """Limits requests and tokens in a sliding window."""

    def __init__(
        self, requests: int | None = None, tokens: int | None = None, *, window_s: float = MINUTE
    ) -> None:
        """Start with an empty window.

        Args:
            requests: Maximum requests in any `window_s`.
            tokens: Maximum tokens in any `window_s`. A request may start while any are left, so the
                last one may exceed the limit.
            window_s: Length of the window in seconds.
        """
        self._limits = requests, tokens
        self._window = window_s
        self._permits: deque[Permit] = deque()
        self._dearest = 0
        self._held_until = 0.0
        self._lock = threading.Lock()

    def wait(self) -> Permit:
        """Wait until a request may be sent; count it and return its permit."""
        while True:
            with self._lock:
                now = time.monotonic()
                seconds = self._seconds_left(now)
                if seconds <= 0:
                    permit = Permit(now, self._dearest)
                    self._permits.append(permit)
                    return permit
            time.sleep(seconds)

    def settle(self, permit: Permit, tokens: int) -> None:
        """Record the cost of a request."""
        with self._lock:
            permit.tokens = tokens
            self._dearest = max(self._dearest, tokens)

    def hold(self, seconds: float) -> None:
        """Hold all requests for some seconds, as the endpoint asked."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _seconds_left(self, now: float) -> float:
        """Return the seconds until the next request, as far as costs are known."""
        while self._permits and self._permits[0].at <= now - self._window:
            self._permits.popleft()
        requests, tokens = self._limits
        until = self._held_until
        if requests is not None and len(self._permits) >= requests:
            until = max(until, self._permits[-requests].at + self._window)
        if tokens is not None:
            spent = 0
            for permit in reversed(self._permits):
                spent += permit.tokens
                if spent >= tokens:
                    until = max(until, permit.at + self._window)
                    break
        return until - now
