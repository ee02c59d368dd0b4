"""How fast an endpoint may be asked: requests and tokens in any minute, over all threads.

Of the libraries there are, `aiolimiter` is for asyncio, and `pyrate-limiter` and `limits` want the
weight of a request before it is sent; what an answer costs in tokens is known after it came.
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
    """A request that was let through."""

    at: float
    """When, on the monotonic clock."""
    tokens: int
    """What it cost; until that is known, what the dearest so far did."""


class RateLimiter:
    """Lets requests through one by one, each once there is room for it in the minute before."""

    def __init__(
        self, requests: int | None = None, tokens: int | None = None, *, window_s: float = MINUTE
    ) -> None:
        """Nothing was asked yet.

        Args:
            requests: The most requests in any `window_s`.
            tokens: The most tokens in any `window_s`. A request is let through while there is any
                room, so the last one may go beyond.
            window_s: Seconds.
        """
        self._limits = requests, tokens
        self._window = window_s
        self._permits: deque[Permit] = deque()
        self._dearest = 0
        self._held_until = 0.0
        self._lock = threading.Lock()

    def wait(self) -> Permit:
        """Wait until one more request may be sent, and count it."""
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
        """Say what a request cost."""
        with self._lock:
            permit.tokens = tokens
            self._dearest = max(self._dearest, tokens)

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: the endpoint asked for it."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _seconds_left(self, now: float) -> float:
        """How long until there is room, as far as is known."""
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
