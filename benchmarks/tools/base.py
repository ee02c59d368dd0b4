"""The interface of tools and their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenarios import Scenario
from frames_pipeline.clips import Span
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.plan import DecodePlan, plan_decode
from frames_pipeline.sampling import select_frames


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Frames of a video, described in every way that some tool needs.

    Made before the clock starts.
    """

    path: Path
    scenario: Scenario
    index: PacketIndex
    positions: NDArray[np.int64]
    """Positions of the wanted frames, without repeats, ascending. Shape (n,)."""
    plan: DecodePlan
    """Plan of the packets to decode."""
    sizes: tuple[tuple[int, int] | None, ...]
    """Distinct sizes (height, width) of the wanted frames; `None`: native."""

    @property
    def size(self) -> tuple[int, int] | None:
        """The only size."""
        (size,) = self.sizes
        return size

    @property
    def times(self) -> list[float]:
        """A time in seconds at which each wanted frame is shown."""
        pts = self.index.shown_pts
        ends = np.append(pts[1:], pts[-1] + self.index.last_duration)
        middles = (pts[self.positions] + ends[self.positions]) / 2
        return [float(time) for time in middles * float(self.index.time_base)]


class Tool(Protocol):
    """A library that returns frames of a video as RGB arrays, with one thread."""

    @property
    def version(self) -> str:
        """Version of the library; raises ImportError if it is missing."""

    def extract(self, request: Request) -> int:
        """Get the frames; return the number of distinct ones."""


def request(path: Path, scenario: Scenario) -> Request:
    """Return the request of a scenario."""
    with open_media(path) as media:
        index = media.index
        selected = [
            start + select_frames(signature, index.shown_pts[start:stop], index.time_base)
            for start, stop in _stretches(index, scenario)
            for signature in scenario.signatures
        ]
        positions = np.unique(np.concatenate(selected))
        rows = np.sort(index.presentation[positions])
        plan = plan_decode(index, rows, media.packets.references)
    sizes: Sequence[tuple[int, int] | None] = [
        None if height is None or width is None else (height, width)
        for height, width in (signature.resolution for signature in scenario.signatures)
    ]
    return Request(path, scenario, index, positions, plan, tuple(dict.fromkeys(sizes)))


def _stretches(index: PacketIndex, scenario: Scenario) -> list[tuple[int, int]]:
    """Return the positions [start, stop) of each clip."""
    stretches = []
    for span in scenario.spans:
        bounds = span or (Fraction(0), Fraction(int(index.shown_pts[-1]) + 1) * index.time_base)
        start, end = (Fraction(seconds) for seconds in bounds)
        shown = index.within(Span.between(start, end, index.time_base))
        stretches.append((shown.start, shown.stop))
    return stretches
