"""HEVC: entry points, leading pictures, disposable pictures, picture order (ITU-T H.265)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.bits import Bits, all_bits, header_bits
from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, LAYER_SHIFT, SETS, SHOWN
from frames_pipeline.bitstream.heads import Heads, PacketBytes, first_slices, roles
from frames_pipeline.bitstream.nal import framed, nal_units, sound_units
from frames_pipeline.bitstream.order import MOST_COUNT_BITS, poc_msb, ranks_of_places
from frames_pipeline.bitstream.reader import HeaderReader
from frames_pipeline.bitstream.state import GIVEN, StateLog

_RADL = (6, 7)
_RASL = (8, 9)
_LAST_SUB_LAYER_TYPE: Final = 14
"""Up to this type, even types are pictures without references from their own sub-layer."""
_FIRST_IRAP, _LAST_IRAP = 16, 23
_BLA: Final = (16, 17, 18)
_IDR: Final = (19, 20)
_CRA = 21
_LAST_SLICE_TYPE = 31
_VPS, _SPS, _PPS = 32, 33, 34
_HEADER: Final = 2
"""Bytes of a unit's header."""
_MOST_SETS: Final = 1024
"""Maximum number of parameter sets in the cache."""
_DELIMITER, _END_OF_SEQUENCE, _END_OF_BITSTREAM, _FILLER = 35, 36, 37, 38
_SEI: Final = (39, 40)
_ROLES: Final = roles(
    lambda header: header >> 1 & 63,
    slices=range(_LAST_SLICE_TYPE + 1),
    sei=_SEI,
    passed=(_DELIMITER, _FILLER),
)


@dataclass(frozen=True, slots=True)
class Sps:
    """The fields of a sequence parameter set that slice headers depend on."""

    vps: int
    separate_planes: bool
    poc_lsb_bits: int
    most_waiting: int
    """Pictures that may wait before one is output (sps_max_num_reorder_pics)."""
    size: tuple[int, ...]
    """Width, height, and size of the decoded picture buffer."""


@dataclass(frozen=True, slots=True)
class Pps:
    """The fields of a picture parameter set that slice headers depend on."""

    sps: int
    has_output_flag: bool
    extra_header_bits: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The first slice header of a picture."""

    sps: Sps
    shown: bool
    """Whether the picture is output."""
    drops_prior: bool
    """Whether pictures that wait for output are dropped (no_output_of_prior_pics_flag)."""
    poc_lsb: int


class ParameterSets:
    """The parameter sets seen so far, from extradata and in band."""

    def __init__(self, extradata: bytes) -> None:
        """Read the sets of an `hvcC` record, or of Annex B extradata."""
        self.length_size = 0
        self.sps: dict[int, Sps] = {}
        self.pps: dict[int, Pps] = {}
        self._seen: dict[bytes, tuple[int, Sps | Pps | int] | None] = {}
        """Fields of each set, by its bytes."""
        self.may_hide = False
        """Whether slice headers have a flag for hidden pictures."""
        self.renew(extradata)

    def renew(self, extradata: bytes) -> list[bytes]:
        """Add new extradata; return its sets."""
        self.length_size = extradata[21] % 4 + 1 if _is_hvcc(extradata) else 0
        sets = [bytes(nal) for nal in _sets_of(extradata, self.length_size)]
        for nal in sets:
            self.add(memoryview(nal))
        return sets

    def units(self, data: memoryview) -> Iterator[memoryview]:
        """Yield the units of a packet that have a header."""
        return (nal for nal in sound_units(data, self.length_size) if len(nal) >= _HEADER)

    def add(self, nal: memoryview) -> tuple[object, object]:
        """Add a parameter set. An unreadable one is left to the decoder.

        Returns:
            Its key, and the key of the parameter set that it depends on.
        """
        data = bytes(nal)
        kind = data[0] >> 1 & 63
        if len(self._seen) > _MOST_SETS:
            self._seen.clear()
        if data not in self._seen:
            self._seen[data] = _read_set(data, kind)
        match self._seen[data]:
            case (key, int(_)):
                return ("vps", key), None
            case (key, Sps() as sps):
                self.sps[key] = sps
                return ("sps", key), ("vps", sps.vps)
            case (key, Pps() as pps):
                self.pps[key] = pps
                self.may_hide = self.may_hide or pps.has_output_flag
                return ("pps", key), ("sps", pps.sps)
        return data, None

    def slice(self, nal: memoryview) -> Slice | None:
        """Return the header of a picture's first slice; `None` if its sets are unknown."""
        try:
            return self._read_slice(nal)
        except EOFError:
            return None

    def _read_slice(self, nal: memoryview) -> Slice | None:
        """Return the header of a picture's first slice segment, up to its order count (7.3.6.1)."""
        kind = nal[0] >> 1 & 63
        bits = header_bits(nal, 2)
        bits.u(1)  # first_slice_segment_in_pic_flag
        drops_prior = _FIRST_IRAP <= kind <= _LAST_IRAP and bits.u(1) == 1
        pps = self.pps.get(bits.ue())
        sps = self.sps.get(pps.sps) if pps else None
        if pps is None or sps is None:
            return None
        bits.u(pps.extra_header_bits)
        bits.ue()  # slice_type
        shown = not pps.has_output_flag or bits.u(1) == 1
        if sps.separate_planes:
            bits.u(2)
        poc_lsb = 0 if kind in _IDR else bits.u(sps.poc_lsb_bits)
        return Slice(sps, shown, drops_prior, poc_lsb)


class HevcReader(HeaderReader):
    """Entry points are IRAP pictures; their leading pictures come before them in output."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `hvcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(b"")
        self._log = StateLog()
        self._row = -1
        self._at_start = True
        self._drops_rasl = False
        self._output = _OutputQueue(self._sets)
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
        has_picture = sets = False
        for nal in self._sets.units(data):
            kind = nal[0] >> 1 & 63
            if kind <= _LAST_SLICE_TYPE:
                if not has_picture:
                    has_picture = True
                    flags = self._read_picture(nal, kind)
                    self._output.add(self._row, nal, is_shown=flags & SHOWN > 0)
            elif kind in (_VPS, _SPS, _PPS):
                sets = self._note_set(nal, self._row) or sets
            elif kind in (_END_OF_SEQUENCE, _END_OF_BITSTREAM):
                self._at_start = True
                self._output.order.restart()
        return flags & ~DISPOSABLE | SETS if sets else flags

    @property
    def discarded(self) -> list[int]:
        """Rows of pictures that a decoder drops at a later entry point, before output."""
        return self._output.discarded

    @property
    def state_varies(self) -> bool:
        """Whether packets read so far change the parameter sets of the container."""
        return self._log.varies

    def state_before(self, row: int) -> bytes | None:
        """Return the parameter sets to put before a packet; `None` if there are too many."""
        units = self._log.before(row)
        return None if units is None else framed(units, self._sets.length_size)

    def _note_set(self, nal: memoryview, row: int) -> bool:
        unit = bytes(nal).rstrip(b"\0")
        if len(unit) < _HEADER:
            return False
        key, needs = self._sets.add(memoryview(unit))
        return self._log.note(row, key, unit, needs=needs)

    def _read_picture(self, nal: memoryview, kind: int) -> int:
        flags = SHOWN | (max(nal[1] & 7, 1) - 1) << LAYER_SHIFT
        if _FIRST_IRAP <= kind <= _LAST_IRAP:
            self._drops_rasl = kind in _BLA or (kind == _CRA and self._at_start)
            self._at_start = False
            flags |= ENTRY
        elif kind <= _LAST_SUB_LAYER_TYPE and kind % 2 == 0:
            flags |= DISPOSABLE
        if kind in _RASL and self._drops_rasl:
            return flags & ~SHOWN  # its references are gone: a decoder does not output it (8.1.3)
        if self._sets.may_hide:
            found = self._sets.slice(nal)
            if found and not found.shown:
                return flags & ~SHOWN
        return flags

    def read_heads(
        self,
        heads: Heads,
        lengths: NDArray[np.int64],
        *,
        key: NDArray[np.bool_],
        read: PacketBytes,
    ) -> NDArray[np.int64] | None:
        if self._sets.may_hide or not self._sets.length_size:
            return None
        found = first_slices(
            heads, lengths, length_size=self._sets.length_size, roles=_ROLES, read=read
        )
        if found is None:
            return None
        kind = found.first.astype(np.int64) >> 1 & 63
        irap = (kind >= _FIRST_IRAP) & (kind <= _LAST_IRAP)
        if np.any(irap != key) or self._may_drop(np.flatnonzero(irap)[1:].tolist(), read):
            return None
        flags = SHOWN | np.maximum((found.second & 7).astype(np.int64), 1) - 1 << LAYER_SHIFT
        flags[irap] |= ENTRY
        flags[(kind <= _LAST_SUB_LAYER_TYPE) & (kind % 2 == 0)] |= DISPOSABLE
        starts = np.isin(kind, _BLA)
        starts[np.flatnonzero(irap)[:1]] |= kind[irap][:1] == _CRA
        latest = np.maximum.accumulate(np.where(irap, np.arange(len(kind)), 0))
        flags[np.isin(kind, _RASL) & starts[latest]] &= ~SHOWN
        return flags

    def _may_drop(self, entries: list[int], read: PacketBytes) -> bool:
        """Return whether an entry point drops pictures that wait for output."""
        for row in entries:
            slices = (nal for nal in self._sets.units(read(row)) if nal[0] >> 1 & 63 <= _LAST_IRAP)
            first = next(slices, b"")
            if len(first) > _HEADER and first[_HEADER] & 0x40:
                return True
        return False


class _PictureOrder:
    """Counts pictures in output order (8.3.1)."""

    def __init__(self, sets: ParameterSets) -> None:
        self._sets = sets
        self._epoch = 0
        self._at_start = True
        self._anchor = (0, 0)  # msb and lsb of the picture that later counts are relative to

    def restart(self) -> None:
        """Begin a sequence at the next entry point."""
        self._at_start = True

    def begins_a_sequence(self, kind: int) -> bool:
        """Return whether counts restart at a picture of this type."""
        return kind in _IDR or kind in _BLA or (kind == _CRA and self._at_start)

    def place(self, nal: memoryview) -> tuple[int, int] | None:
        """Return the sequence of a picture and its count in it; `None` if unknown."""
        found = self._sets.slice(nal)
        if found is None:
            return None
        kind, lsb, wrap = nal[0] >> 1 & 63, found.poc_lsb, 1 << found.sps.poc_lsb_bits
        if self.begins_a_sequence(kind):
            self._epoch += 1
            msb = 0
        else:
            msb = poc_msb(lsb, *self._anchor, wrap)
        self._at_start = False
        is_leading = kind in _RADL or kind in _RASL
        is_disposable = kind <= _LAST_SUB_LAYER_TYPE and kind % 2 == 0
        if nal[1] & 7 == 1 and not is_leading and not is_disposable:
            self._anchor = (msb, lsb)
        return self._epoch, msb + lsb


class _OutputQueue:
    """Decoded pictures that wait for output (C.5.2).

    At a CRA picture after an end of sequence, a decoder drops the waiting pictures.
    """

    def __init__(self, sets: ParameterSets) -> None:
        self._sets = sets
        self.order = _PictureOrder(sets)
        self._waiting: list[tuple[int, int]] = []
        self._size: tuple[int, ...] = ()
        self.discarded: list[int] = []

    def add(self, row: int, nal: memoryview, *, is_shown: bool) -> None:
        """Add a decoded picture, and update the waiting, output and dropped ones."""
        begins = self.order.begins_a_sequence(kind := nal[0] >> 1 & 63)
        found, place = self._sets.slice(nal), self.order.place(nal)
        if found is None or place is None:
            self._waiting.clear()
            return
        if begins:
            is_same = kind == _CRA or found.sps.size == self._size
            if is_same and (kind == _CRA or found.drops_prior):
                self.discarded += [waiting for _, waiting in self._waiting]
            self._waiting.clear()
        self._size = found.sps.size
        if is_shown:
            insort(self._waiting, (place[1], row))
            del self._waiting[: -found.sps.most_waiting or len(self._waiting)]


class HevcOrder:
    """Output order by picture order count (8.3.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `hvcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(extradata)
        self._order = _PictureOrder(self._sets)
        self._latest = (0, 0)

    def ranks(self, packets: Iterable[memoryview]) -> list[int] | None:
        """Return the output rank of each packet; `None` if a picture's order is unknown."""
        return ranks_of_places(self._place(packet) for packet in packets)

    def _place(self, packet: memoryview) -> tuple[int, int] | None:
        has_picture = False
        place: tuple[int, int] | None = self._latest
        for nal in self._sets.units(packet):
            kind = nal[0] >> 1 & 63
            if kind <= _LAST_SLICE_TYPE and not has_picture:
                place, has_picture = self._order.place(nal), True
            elif kind in (_SPS, _PPS):
                self._sets.add(nal)
            elif kind in (_END_OF_SEQUENCE, _END_OF_BITSTREAM):
                self._order.restart()
        self._latest = place or self._latest
        return place


def _is_hvcc(extradata: bytes) -> bool:
    return len(extradata) > 22 and extradata[0] == 1


def _sets_of(extradata: bytes, length_size: int) -> Iterable[memoryview]:
    """Return the parameter sets of an `hvcC` record (ISO/IEC 14496-15, 8.3.3.1) or Annex B."""
    view = memoryview(extradata)
    if not length_size:
        units = (nal for nal in nal_units(view, 0) if len(nal) >= _HEADER)
        return [nal for nal in units if nal[0] >> 1 & 63 in (_VPS, _SPS, _PPS)]
    sets: list[memoryview] = []
    position = 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[position + 1 : position + 3], "big")
        position += 3
        for _ in range(count):
            if position >= len(extradata):
                break
            size = int.from_bytes(extradata[position : position + 2], "big")
            sets.append(view[position + 2 : position + 2 + size])
            position += 2 + size
    return [nal for nal in sets if len(nal) >= _HEADER and nal[0] >> 1 & 63 in (_VPS, _SPS, _PPS)]


def _read_set(data: bytes, kind: int) -> tuple[int, Sps | Pps | int] | None:
    """Return the id of a parameter set, and its fields."""
    bits = all_bits(data, 2)
    try:
        if kind == _VPS:
            return bits.u(4), 0
        return _read_sps(bits) if kind == _SPS else _read_pps(bits)
    except EOFError:
        return None


def _read_sps(bits: Bits) -> tuple[int, Sps]:
    vps = bits.u(4)
    sub_layers = bits.u(3)  # sps_max_sub_layers_minus1
    bits.u(1)  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(bits, sub_layers)
    key = bits.ue()
    separate_planes = bits.ue() == 3 and bits.u(1) == 1
    size = bits.ue(), bits.ue()
    if bits.u(1):  # conformance_window_flag
        for _ in range(4):
            bits.ue()
    bits.ue()  # bit_depth_luma_minus8
    bits.ue()  # bit_depth_chroma_minus8
    poc_lsb_bits = bits.ue() + 4
    if poc_lsb_bits > MOST_COUNT_BITS:
        raise EOFError
    held = most_waiting = 0
    for _ in range(sub_layers + 1 if bits.u(1) else 1):  # the last one holds for all layers
        held, most_waiting = bits.ue(), bits.ue()
        bits.ue()  # sps_max_latency_increase_plus1
    return key, Sps(vps, separate_planes, poc_lsb_bits, most_waiting, (*size, held))


def _skip_profile_tier_level(bits: Bits, sub_layers: int) -> None:
    """Skip profile, tier and level (7.3.3)."""
    bits.u(88)  # general profile
    bits.u(8)  # general_level_idc
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.u(88 * has_profile + 8 * has_level)


def _read_pps(bits: Bits) -> tuple[int, Pps]:
    key = bits.ue()
    sps = bits.ue()
    bits.u(1)  # dependent_slice_segments_enabled_flag
    return key, Pps(sps, bits.u(1) == 1, bits.u(3))
