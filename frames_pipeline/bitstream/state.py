"""What a decoder must know before a packet, beside pictures: parameter sets and headers.

    row        0        1 …  9   10       11 …  20     21 …
    sets       SPS PPS           PPS'           IDR    P
    before                                      SPS PPS PPS'

A decoder that starts at row 20 never saw rows 0 and 10. Decoding there is exact only if it is given
their sets first. A log keeps each unit that changes what holds, in stream order; replaying it
leaves a decoder as a linear decode does.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from typing import Final, NamedTuple

GIVEN: Final = -2
"""Stands for the row of what the container gives before the first packet."""
_MOST_UNITS: Final = 256
"""Units that are replayed before a packet; a longer history makes the packet no entry."""
_MOST_CHANGES: Final = 1024
"""Changes that are kept of a stream; behind more, no packet is an entry."""


class DecoderState(NamedTuple):
    """What a decoder is given along with the first packet of a run."""

    data: bytes = b""
    """Bytes that go before the packet's own."""


class _Change(NamedTuple):
    row: int
    key: object
    unit: bytes
    needs: object


class StateLog:
    """Units that change what later packets are decoded with, in stream order."""

    def __init__(self) -> None:
        """Start without any."""
        self._changes: list[_Change] = []
        self._holds: dict[object, int] = {}
        self._told_until = sys.maxsize
        """The row behind which changes are no longer told."""
        self._latest: tuple[int, list[tuple[object, bytes]] | None] = (-1, None)

    def note(self, row: int, key: object, unit: bytes, *, needs: object = None) -> bool:
        """Note a unit, and return whether it changes what holds.

        Args:
            row: The packet that has it, or `GIVEN`.
            key: What it sets: a later unit with this key takes its place.
            unit: Its bytes.
            needs: The key of the unit that it is read with, as a picture parameter set is read
                with its sequence parameter set. Where that changed, the same bytes are news.
        """
        value = hash((unit, self._holds.get(needs)))
        if self._holds.get(key) == value:
            return False
        self._holds[key] = value
        if len(self._changes) >= _MOST_CHANGES:
            self._told_until = min(self._told_until, row)
        else:
            self._changes.append(_Change(row, key, unit, needs))
        return True

    @property
    def varies(self) -> bool:
        """Whether a packet changes what the container gives."""
        return bool(self._changes) and self._changes[-1].row > GIVEN

    def before(self, row: int) -> list[tuple[object, bytes]] | None:
        """Return keys and units to replay before a packet; `None` where they are too many."""
        if row > self._told_until:
            return None
        stop = bisect_left(self._changes, row, key=lambda change: change.row)
        if self._latest[0] != stop:
            self._latest = (stop, self._first(stop))
        return self._latest[1]

    def _first(self, stop: int) -> list[tuple[object, bytes]] | None:
        """Some of the first changes: those that still hold behind them."""
        last = {change.key: place for place, change in enumerate(self._changes[:stop])}
        places = sorted(last.values())
        if any(last.get(self._changes[place].needs, -1) > place for place in places):
            places = list(range(stop))  # what the older units were read with is replaced since
        if len(places) > _MOST_UNITS:
            return None
        return [(self._changes[place].key, self._changes[place].unit) for place in places]
