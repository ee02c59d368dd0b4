"""H.264: entry points, disposable pictures, field pairs, picture order, lost pictures.

Source: ITU-T H.264.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.bits import Bits, all_bits, header_bits
from frames_pipeline.bitstream.coded_picture import CodedPicture
from frames_pipeline.bitstream.flags import COMPLETES, DISPOSABLE, ENTRY, OPEN, SETS, SHOWN
from frames_pipeline.bitstream.h264_headers import (
    IDR,
    RESET,
    Pps,
    Slice,
    SliceHeader,
    Sps,
    read_header,
    read_pps,
    read_sps,
    read_start,
)
from frames_pipeline.bitstream.h264_recovery import RecoveryPoint
from frames_pipeline.bitstream.heads import Heads, PacketBytes, first_slices, roles
from frames_pipeline.bitstream.nal import Framing, framed, nal_units, sound_units
from frames_pipeline.bitstream.order import poc_msb, ranks_of_places
from frames_pipeline.bitstream.reader import HeaderReader
from frames_pipeline.bitstream.state import GIVEN, StateLog

_SEI, _SPS, _PPS = 6, 7, 8
_SLICES: Final = (1, 2, IDR)
_RECOVERY_POINT: Final = 6
_DELIMITER, _FILLER = 9, 12
_ROLES: Final = roles(
    lambda header: header & 31, slices=_SLICES, sei=(_SEI,), passed=(_DELIMITER, _FILLER)
)
_INTRA_SLICES: Final = (2, 4, 7, 9)
"""slice_type of I and SI slices (7.4.3)."""
_USER_DATA: Final = 5
_X264: Final = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef")
"""The UUID of the SEI in which x264 names its build (common/set.c)."""
_WHOLE_HEADER: Final = 1024
"""Bytes that contain a slice header with all its weights."""
_OLD_X264: Final = 67
_OLD_X264_444: Final = 151
"""Builds of x264 from which FFmpeg decodes in the usual way, for 4:2:0 and for 4:4:4
(h264dec.h)."""
_MOST_SETS: Final = 1024
"""Maximum number of parameter sets in the cache."""


class ParameterSets:
    """The parameter sets seen so far, from extradata and in band."""

    def __init__(self, extradata: bytes) -> None:
        """Read the sets of an `avcC` record, or of Annex B extradata."""
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, Pps] = {}
        self._seen: dict[bytes, tuple[int, Sps | Pps] | None] = {}
        """Fields of each set, by its bytes."""
        self.poc_types: set[int] = set()
        """Types of picture order count in the stream so far (8.2.1)."""
        self.frames_only = True
        """Whether the stream so far has no field pictures."""
        self.any_444 = False
        """Whether the stream so far has full chroma anywhere."""
        self.renew(extradata)

    def renew(self, extradata: bytes) -> list[bytes]:
        """Add new extradata; return its sets."""
        self.framing = Framing(_length_size(extradata), may_change=True)
        sets = [bytes(nal) for nal in _sets_of(extradata, self.framing.length_size)]
        for nal in sets:
            self.add(memoryview(nal))
        return sets

    def units(self, data: memoryview) -> Iterator[memoryview]:
        """Yield the units of a packet that a decoder reads."""
        return sound_units(data, self.framing.of(data))

    def add(self, nal: memoryview) -> tuple[object, object]:
        """Add a parameter set. An unreadable one is left to the decoder.

        Returns:
            Its key, and the key of the parameter set that it depends on.
        """
        data = bytes(nal)
        if len(self._seen) > _MOST_SETS:
            self._seen.clear()
        if data not in self._seen:
            self._seen[data] = _read_set(data)
        match self._seen[data]:
            case (key, Sps() as sps):
                self._sps[key] = sps
                self.poc_types.add(sps.poc_type)
                self.frames_only = self.frames_only and sps.frames_only
                self.any_444 = self.any_444 or sps.is_444
                return ("sps", key), None
            case (key, Pps() as pps):
                self._pps[key] = pps
                return ("pps", key), ("sps", pps.sps)
        return data, None

    def slice(self, nal: memoryview) -> tuple[Slice, Sps] | None:
        """Return the start of a slice header; `None` if a parameter set is unknown."""
        bits = header_bits(nal, 1)
        try:
            found = self._sets_of_slice(bits)
            return found and (read_start(nal[0], bits, found[1]), found[1])
        except EOFError:
            return None

    def whole_header(self, nal: memoryview) -> tuple[SliceHeader, Sps] | None:
        """Return a whole slice header; `None` if it, or a parameter set, cannot be read."""
        try:
            found = self._sets_of_slice(header_bits(nal, 1))
            bits = all_bits(nal[:_WHOLE_HEADER], 1)
            header = found and read_header(nal[0], bits, found[1], found[0])
        except EOFError:
            return None
        return (header, found[1]) if header and found else None

    def _sets_of_slice(self, bits: Bits) -> tuple[Pps, Sps] | None:
        """Return the parameter sets of a slice; leaves the reader after their id."""
        bits.ue()  # first_mb_in_slice
        bits.ue()  # slice_type
        pps = self._pps.get(bits.ue())
        sps = self._sps.get(pps.sps) if pps else None
        return (pps, sps) if pps and sps else None

    def resets_numbers(self, nal: memoryview) -> bool:
        """Return whether picture numbers restart after a picture, by its first slice (8.2.1)."""
        found = self.whole_header(nal) if nal and nal[0] & 0x60 else None
        return found is not None and any(one == RESET for one, _ in found[0].marking)


class H264Reader(HeaderReader):
    """Entry points are IDR pictures, and recovery points that later pictures confirm."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `avcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(b"")
        self._log = StateLog()
        self._row = -1
        self._framings: list[tuple[int, int]] = []
        """First rows of each framing, with the bytes of a unit's length."""
        self._open_field: Slice | None = None
        self._recovering: list[RecoveryPoint] = []
        """Recovery points that later pictures may still refute."""
        self.refuted: list[int] = []
        """Rows of refuted recovery points: a later picture may refer to a picture from before
        them."""
        self._take(extradata, GIVEN)

    def renew(self, extradata: bytes) -> None:
        """Add the extradata that comes with the next packet."""
        self._take(extradata, self._row)

    def _take(self, extradata: bytes, row: int) -> None:
        for nal in self._sets.renew(extradata):
            self._note_set(memoryview(nal), row)

    def read(self, data: memoryview, *, key: bool) -> int:
        self._row += 1
        flags = 0
        recovery = sets = False
        slices: list[memoryview] = []
        for nal in self._units(data):
            kind = nal[0] & 31
            if kind in _SLICES:
                slices.append(nal)
            if kind in _SLICES and not flags:
                flags = self._read_slice(nal, data, key=key and recovery)
            elif kind in _SLICES and flags & OPEN and not _is_intra(nal):
                flags &= ~(ENTRY | OPEN)
            elif kind == _SEI and not flags:
                recovery = recovery or (key and _is_exact_recovery_point(nal))
                sets = self._note_old_encoder(nal) or sets
            elif kind in (_SPS, _PPS):
                sets = self._note_set(nal, self._row) or sets
        if slices and (self._recovering or flags & OPEN):
            self._follow(slices, begins=bool(flags & OPEN and flags & ENTRY))
        return flags & ~DISPOSABLE | SETS if sets else flags

    def _follow(self, slices: list[memoryview], *, begins: bool) -> None:
        """Check a picture against the recovery points before it."""
        if slices[0][0] & 31 == IDR:
            self._recovering.clear()
            return
        found = [self._sets.whole_header(nal) for nal in slices]
        headers = [one and one[0] for one in found]
        for point in self._recovering:
            point.follow(headers)
        self.refuted += [point.row for point in self._recovering if point.is_refuted]
        self._recovering = [
            point for point in self._recovering if not point.is_refuted and not point.is_settled
        ]
        if begins and found[0] is not None:
            self._recovering.append(RecoveryPoint.at(self._row, headers, found[0][1]))

    @property
    def state_varies(self) -> bool:
        """Whether packets read so far change the parameter sets of the container."""
        return self._log.varies

    def state_before(self, row: int) -> bytes | None:
        """Return the parameter sets to put before a packet; `None` if there are too many."""
        units = self._log.before(row)
        length_size = [size for first, size in self._framings if first <= row][-1]
        return None if units is None else framed(units, length_size)

    def _units(self, data: memoryview) -> Iterator[memoryview]:
        length_size = self._sets.framing.of(data)
        if not self._framings or self._framings[-1][1] != length_size:
            self._framings.append((self._row, length_size))
        return sound_units(data, length_size)

    def _note_set(self, nal: memoryview, row: int) -> bool:
        unit = bytes(nal).rstrip(b"\0")
        key, needs = self._sets.add(memoryview(unit))
        return self._log.note(row, key, unit, needs=needs)

    def _note_old_encoder(self, nal: memoryview) -> bool:
        """Log the SEI of an old x264, since FFmpeg decodes its streams differently."""
        if not self._is_old_encoder(nal):
            return False
        return self._log.note(self._row, "x264", bytes(nal).rstrip(b"\0"))

    def _is_old_encoder(self, nal: memoryview) -> bool:
        build = _x264_build(nal)
        newest = _OLD_X264_444 if self._sets.any_444 else _OLD_X264
        return build is not None and build < newest

    @property
    def in_output_order(self) -> bool:
        """Whether every parameter set so far declares it (8.2.1.3)."""
        return self._sets.poc_types == {2}

    def read_heads(
        self,
        heads: Heads,
        lengths: NDArray[np.int64],
        *,
        key: NDArray[np.bool_],
        read: PacketBytes,
    ) -> NDArray[np.int64] | None:
        if not self._sets.frames_only or not self._sets.framing.length_size:
            return None
        found = first_slices(
            heads, lengths, length_size=self._sets.framing.length_size, roles=_ROLES, read=read
        )
        if found is None:
            return None
        idr = found.first & 31 == IDR
        recovers = np.zeros(len(heads), np.bool_)
        for row in np.flatnonzero(found.after_sei & ~idr).tolist():
            recovers[row] = self._has_recovery_point(read(row))
        if np.any((idr | recovers) != key):
            return None
        flags = np.where(idr, SHOWN | ENTRY, SHOWN)
        flags[~idr & (found.first & 0x60 == 0)] |= DISPOSABLE
        self._read_recovering(np.flatnonzero(recovers).tolist(), flags, key, read)
        first = self._sets.units(read(0)) if found.after_sei[:1].any() else ()
        if any(nal[0] & 31 == _SEI and self._is_old_encoder(nal) for nal in first):
            return None  # every entry point needs the encoder's name
        return flags

    def _read_recovering(
        self, rows: list[int], flags: NDArray[np.int64], key: NDArray[np.bool_], read: PacketBytes
    ) -> None:
        """Read each recovery point whole, and the following pictures until it is settled."""
        following, recovering = 0, frozenset(rows)
        for row in rows:
            following = max(following, row)
            while following < len(flags) and (following <= row or self._recovering):
                self._row = following - 1
                found = self.read(read(following), key=bool(key[following]))
                flags[following] = found if following in recovering else flags[following]
                following += 1

    def _has_recovery_point(self, data: memoryview) -> bool:
        for nal in self._sets.units(data):
            kind = nal[0] & 31
            if kind in _SLICES:
                return False
            if kind == _SEI and _recovery_point(nal):
                return True
        return False

    def _read_slice(self, nal: memoryview, data: memoryview, *, key: bool) -> int:
        key = key and _is_intra(nal)
        if self._sets.frames_only:
            return _flags(nal[0], key=key)
        return self._read_field(nal, data, key=key)

    def _read_field(self, nal: memoryview, data: memoryview, *, key: bool) -> int:
        """Read a field. One that completes the previous field shows no frame of its own."""
        found = self._sets.slice(nal)
        first, self._open_field = self._open_field, None
        if found is None or not found[0].field:
            return _flags(nal[0], key=key)
        field = found[0]
        if first and first.is_completed_by(field):
            return COMPLETES
        if self._holds_both_fields(data, field):
            return _flags(nal[0], key=key)
        self._open_field = field
        return _flags(nal[0], key=key) & ~DISPOSABLE

    def _holds_both_fields(self, data: memoryview, first: Slice) -> bool:
        for nal in self._sets.units(data):
            if nal[0] & 31 in _SLICES:
                found = self._sets.slice(nal)
                if found and found[0].field != first.field:
                    return True
        return False


class PictureNumbers:
    """Detects lost reference pictures by gaps in frame_num, which counts them (7.4.3).

    A decoder substitutes another picture without reporting it.
    """

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `avcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(extradata)
        self._latest: int | None = None
        self._latest_slice = b""

    def renew(self, extradata: bytes) -> None:
        """Add the extradata that comes with the next packet."""
        self._sets.renew(extradata)

    def restart(self) -> None:
        """Forget earlier packets: the next one is from another place in the stream."""
        self._latest = None

    def is_next(self, data: memoryview) -> bool:
        """Return whether no reference picture is lost between the last packet and this one."""
        for nal in self._sets.units(data):
            kind = nal[0] & 31
            if kind in _SLICES:
                found = self._sets.slice(nal)
                return found is None or self._follows(*found, nal)
            if kind in (_SPS, _PPS):
                self._sets.add(nal)
        return True

    def _follows(self, header: Slice, sps: Sps, nal: memoryview) -> bool:
        """Return whether a picture has the number of the latest reference picture, or the next.

        Numbers restart at an IDR picture, and after a picture with a reset operation. Few encoders
        write resets, so they are checked only if a number does not match.
        """
        number, latest, latest_slice = header.frame_num, self._latest, self._latest_slice
        if header.reference:
            self._latest, self._latest_slice = number, bytes(nal[:_WHOLE_HEADER])
        if latest is None or header.idr or sps.may_skip_numbers:
            return True
        if (number - latest) % (1 << sps.frame_num_bits) <= 1:
            return True
        return number <= 1 and self._sets.resets_numbers(memoryview(latest_slice))


class H264Order:
    """Output order by picture order count (8.2.1), for types 0 and 2."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `avcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(extradata)
        self._epoch = 0
        self._reference_poc = (0, 0)  # msb and lsb of the last reference picture

    def ranks(self, packets: Iterable[memoryview]) -> list[int] | None:
        """Return the output rank of each packet; `None` if a picture's order is unknown."""
        return ranks_of_places(self._order(packet, row) for row, packet in enumerate(packets))

    def _order(self, packet: memoryview, row: int) -> tuple[int, int] | None:
        for nal in self._sets.units(packet):
            kind = nal[0] & 31
            if kind in (_SPS, _PPS):
                self._sets.add(nal)
            elif kind in _SLICES:
                found = self._sets.slice(nal)
                if found and self._sets.resets_numbers(nal):
                    return self._reset(*found)
                return self._poc(*found, row) if found else None
        return self._epoch, row

    def _reset(self, header: Slice, sps: Sps) -> tuple[int, int] | None:
        """Return the order of a picture that resets the counts: after all before it (C.4.4)."""
        if sps.poc_type == 1:
            return None
        self._epoch += 1
        self._reference_poc = (0, 0)
        return self._epoch, 0

    def _poc(self, header: Slice, sps: Sps, row: int) -> tuple[int, int] | None:
        if header.idr:
            self._epoch += 1
            self._reference_poc = (0, 0)
        if sps.poc_type == 2:  # output order is decode order
            return self._epoch, row
        if sps.poc_type == 1:
            return None
        msb = poc_msb(header.poc_lsb, *self._reference_poc, 1 << sps.poc_lsb_bits)
        if header.reference:
            self._reference_poc = (msb, header.poc_lsb)
        return self._epoch, msb + header.poc_lsb


def _flags(header: int, *, key: bool) -> int:
    """Return the flags of a picture from its first byte: nal_ref_idc and nal_unit_type."""
    if header & 31 == IDR:
        return SHOWN | ENTRY
    if key:
        return SHOWN | ENTRY | OPEN
    return SHOWN if header & 0x60 else SHOWN | DISPOSABLE


def _is_exact_recovery_point(nal: memoryview) -> bool:
    """Return whether an SEI declares pictures exact from this one on (D.2.8)."""
    return _recovery_point(nal) == (0, 1)


def _recovery_point(nal: memoryview) -> tuple[int, int] | None:
    """Return the recovery_frame_cnt and exact_match_flag of an SEI; `None` if it has none."""
    for kind, payload in _messages(nal):
        if kind == _RECOVERY_POINT:
            bits = Bits(payload)
            try:
                return bits.ue(), bits.u(1)
            except EOFError:
                return None
    return None


def _x264_build(nal: memoryview) -> int | None:
    """Return the build of x264 named in an SEI."""
    for kind, payload in _messages(nal):
        if kind == _USER_DATA and payload.startswith(_X264):
            found = re.match(rb"x264 - core (\d{1,6})", payload[len(_X264) :])
            return int(found[1]) if found else None
    return None


def _messages(nal: memoryview) -> Iterator[tuple[int, bytes]]:
    """Yield type and payload of each message of an SEI (7.3.2.3.1)."""
    data = bytes(nal[1:]).replace(b"\0\0\3", b"\0\0")
    position = 0
    while position + 2 < len(data):  # the last byte is trailing bits
        kind, position = _read_ff_coded(data, position)
        if position >= len(data):
            return
        size, position = _read_ff_coded(data, position)
        yield kind, data[position : position + size]
        position += size


def _is_intra(nal: memoryview) -> bool:
    """Return whether a slice is predicted from its own picture alone (7.4.3, slice_type)."""
    bits = header_bits(nal, 1)
    try:
        bits.ue()  # first_mb_in_slice
        return bits.ue() in _INTRA_SLICES
    except EOFError:
        return False


def _read_ff_coded(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    while position < len(data) - 1 and data[position] == 0xFF:
        value, position = value + 0xFF, position + 1
    return value + int.from_bytes(data[position : position + 1], "big"), position + 1


def coded_picture(extradata: bytes) -> CodedPicture | None:
    """Return the format of the samples by the first sequence parameter set; `None` without one."""
    for nal in _sets_of(extradata, _length_size(extradata)):
        match _read_set(bytes(nal)):
            case (_, Sps() as sps):
                return sps.picture
    return None


def _length_size(extradata: bytes) -> int:
    """Return the bytes of a unit's length in an `avcC` record; 0 for Annex B."""
    return extradata[4] % 4 + 1 if len(extradata) > 5 and extradata[0] == 1 else 0


def _sets_of(extradata: bytes, length_size: int) -> Iterable[memoryview]:
    """Return the parameter sets of an `avcC` record (ISO/IEC 14496-15, 5.3.3.1) or Annex B."""
    view = memoryview(extradata)
    if not length_size:
        return [nal for nal in nal_units(view, 0) if nal and nal[0] & 31 in (_SPS, _PPS)]
    sets: list[memoryview] = []
    position = 5
    for mask in (0x1F, 0xFF):
        count = extradata[position] & mask if position < len(extradata) else 0
        position += 1
        for _ in range(count):
            size = int.from_bytes(extradata[position : position + 2], "big")
            sets.append(view[position + 2 : position + 2 + size])
            position += 2 + size
    return [nal for nal in sets if nal]


def _read_set(data: bytes) -> tuple[int, Sps | Pps] | None:
    """Return the id of a parameter set, and its fields; `None` if it cannot be read."""
    bits = all_bits(data, 1)
    try:
        return read_sps(bits) if data and data[0] & 31 == _SPS else read_pps(bits)
    except EOFError:
        return None
