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
class Turn:
    """A request that was let through."""

    at: float
    """When, on the monotonic clock."""
    tokens: int
    """What it cost; until that is known, what the dearest so far did."""


class Pace:
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
        self._turns: deque[Turn] = deque()
        self._dearest = 0
        self._held_until = 0.0
        self._lock = threading.Lock()

    def wait(self) -> Turn:
        """Wait until one more request may be sent, and count it."""
        while True:
            with self._lock:
                now = time.monotonic()
                seconds = self._seconds_left(now)
                if seconds <= 0:
                    turn = Turn(now, self._dearest)
                    self._turns.append(turn)
                    return turn
            time.sleep(seconds)

    def settle(self, turn: Turn, tokens: int) -> None:
        """Say what a request cost."""
        with self._lock:
            turn.tokens = tokens
            self._dearest = max(self._dearest, tokens)

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: the endpoint asked for it."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _seconds_left(self, now: float) -> float:
        """How long until there is room, as far as is known."""
        while self._turns and self._turns[0].at <= now - self._window:
            self._turns.popleft()
        requests, tokens = self._limits
        until = self._held_until
        if requests is not None and len(self._turns) >= requests:
            until = max(until, self._turns[-requests].at + self._window)
        if tokens is not None:
            spent = 0
            for turn in reversed(self._turns):
                spent += turn.tokens
                if spent >= tokens:
                    until = max(until, turn.at + self._window)
                    break
        return until - now
