"""Prove that decoding may start at an H.264 recovery point (ITU-T H.264, 8.2.4 and 8.2.5).

A recovery point declares it. Slice headers show whether it is true: frame numbers, order counts and
changes of the reference lists give the pictures that each slice may refer to.

    decode order    P4  I9(recovery)  b7  P13     P17
    refers to                         ?   I9      P13 I9        proven: only to pictures from I9 on
    refers to                         ?   I9 P4                 refuted

Leading pictures (b7) are shown before the recovery point. They may refer to any picture, and count
as pictures from before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from frames_pipeline.bitstream.h264_headers import B, SliceHeader, Sps
from frames_pipeline.bitstream.order import poc_msb

_FORGET: Final = 1
"""memory_management_control_operation 1: drop a short-term reference picture."""


class Kept(NamedTuple):
    """A reference picture from the recovery point on."""

    frame_num: int
    poc: int
    is_sound: bool
    """Whether it depends only on pictures from the recovery point on."""


@dataclass(slots=True)
class RecoveryPoint:
    """A recovery point, and the later pictures that a slice may refer to."""

    row: int
    """Row of its packet."""
    sps: Sps
    kept: list[Kept] = field(default_factory=list)
    """The reference pictures, in decode order."""
    reference_poc: tuple[int, int] = (0, 0)
    """msb and lsb of the latest reference picture's order count."""
    poc: int = 0
    """Its own order count."""
    is_refuted: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether all earlier pictures have left the reference buffer."""
        unsound = any(not picture.is_sound for picture in self.kept)
        return len(self.kept) >= self.sps.most_references and not unsound

    @classmethod
    def at(cls, row: int, slices: Sequence[SliceHeader | None], sps: Sps) -> RecoveryPoint:
        """Begin with the headers of the recovery point's own picture."""
        point = cls(row, sps)
        headers = point._readable(slices)
        if not headers or not headers[0].start.reference:
            point.is_refuted = True
            return point
        point.poc = headers[0].start.poc_lsb
        point.reference_poc = (0, point.poc)
        point.kept = [Kept(headers[0].start.frame_num, point.poc, is_sound=True)]
        return point

    def follow(self, slices: Sequence[SliceHeader | None]) -> None:
        """Add a later picture."""
        headers = self._readable(slices)
        if self.is_refuted or not headers:
            self.is_refuted = True
            return
        poc = self._order(headers[0])
        is_leading = poc < self.poc
        is_sound = not is_leading and all(self._is_sound(one, poc) for one in headers)
        if not is_leading and not is_sound:
            self.is_refuted = True
        elif headers[0].start.reference:
            self._keep(headers[0], Kept(headers[0].start.frame_num, poc, is_sound))

    def _readable(self, slices: Sequence[SliceHeader | None]) -> list[SliceHeader]:
        """Return the headers of a picture; none if one is unreadable or not supported."""
        headers = [one for one in slices if one is not None]
        return [] if len(headers) < len(slices) or self._is_beyond(headers) else headers

    def _order(self, header: SliceHeader) -> int:
        """Return the order count of a picture (8.2.1); a counter for type 2."""
        if self.sps.poc_type == 2:
            return self.kept[-1].poc + 1 if self.kept else 1
        msb = poc_msb(header.start.poc_lsb, *self.reference_poc, 1 << self.sps.poc_lsb_bits)
        if header.start.reference:
            self.reference_poc = (msb, header.start.poc_lsb)
        return msb + header.start.poc_lsb

    def _is_beyond(self, slices: list[SliceHeader]) -> bool:
        """Return whether slices use fields, long-term pictures or order counts of type 1."""
        return self.sps.poc_type == 1 or any(
            one.start.field or any(operation != _FORGET for operation, _ in one.marking)
            for one in slices
        )

    def _is_sound(self, header: SliceHeader, poc: int) -> bool:
        """Return whether every picture that a slice may refer to is sound."""
        both = self._lists(header, poc)
        for count, changes, initial in zip(header.counts, header.changes, both, strict=True):
            pictures = self._changed(header, changes, initial)
            if pictures is None or len(pictures) < count:
                return False
            if not all(picture.is_sound for picture in pictures[:count]):
                return False
        return True

    def _lists(self, header: SliceHeader, poc: int) -> list[list[Kept]]:
        """Return the start of each reference list; only earlier pictures could follow."""
        if header.kind != B:
            by_number = sorted(self.kept, key=lambda one: self._pic_num(one, header), reverse=True)
            return [by_number] if header.counts else []
        before = sorted((one for one in self.kept if one.poc < poc), key=lambda one: -one.poc)
        after = sorted((one for one in self.kept if one.poc > poc), key=lambda one: one.poc)
        return [
            before,
            after + before,
        ]  # after these come only pictures from before the recovery point

    def _changed(
        self, header: SliceHeader, changes: tuple[tuple[int, int], ...], initial: list[Kept]
    ) -> list[Kept] | None:
        """Return a list after its changes; `None` if a change names an unknown picture."""
        wrap, number = 1 << self.sps.frame_num_bits, header.start.frame_num
        front: list[Kept] = []
        for operation, value in changes:
            if operation not in (0, 1):
                return None
            number = (number + (value + 1 if operation else -value - 1)) % wrap
            found = next((one for one in self.kept if one.frame_num == number), None)
            if found is None:
                return None
            front.append(found)
        return front + [one for one in initial if one not in front]

    def _pic_num(self, picture: Kept, header: SliceHeader) -> int:
        ahead = picture.frame_num > header.start.frame_num
        return picture.frame_num - (ahead << self.sps.frame_num_bits)

    def _keep(self, header: SliceHeader, picture: Kept) -> None:
        """Add a picture, and drop the oldest one or those marked in its header (8.2.5)."""
        wrap = 1 << self.sps.frame_num_bits
        for _, value in header.marking:
            number = (header.start.frame_num - value - 1) % wrap
            self.kept = [one for one in self.kept if one.frame_num != number]
        if not header.marking:
            excess = len(self.kept) + 1 - max(self.sps.most_references, 1)
            del self.kept[: max(excess, 0)]
        self.kept.append(picture)
