"""From wanted rows to decoded frames. This is the only decode loop of the library.

    rows  ->  plan_decode  ->  DecodePass  ->  frames in presentation order, finished groups
                                   | damage
                                   v
              plan_linear  ->  DecodePass  ->  Restarted, then all frames from the start again

A plan feeds the fewest packets. After damage a plan is unreliable, since a skipped packet may have
carried data that the decoder needs. Then new decoders get every packet from the start.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import Decoder, Tally
from frames_pipeline.decoding.decode_pass import (
    DecodedFrame,
    DecodePass,
    GroupDone,
    PlanFailedError,
)
from frames_pipeline.decoding.plan import DecodePlan, Rows, plan_decode, plan_linear
from frames_pipeline.frames import DecodeReport


class Restarted(NamedTuple):
    """Discard the frames so far: every wanted row is decoded again.

    Damage was found, or more rows are wanted.
    """


class RowDecode:
    """A decode of wanted rows, with the damage found."""

    def __init__(self, media: Media, rows: Rows, decoder: Decoder, *, linear: str = "") -> None:
        """Plan the decode; decode nothing yet.

        Args:
            media: The video.
            rows: Rows of the wanted frames, in any order.
            decoder: The decoder.
            linear: Reason to decode everything from the start; empty to decode by plan.
        """
        self._media, self._rows, self._decoder, self._linear = media, rows, decoder, linear
        self._is_widened = False
        plan = self._plan()
        self._pass, self._ledger = DecodePass(media, plan), _Ledger(decoder, plan)

    def _plan(self) -> DecodePlan:
        index = self._media.index
        if self._linear:
            return plan_linear(index, self._rows, reason=self._linear)
        return plan_decode(index, self._rows, self._media.packets.references)

    def events(self) -> Iterator[DecodedFrame | GroupDone | Restarted]:
        """Decode; yield frames in presentation order, and an event for each finished group.

        Includes frames that were decoded only to reach a wanted one. The last event is a
        `GroupDone` after the last row.
        """
        while not (yield from self._complete_pass()):
            yield Restarted()
            self._media.renew_decoders()
            self._pass = DecodePass(self._media, self._plan())
        yield GroupDone(len(self._media.index.order))

    def _complete_pass(self) -> Generator[DecodedFrame | GroupDone, None, bool]:
        """Yield the events of a pass; return whether it ended, rather than be restarted."""
        try:
            for event in self._pass.frames(self._decoder, self._ledger.tally):
                yield event
                if self._is_widened:
                    self._is_widened = False
                    return False
        except PlanFailedError:
            self._linear = "damage was met"
            return False
        return True

    def widen(self, rows: Rows) -> None:
        """Decode more rows: the pass that is under way restarts."""
        self._rows, self._is_widened = rows, True

    def is_suspect(self, row: int) -> bool:
        """Return whether damage may affect the frame of a row in a finished group."""
        return self._pass.is_suspect(row)

    @property
    def complaint(self) -> str:
        """Description of the first fault; empty without one."""
        return self._pass.complaint

    def report(self, before: int) -> DecodeReport:
        """Return the work for rows before one, without the work reported earlier."""
        return self._ledger.report(before, fallback=self._pass.plan.reason)


class _Ledger:
    """The work planned, done, and reported so far."""

    def __init__(self, decoder: Decoder, plan: DecodePlan) -> None:
        self.tally = Tally()
        self._decoder = decoder
        self._planned_rows = np.concatenate([np.empty(0, np.int64), *plan.runs])
        self._reported = (0, 0, 0)

    def report(self, before: int, *, fallback: str) -> DecodeReport:
        planned = int(np.searchsorted(self._planned_rows, before))
        now = (planned, self.tally.packets_fed, self.tally.frames_decoded)
        packets_planned, packets_fed, frames_decoded = np.subtract(now, self._reported).tolist()
        self._reported = now
        return DecodeReport(
            decoder=self.tally.decoder or self._decoder.name,
            device=self.tally.device or "none",
            choice=self.tally.choice,
            packets_planned=packets_planned,
            packets_fed=packets_fed,
            frames_decoded=frames_decoded,
            fallback=fallback,
        )
