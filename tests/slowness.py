"""How much slower this processor is, here and now, than the one that limits were written on."""

from __future__ import annotations

import time
from typing import Final

_ROUNDS: Final = 200_000
_THEN: Final = 0.012
"""Processor seconds of the rounds below on that machine."""


def slowness() -> float:
    """Return a factor for limits of processor seconds; at least 1.

    Processes beside this one change it: they share caches, and often the units of a core.
    """
    since = time.process_time()
    total = 0
    for number in range(_ROUNDS):
        total ^= number * number
    assert total
    return max(1.0, (time.process_time() - since) / _THEN)
