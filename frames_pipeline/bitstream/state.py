"""Decoder state other than pictures: parameter sets and headers, logged in stream order.

    row        0        1 …  9   10       11 …  20     21 …
    sets       SPS PPS           PPS'           IDR    P
    before                                      SPS PPS PPS'

A decoder that starts at row 20 has not seen rows 0 and 10. Its frames are exact only if it gets
their parameter sets first. The log keeps each unit that changes the state; replaying it puts a
decoder into the state of a linear decode.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from typing import Final, NamedTuple

GIVEN: Final = -2
"""Row of units from the extradata, before the first packet."""
_MOST_UNITS: Final = 256
"""Maximum units to replay before a packet; a packet that needs more is no entry point."""
_MOST_CHANGES: Final = 1024
"""Maximum changes to log of a stream; packets after them are no entry points."""


class _Change(NamedTuple):
    row: int
    key: object
    unit: bytes
    needs: object


class StateLog:
    """Units that change the state of a decoder, in stream order."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self._changes: list[_Change] = []
        self._holds: dict[object, int] = {}
        self._logged_until = sys.maxsize
        """Row of the first change that was not logged."""
        self._latest: tuple[int, tuple[bytes, ...] | None] = (-1, None)
        """The last result, by its number of changes: all entry points between two changes share
        it."""

    def note(self, row: int, key: object, unit: bytes, *, needs: object = None) -> bool:
        """Log a unit, and return whether it changes the state.

        Args:
            row: Row of its packet, or `GIVEN`.
            key: Identity of the unit: a later unit with this key replaces it.
            unit: Its bytes.
            needs: Key of the unit that it depends on, as a picture parameter set depends on its
                sequence parameter set. The same bytes count as a change if that unit changed.
        """
        value = hash((unit, self._holds.get(needs)))
        if self._holds.get(key) == value:
            return False
        self._holds[key] = value
        if len(self._changes) >= _MOST_CHANGES:
            self._logged_until = min(self._logged_until, row)
        else:
            self._changes.append(_Change(row, key, unit, needs))
        return True

    @property
    def varies(self) -> bool:
        """Whether a packet changes the state that the extradata sets."""
        return bool(self._changes) and self._changes[-1].row > GIVEN

    def before(self, row: int) -> tuple[bytes, ...] | None:
        """Return the units to replay before a packet; `None` if there are too many."""
        if row > self._logged_until:
            return None
        stop = bisect_left(self._changes, row, key=lambda change: change.row)
        if self._latest[0] != stop:
            self._latest = (stop, self._in_force(stop))
        return self._latest[1]

    def _in_force(self, stop: int) -> tuple[bytes, ...] | None:
        """Return the units in force after the first `stop` changes."""
        changes = self._changes[:stop]
        last = {change.key: place for place, change in enumerate(changes)}
        places = sorted(last.values())
        if any(last.get(changes[place].needs, -1) > place for place in places):
            places = list(range(stop))  # a unit depends on one that was replaced since
        return None if len(places) > _MOST_UNITS else tuple(changes[n].unit for n in places)
