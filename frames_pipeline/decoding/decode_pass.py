"""One pass of a decoder over a plan: frames by row, each marked if damage may affect it.

A decoder conceals damage, and predicts later frames from the concealed pixels. So a fault at a row
marks every frame that has this row between its entry point and itself as suspect:

    rows       I0  P4  b1  b2  P8  b5  b6  I9  P13
    damage         x
    suspect        x   x   x   x   x   x               P4, and frames that may be predicted from it

Faults are an error for a packet, a frame that the decoder marks as corrupt, bytes that are known to
be lost or changed, an expected frame that did not come, and a missing packet.
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
    """A frame from the decoder, with its row."""

    row: int
    frame: VideoFrame


class GroupDone(NamedTuple):
    """All frames of the rows before this one are decoded, and their damage is known."""

    before: int


class PlanFailedError(Exception):
    """Damage was found while feeding selected packets: only a linear decode is reliable."""


class DecodePass:
    """A pass over a plan, with the damage found."""

    def __init__(self, media: Media, plan: DecodePlan) -> None:
        """Prepare a pass; decode nothing yet."""
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
        """Description of the first fault; empty without one."""

    def frames(self, decoder: Decoder, tally: Tally) -> Iterator[DecodedFrame | GroupDone]:
        """Yield the frames of a decoder in presentation order, one group of pictures at a time.

        Raises:
            PlanFailedError: Damage was found, and the plan is not linear.
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
        """Return whether damage may affect the frame of a row in a finished group."""
        entry = int(self._entries[row])
        span = slice(entry, row)
        touching = self._damaged[span] & ~self._is_harmless[span]
        gaps = self._gaps[entry + 1 : row + 1]
        return bool(self._damaged[row] or touching.any() or gaps.any()) or self._lacks_sets(row)

    def _lacks_sets(self, row: int) -> bool:
        """Return whether a damaged packet before the row may have carried its parameter sets."""
        before = slice(0, row + 1)
        return self._has_sets and bool((self._damaged[before] & self._index.sets[before]).any())

    def _take_in(self, decoded: Decoded, run: Rows) -> DecodedFrame | None:
        """Record damage; return the frame if it belongs to this run."""
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
        """Return whether this run can decode the row's frame exactly.

        A frame shown before the entry point of its run may be predicted from frames of an earlier
        run.
        """
        return 0 <= row < len(self._entries) and bool(self._entries[row] >= run[0])

    def _end_group(self, run: Rows, *, before: int) -> GroupDone:
        """Mark rows before an entry point as damaged if their frames are missing."""
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
