"""HEVC: entry points, leading pictures, disposable pictures, picture order (ITU-T H.265)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.bits import Bits, all_bits, header_bits, nal_units
from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, LAYER_SHIFT, SHOWN
from frames_pipeline.bitstream.h264 import poc_msb
from frames_pipeline.bitstream.heads import Heads, first_slices, roles

_RADL = (6, 7)
_RASL = (8, 9)
_LAST_SUB_LAYER_TYPE: Final = 14
"""Below and at this type, even types are pictures that their own sub-layer does not refer to."""
_FIRST_IRAP, _LAST_IRAP = 16, 23
_BLA: Final = (16, 17, 18)
_IDR: Final = (19, 20)
_CRA = 21
_LAST_SLICE_TYPE = 31
_SPS, _PPS = 33, 34
_MOST_SETS: Final = 1024
"""Parameter sets of which it is remembered what they say."""
_NONE: Final = 64
"""Stands for the type of a unit that is too short to have one."""
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
    """What a sequence parameter set says of slice headers."""

    separate_planes: bool
    poc_lsb_bits: int


@dataclass(frozen=True, slots=True)
class Pps:
    """What a picture parameter set says of slice headers."""

    sps: int
    has_output_flag: bool
    extra_header_bits: int


class ParameterSets:
    """The parameter sets seen so far, from extradata and in band."""

    def __init__(self, extradata: bytes) -> None:
        """Read the sets of an `hvcC` record, or of Annex B extradata."""
        self.length_size = extradata[21] % 4 + 1 if _is_hvcc(extradata) else 0
        self.sps: dict[int, Sps] = {}
        self.pps: dict[int, Pps] = {}
        self._seen: dict[bytes, tuple[int, Sps | Pps] | None] = {}
        """What each set says; later ones take the place of earlier ones, and may come back."""
        self.may_hide = False
        """Whether slice headers say if their picture is output."""
        for nal in _sets_of(extradata, self.length_size):
            self.add(nal)

    def add(self, nal: memoryview) -> None:
        """Take in a parameter set; one that cannot be read is left to the decoder."""
        data = bytes(nal)
        kind = data[0] >> 1 & 63
        if kind not in (_SPS, _PPS):
            return
        if len(self._seen) > _MOST_SETS:
            self._seen.clear()
        if data not in self._seen:
            self._seen[data] = _read_set(data, kind)
        match self._seen[data]:
            case (key, Sps() as sps):
                self.sps[key] = sps
            case (key, Pps() as pps):
                self.pps[key] = pps
                self.may_hide = self.may_hide or pps.has_output_flag

    def slice(self, nal: memoryview) -> tuple[bool, int] | None:
        """Whether a picture is output, and the low part of its order count; `None`: unknown."""
        try:
            return self._read_slice(nal)
        except EOFError:
            return None

    def _read_slice(self, nal: memoryview) -> tuple[bool, int] | None:
        """The header of a picture's first slice segment, up to its order count (7.3.6.1)."""
        kind = nal[0] >> 1 & 63
        bits = header_bits(nal, 2)
        bits.u(1)  # first_slice_segment_in_pic_flag
        if _FIRST_IRAP <= kind <= _LAST_IRAP:
            bits.u(1)  # no_output_of_prior_pics_flag
        pps = self.pps.get(bits.ue())
        sps = self.sps.get(pps.sps) if pps else None
        if pps is None or sps is None:
            return None
        bits.u(pps.extra_header_bits)
        bits.ue()  # slice_type
        shown = not pps.has_output_flag or bits.u(1) == 1
        if sps.separate_planes:
            bits.u(2)
        return shown, 0 if kind in _IDR else bits.u(sps.poc_lsb_bits)


class HevcReader:
    """Entry points are the IRAP pictures; their leading pictures come before them in output."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `hvcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(extradata)
        self._at_start = True
        self._drops_rasl = False

    def read(self, data: memoryview, *, key: bool) -> int:
        has_sets = False
        for nal in nal_units(data, self._sets.length_size):
            kind = nal[0] >> 1 & 63 if len(nal) > 1 else _NONE
            if kind <= _LAST_SLICE_TYPE:
                flags = self._read_picture(nal, kind)
                return flags & ~DISPOSABLE if has_sets else flags
            if kind in (_SPS, _PPS):
                self._sets.add(nal)
                has_sets = True  # which later pictures may use
            elif kind in (_END_OF_SEQUENCE, _END_OF_BITSTREAM):
                self._at_start = True
        return 0  # parameter sets or filler alone: no picture

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
            if found and not found[0]:
                return flags & ~SHOWN
        return flags

    def read_heads(
        self,
        heads: Heads,
        lengths: NDArray[np.int64],
        *,
        key: NDArray[np.bool_],
        whole: Callable[[int], memoryview],
    ) -> NDArray[np.int64] | None:
        if self._sets.may_hide or not self._sets.length_size:
            return None
        found = first_slices(
            heads, lengths, length_size=self._sets.length_size, roles=_ROLES, whole=whole
        )
        if found is None:
            return None
        kind = found.first.astype(np.int64) >> 1 & 63
        irap = (kind >= _FIRST_IRAP) & (kind <= _LAST_IRAP)
        if np.any(irap != key):
            return None
        flags = SHOWN | np.maximum((found.second & 7).astype(np.int64), 1) - 1 << LAYER_SHIFT
        flags[irap] |= ENTRY
        flags[(kind <= _LAST_SUB_LAYER_TYPE) & (kind % 2 == 0)] |= DISPOSABLE
        starts = np.isin(kind, _BLA)
        starts[np.flatnonzero(irap)[:1]] |= kind[irap][:1] == _CRA
        latest = np.maximum.accumulate(np.where(irap, np.arange(len(kind)), 0))
        flags[np.isin(kind, _RASL) & starts[latest]] &= ~SHOWN
        return flags


class HevcOrder:
    """Output order by picture order count (8.3.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `hvcC` record or Annex B parameter sets."""
        self._sets = ParameterSets(extradata)
        self._epoch = 0
        self._at_start = True
        self._anchor = (0, 0)  # msb and lsb of the last picture that later ones count from

    def ranks(self, packets: Iterable[memoryview]) -> list[int] | None:
        """A sort key per packet, or `None` where a picture's order cannot be told."""
        keys: list[tuple[int, int, int]] = []
        for row, packet in enumerate(packets):
            order = self._order(packet, row)
            if order is None:
                return None
            keys.append((*order, row))
        ranks = [0] * len(keys)
        for rank, (_, _, row) in enumerate(sorted(keys)):
            ranks[row] = rank
        return ranks

    def _order(self, packet: memoryview, row: int) -> tuple[int, int] | None:
        for nal in nal_units(packet, self._sets.length_size):
            kind = nal[0] >> 1 & 63 if len(nal) > 1 else _NONE
            if kind <= _LAST_SLICE_TYPE:
                found = self._sets.slice(nal)
                return self._poc(nal, kind, found[1]) if found else None
            if kind in (_SPS, _PPS):
                self._sets.add(nal)
            elif kind in (_END_OF_SEQUENCE, _END_OF_BITSTREAM):
                self._at_start = True
        return self._epoch, row

    def _poc(self, nal: memoryview, kind: int, lsb: int) -> tuple[int, int] | None:
        bits = self._lsb_bits(nal)
        if kind in _IDR or kind in _BLA or (kind == _CRA and self._at_start):
            self._epoch += 1
            msb = 0
        else:
            msb = poc_msb(lsb, *self._anchor, 1 << bits)
        self._at_start = False
        is_leading = kind in _RADL or kind in _RASL
        is_disposable = kind <= _LAST_SUB_LAYER_TYPE and kind % 2 == 0
        if nal[1] & 7 == 1 and not is_leading and not is_disposable:
            self._anchor = (msb, lsb)
        return self._epoch, msb + lsb

    def _lsb_bits(self, nal: memoryview) -> int:
        bits = header_bits(nal, 2)
        bits.u(1)
        if _FIRST_IRAP <= nal[0] >> 1 & 63 <= _LAST_IRAP:
            bits.u(1)
        return self._sets.sps[self._sets.pps[bits.ue()].sps].poc_lsb_bits


def _is_hvcc(extradata: bytes) -> bool:
    return len(extradata) > 22 and extradata[0] == 1


def _sets_of(extradata: bytes, length_size: int) -> Iterable[memoryview]:
    """The parameter sets of an `hvcC` record (ISO/IEC 14496-15, 8.3.3.1) or Annex B extradata."""
    view = memoryview(extradata)
    if not length_size:
        return [nal for nal in nal_units(view, 0) if len(nal) > 1]
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
    return [nal for nal in sets if len(nal) > 1]


def _read_set(data: bytes, kind: int) -> tuple[int, Sps | Pps] | None:
    """The id of a parameter set, and what it says."""
    bits = all_bits(data, 2)
    try:
        return _read_sps(bits) if kind == _SPS else _read_pps(bits)
    except EOFError:
        return None


def _read_sps(bits: Bits) -> tuple[int, Sps]:
    bits.u(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)  # sps_max_sub_layers_minus1
    bits.u(1)  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(bits, sub_layers)
    key = bits.ue()
    separate_planes = bits.ue() == 3 and bits.u(1) == 1
    bits.ue()  # pic_width_in_luma_samples
    bits.ue()  # pic_height_in_luma_samples
    if bits.u(1):  # conformance_window_flag
        for _ in range(4):
            bits.ue()
    bits.ue()  # bit_depth_luma_minus8
    bits.ue()  # bit_depth_chroma_minus8
    return key, Sps(separate_planes, bits.ue() + 4)


def _skip_profile_tier_level(bits: Bits, sub_layers: int) -> None:
    """Pass over profile, tier and level (7.3.3)."""
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
