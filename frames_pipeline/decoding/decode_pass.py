"""One pass of a decoder over a plan: frames by row, and what damage may have touched them.

A decoder conceals what it cannot decode, and predicts the next frames from that. So whatever goes
wrong at a row is held against every frame between whose entry point and itself it stands:

    rows       I0  P4  b1  b2  P8  b5  b6  I9  P13
    damage         x
    suspect        x   x   x   x   x   x               P4, and all that may be predicted from it

Wrong is: an error for a packet, a frame that the decoder calls corrupt, bytes that are known to be
lost or changed, a frame that was due and did not come, and a packet that is not there at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import Decoded, Decoder, Tally
from frames_pipeline.decoding.plan import DecodePlan, Rows


class DecodedFrame(NamedTuple):
    """A frame came out of the decoder."""

    row: int
    frame: VideoFrame


class GroupDone(NamedTuple):
    """Nothing more will come of the rows before this one, and their damage is known."""

    before: int


class PlanFailedError(Exception):
    """Damage was met while only chosen packets were fed: only a linear decode can be trusted."""


class DecodePass:
    """A pass over a plan, and the damage that it met."""

    def __init__(self, media: Media, plan: DecodePlan) -> None:
        """Prepare a pass; nothing is decoded yet."""
        self._media = media
        self.plan = plan
        self._index = media.index
        self._entries = plan.entries
        self._damaged = media.index.corrupt.copy()
        # where bytes are lost, so may be whole packets behind them, which others refer to
        self._is_harmless = media.index.disposable & ~media.index.corrupt
        self._gaps = np.zeros(len(self._entries), np.bool_)  # a packet before the row is lost
        self._arrived = np.zeros(len(self._entries), np.bool_)
        self._has_sets = bool(media.index.sets.any())
        self._ended = 0  # rows of the present run in groups that are done
        self._first_damage = len(self._entries)  # the lowest row at which any was met
        self.complaint = media.packets.ended_early or _lost_bytes(media.index.corrupt)
        """The first thing that went wrong, for a person; empty if nothing did."""

    def frames(self, decoder: Decoder, tally: Tally) -> Iterator[DecodedFrame | GroupDone]:
        """Yield the frames of a decoder in presentation order, one group of pictures at a time.

        Raises:
            PlanFailedError: Damage was met, and the plan is not linear.
        """
        for run in self.plan.runs:
            entry, self._ended = int(run[0]), 0
            for decoded in decoder.decode(self._media, run.tolist(), tally):
                decoded_frame = self._take_in(decoded, run)
                if decoded_frame is None:
                    continue
                if self._entries[decoded_frame.row] > entry:
                    entry = int(self._entries[decoded_frame.row])
                    yield self._end_group(run, before=entry)
                yield decoded_frame
            yield self._end_group(run, before=int(run[-1]) + 1)

    def is_suspect(self, row: int) -> bool:
        """Return whether damage may have touched the frame of a row in a group that is done."""
        entry = int(self._entries[row])
        span = slice(entry, row)
        touching = self._damaged[span] & ~self._is_harmless[span]
        gaps = self._gaps[entry + 1 : row + 1]
        return bool(self._damaged[row] or touching.any() or gaps.any()) or self._lacks_sets(row)

    def _lacks_sets(self, row: int) -> bool:
        """Whether a damaged packet before the row may have carried its parameter sets."""
        before = slice(0, row + 1)
        return self._has_sets and bool((self._damaged[before] & self._index.sets[before]).any())

    def _take_in(self, decoded: Decoded, run: Rows) -> DecodedFrame | None:
        """Note damage, and return the frame if it is one that this run is for."""
        row, frame, error, is_gap = decoded
        if is_gap:
            self._gaps[row] = True
            self._first_damage = min(self._first_damage, row)
            self.complaint = self.complaint or f"packet {row}: {error}"
            return None
        if not self._is_due(row, run):
            return None
        if frame is None or frame.is_corrupt:
            self._damaged[row] = True
            self._first_damage = min(self._first_damage, row)
            self.complaint = self.complaint or f"packet {row}: {error or 'decoded with errors'}"
        if frame is None:
            return None
        self._arrived[row] = True
        return DecodedFrame(row, frame)

    def _is_due(self, row: int, run: Rows) -> bool:
        """Whether a run can give the row's frame.

        A frame that is shown before the entry point of its run may be predicted from others.
        """
        return 0 <= row < len(self._entries) and bool(self._entries[row] >= run[0])

    def _end_group(self, run: Rows, *, before: int) -> GroupDone:
        """Mark the rows before an entry point whose frames did not come as damaged."""
        start, self._ended = self._ended, int(np.searchsorted(run, before))
        rows = run[start : self._ended]
        due = rows[(self._entries[rows] >= run[0]) & self._index.shown[rows]]
        absent = due[~self._arrived[due]]
        if len(absent):
            self.complaint = self.complaint or f"packet {absent[0]}: no frame comes of it"
        self._damaged[absent] = True
        if not self.plan.is_linear and (len(absent) or self._first_damage < before):
            raise PlanFailedError
        return GroupDone(before)


def _lost_bytes(corrupt: NDArray[np.bool_]) -> str:
    rows = np.flatnonzero(corrupt)
    if not len(rows):
        return ""
    lost = "bytes are lost, or pictures that it is predicted from"
    return f"packet {rows[0]}: {lost}, as of {len(rows)} in all"
