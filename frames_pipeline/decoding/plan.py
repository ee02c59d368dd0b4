"""Which packets to feed so that the wanted frames come out, and no more.

    rows       I0 P4 B2 b1 b3 P8 B6 b5 b7 I9 P13 …
    wanted                    x                         the frame of row 5
    runs       I0 P4 B2       P8                        b1, b3: nobody needs them; then stop

Where headers name the frames that each one is predicted from, only those are fed that a wanted one
is predicted from, at any remove. Elsewhere those are left out that no frame is predicted from.

A run starts at an entry point: the last one from which the wanted frame comes out exact. A frame
that is shown before the entry point that it follows in decode order (an open group of pictures)
needs the one before:

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
"""For each row in [start, stop), the rows that its frame may be predicted from; `None`: unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodePlan:
    """Runs of packets to feed, each from an entry point, in decode order."""

    runs: tuple[Rows, ...]
    """Rows to feed; the decoder is drained and flushed after each run."""
    entries: Rows
    """Row at which decoding must start for each row's frame. Shape (rows,)."""
    reason: str = ""
    """Why everything from the start is fed; empty where packets are chosen."""

    @property
    def is_linear(self) -> bool:
        """Whether everything from the start is fed."""
        return bool(self.reason)

    @property
    def packets(self) -> int:
        """Number of packets to feed."""
        return sum(len(run) for run in self.runs)


def entry_rows(index: PacketIndex) -> Rows:
    """The row at which decoding must start for each row's frame to come out exact. Shape (rows,).

    It is the last entry point at or before the row, in decode order, whose own frame is not shown
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
    """The fewest packets that give the frames of the wanted rows exactly."""
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
    """Every packet from the first to the last that a wanted frame needs.

    An edit is a run of its own, if none of its frames needs packets before it.
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
    """Stretches [start, stop], both included, joined where they touch or overlap.

    Stretches that touch at the start of an edit stay apart: the decoder is flushed between them.

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
    """The rows of a run that something wanted may be predicted from, or that are wanted."""
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
    """Wanted rows, what they are predicted from at any remove, and the row to start at; ascending.

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
