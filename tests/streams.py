"""Made-up streams with known references, so that the rows needed for a decode are known.

decode order    I0 P3 b1 b2 I8 b4 b5 P10 b9         b4, b5 lead the second group
output order     0  3  1  2  6  4  5   8  7
refers to        -  0 03 03  -  ·  ·   6  67        and b4, b5 to P3 and I8
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from frames_pipeline.container.index import PacketIndex


@dataclass
class Stream:
    """Coded frames in decode order."""

    codec: str = "h264"
    refs: list[set[int]] = field(default_factory=list)
    """Rows that each frame is predicted from."""
    place: list[float] = field(default_factory=list)
    """Place of each frame in output order; frames without one are never output."""
    hidden: set[int] = field(default_factory=set)
    """Rows that are decoded and not output, as an alt-ref frame of VP9."""
    flagged: set[int] = field(default_factory=set)
    """Entry points known from headers: some of the real ones."""
    droppable: set[int] = field(default_factory=set)
    """Rows known as disposable from headers: some of the real ones."""
    discarded: set[int] = field(default_factory=set)
    """Rows that an edit list hides."""

    def __len__(self) -> int:
        """Return number of rows."""
        return len(self.refs)

    def add(self, place: float, refs: Iterable[int]) -> int:
        """Add a frame; return its row."""
        self.refs.append(set(refs))
        self.place.append(place)
        return len(self.refs) - 1

    def needed_by(self, row: int) -> set[int]:
        """Return the row with all rows that it is predicted from, directly or not."""
        needed, todo = {row}, [row]
        while todo:
            new = self.refs[todo.pop()] - needed
            needed |= new
            todo += new
        return needed

    def order(self) -> list[int]:
        """Return the rank of each row's frame in the output; -1 for a frame without output."""
        ranks = [-1] * len(self)
        visible = [row for row in range(len(self)) if row not in self.hidden]
        for rank, row in enumerate(sorted(visible, key=lambda row: self.place[row])):
            ranks[row] = rank
        return ranks

    def is_entry(self, row: int) -> bool:
        """Return whether all frames from this one on, in both orders, need none before."""
        order = self.order()
        later = [r for r in range(row, len(self)) if order[r] < 0 or order[r] >= order[row]]
        return all(min(self.needed_by(r)) >= row for r in later)

    def is_referred_to(self, row: int) -> bool:
        """Return whether another frame is predicted from it."""
        return any(row in refs for refs in self.refs)

    def index(self, **changed: Any) -> PacketIndex:
        """Return the index of its packets."""
        n, rank = len(self), np.array(self.order(), np.int64)
        rows = np.arange(n)
        shown = (rank >= 0) & ~np.isin(rows, list(self.discarded))
        by_rank = np.argsort(rank, kind="stable")
        fields: dict[str, Any] = {
            "codec": self.codec,
            "width": 64,
            "height": 48,
            "rotation": 0,
            "time_base": Fraction(1, 25),
            "average_rate": Fraction(25),
            "timestamps": "container",
            "pts": rank,
            "order": rank,
            "shown": shown,
            "presentation": by_rank[shown[by_rank]],
            "key": np.isin(rows, list(self.flagged)),
            "entry": np.isin(rows, list(self.flagged)),
            "disposable": np.isin(rows, list(self.droppable)),
            "sets": np.zeros(n, np.bool_),
            "completed": rows,
            "corrupt": np.zeros(n, np.bool_),
            "size": np.full(n, 100),
            "last_duration": 1,
        }
        return PacketIndex(**(fields | changed))


@st.composite
def streams(draw: st.DrawFn, max_groups: int = 5) -> Stream:
    """Draw closed and open groups of pictures, with pyramids, long references, hidden frames."""
    stream = Stream(codec=draw(st.sampled_from(["h264", "hevc"])))
    anchors: list[int] = []
    leading: list[int] = []
    time = 0.0
    for _ in range(draw(st.integers(2, max_groups))):
        lead = draw(st.integers(0, 3)) if anchors else 0
        key = stream.add(time + lead, [])
        if lead:
            leading = _between(
                draw, stream, anchors[-1], key, times=[time + i for i in range(lead)]
            )
        first_anchor = len(anchors)
        anchors.append(key)
        time += lead + 1
        for _ in range(draw(st.integers(1, 3))):
            count = draw(st.integers(0, 3))
            refs = {anchors[-1]}
            if draw(st.booleans()):  # a long reference, within the group or across it
                refs.add(draw(st.sampled_from(anchors[first_anchor:])))
            if draw(st.integers(0, 9)) == 0:
                refs.add(draw(st.sampled_from(anchors)))
            if leading and stream.codec == "h264" and draw(st.integers(0, 9)) == 0:
                refs.add(draw(st.sampled_from(leading)))
            anchor = stream.add(time + count, refs)
            _between(draw, stream, anchors[-1], anchor, times=[time + i for i in range(count)])
            if draw(st.integers(0, 5)) == 0:
                stream.hidden.add(anchor)
            anchors.append(anchor)
            time += count + 1
    rows = range(len(stream))
    chance = draw(st.sampled_from([3, 9]))  # of ten
    stream.flagged = {r for r in rows if stream.is_entry(r) and draw(st.integers(0, 9)) < chance}
    stream.droppable = {
        r for r in rows if not stream.is_referred_to(r) and draw(st.integers(0, 9)) < chance
    }
    stream.discarded = set(draw(st.lists(st.sampled_from(rows), max_size=3)))
    return stream


def _between(
    draw: st.DrawFn, stream: Stream, before: int, after: int, *, times: list[float]
) -> list[int]:
    """Add pictures between two others in output order, some predicted from each other."""
    rows: list[int] = []
    for time in draw(st.permutations(times)):
        also = draw(st.lists(st.sampled_from(rows), max_size=2)) if rows else []
        rows.append(stream.add(time, {before, after, *also}))
    return rows
