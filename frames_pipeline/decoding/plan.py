"""Plan the fewest packets that give the wanted frames exactly.

    rows       I0 P4 B2 b1 b3 P8 B6 b5 b7 I9 P13 …
    wanted                    x                         the frame of row 5
    runs       I0 P4 B2       P8                        skip b1 and b3; then stop

If headers declare the references of each frame, a plan feeds a wanted frame with its direct and
indirect references. Otherwise it skips only packets that no frame is predicted from.

A run starts at the last entry point from which the wanted frame decodes exactly. A frame that
follows an entry point in decode order but is shown before it (an open group of pictures) needs the
entry point before:

    rows       I0 P4 … I9 b7 b8 P13          b7, b8 are predicted from P4 and I9
    entry of   0  0     9  0  0   9
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.container.index import PacketIndex

Rows = NDArray[np.int64]
References = Callable[[int, int], Sequence[Sequence[int]] | None]
"""Returns the rows that each frame in [start, stop) may be predicted from; `None` if unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodePlan:
    """Runs of packets to feed in decode order, each from an entry point."""

    runs: tuple[Rows, ...]
    """Rows to feed; the decoder is drained and flushed after each run."""
    entries: Rows
    """Row at which decoding must start for each row's frame. Shape (rows,)."""
    reason: str = ""
    """Reason to feed every packet from the start; empty if packets are selected."""

    @property
    def is_linear(self) -> bool:
        """Whether every packet from the start is fed."""
        return bool(self.reason)

    @property
    def packets(self) -> int:
        """Number of packets to feed."""
        return sum(len(run) for run in self.runs)


def entry_rows(index: PacketIndex) -> Rows:
    """Return the row at which decoding must start for each row's frame to be exact. Shape (rows,).

    This is the last entry point at or before the row in decode order with a frame that is not shown
    after the row's.
    """
    rows = np.arange(len(index.order))
    entries = np.union1d([0], np.flatnonzero(index.entry)) if len(rows) else rows
    latest = np.searchsorted(entries, rows, side="right") - 1
    shown = index.order >= 0
    while np.any(late := shown & (latest > 0) & (index.order < index.order[entries[latest]])):
        latest[late] -= 1
    return entries[latest] if len(rows) else rows


def plan_decode(
    index: PacketIndex, wanted: Rows, references: References = lambda start, stop: None
) -> DecodePlan:
    """Return a plan with the fewest packets that give the wanted rows' frames exactly."""
    if np.any(index.corrupt):
        return plan_linear(index, wanted, reason="packets are damaged")
    entries, edits = entry_rows(index), index.edits.tolist()
    starts = entries[wanted].tolist()
    runs = [
        _needed(index, start, stop, wanted, references)
        for start, stop in _merged(starts, index.completed[wanted].tolist(), frozenset(edits))
    ]
    return DecodePlan(tuple(runs), entries)


def plan_linear(index: PacketIndex, wanted: Rows, *, reason: str) -> DecodePlan:
    """Return a plan of every packet from the first to the last that a wanted frame needs.

    An edit gets a separate run if its frames need no packets before it.
    """
    entries = entry_rows(index)
    if not len(wanted):
        return DecodePlan((), entries, reason)
    rows = np.arange(index.completed[wanted].max() + 1)
    needed = np.where(index.shown, entries, len(index.shown))[: len(rows)]
    edits = [edit for edit in index.edits.tolist() if needed[edit:].min(initial=edit) >= edit]
    runs = np.split(rows, [edit for edit in edits if edit < len(rows)])
    return DecodePlan(tuple(runs), entries, reason)


def _merged(
    starts: list[int], stops: list[int], edits: frozenset[int] = frozenset()
) -> list[tuple[int, int]]:
    """Join closed ranges [start, stop] that touch or overlap.

    Ranges that touch at the start of an edit stay separate: the decoder is flushed between them.

    >>> _merged([0, 0, 9, 12], [3, 5, 11, 15])
    [(0, 5), (9, 15)]
    >>> _merged([0, 0, 9, 12], [3, 5, 11, 15], frozenset([12]))
    [(0, 5), (9, 11), (12, 15)]
    """
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(zip(starts, stops, strict=True)):
        if merged and start <= merged[-1][1] + (start not in edits):
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _needed(
    index: PacketIndex, start: int, stop: int, wanted: Rows, references: References
) -> Rows:
    """Return the wanted rows of a run, with the rows that they may be predicted from."""
    rows = np.arange(start, stop + 1)
    if not index.entry[start]:
        return rows  # the stream begins anywhere: when the decoder recovers depends on what it saw
    if (known := references(start, stop + 1)) is not None:
        needed = _closure(known, start, np.intersect1d(rows, wanted).tolist())
        if needed[0] >= start:
            return np.array(needed)
    drop = index.disposable[rows]
    if index.codec_facts.leading_is_unneeded:
        order = index.order[rows]
        drop |= (order >= 0) & (order < index.order[start])
    drop &= ~index.sets[rows]
    drop[0] = False
    return rows[~drop | np.isin(rows, wanted)]


def _closure(references: Sequence[Sequence[int]], start: int, wanted: list[int]) -> list[int]:
    """Return wanted rows, their direct and indirect references, and the start row; ascending.

    >>> _closure([(), (10,), (11,), (10,)], 10, [13])
    [10, 13]
    """
    needed, waiting = {start}, wanted
    while waiting:
        row = waiting.pop()
        if row not in needed:
            needed.add(row)
            waiting += references[row - start] if row >= start else ()
    return sorted(needed)
