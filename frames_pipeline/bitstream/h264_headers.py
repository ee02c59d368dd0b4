"""H.264 parameter sets and slice headers (ITU-T H.264, 7.3.2 and 7.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.coded_picture import CodedPicture, read_h264_picture
from frames_pipeline.bitstream.order import MOST_COUNT_BITS

P, B, SP = 0, 1, 3
RESET: Final = 5
"""memory_management_control_operation 5: frame numbers restart."""
IDR: Final = 5
"""nal_unit_type of a slice of an IDR picture."""
_NO_CHROMA_PROFILES: Final = (66, 77, 88)
"""Profiles without a chroma format in the sequence parameter set (7.3.2.1.1)."""
_MOST_OFFSETS: Final = 255
"""Maximum of num_ref_frames_in_pic_order_cnt_cycle (7.4.2.1.1)."""


@dataclass(frozen=True, slots=True)
class Sps:
    """The fields of a sequence parameter set that slice headers and picture order depend on."""

    frame_num_bits: int
    poc_type: int
    poc_lsb_bits: int
    has_poc_deltas: bool
    """Whether slice headers have differences of order counts (type 1)."""
    most_references: int
    """Size of the reference picture buffer (max_num_ref_frames)."""
    may_skip_numbers: bool
    """Whether gaps in frame_num are allowed, for streams with pictures removed on purpose."""
    frames_only: bool
    """Whether there are no field pictures."""
    is_444: bool
    separate_planes: bool
    has_chroma: bool
    """Whether ChromaArrayType is not 0."""
    picture: CodedPicture
    """Format of the samples."""


@dataclass(frozen=True, slots=True)
class Pps:
    """The fields of a picture parameter set that slice headers depend on."""

    sps: int
    has_poc_delta: bool = False
    """bottom_field_pic_order_in_frame_present_flag."""
    references: tuple[int, int] = (1, 1)
    """Default lengths of reference lists 0 and 1."""
    weighted: bool = False
    """Whether P slices have weights."""
    weighted_both: bool = False
    """Whether B slices have weights."""
    has_redundant: bool = False
    is_read: bool = False
    """Whether the set was read to its end."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The start of a slice header: the fields that place its picture."""

    idr: bool
    reference: bool
    frame_num: int
    field: int
    """0: a frame; 1: a top field; 2: a bottom field."""
    poc_lsb: int

    def is_completed_by(self, other: Slice) -> bool:
        """Return whether another field completes this frame (h264_slice.c, h264_field_start)."""
        if other.field == self.field:
            return False
        if other.idr:
            return self.idr
        return (other.frame_num, other.reference) == (self.frame_num, self.reference)


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """A whole slice header."""

    start: Slice
    kind: int
    """slice_type, from 0 to 4."""
    counts: tuple[int, ...]
    """Length of each reference list."""
    changes: tuple[tuple[tuple[int, int], ...], ...]
    """Changes of each reference list: modification_of_pic_nums_idc, and its value."""
    marking: tuple[tuple[int, int], ...]
    """Marking operations, each with its first value; empty for the sliding window."""


def read_sps(bits: Bits) -> tuple[int, Sps]:
    """Return the id of a sequence parameter set, and its fields (7.3.2.1.1)."""
    profile = bits.u(8)
    bits.u(16)  # constraint flags, level
    key = bits.ue()
    chroma, separate_planes, bit_depth = 1, False, 8
    if profile not in _NO_CHROMA_PROFILES:
        chroma = bits.ue()  # chroma_format_idc
        separate_planes = chroma == 3 and bits.u(1) == 1
        bit_depth = bits.ue() + 8
        bits.ue()  # bit_depth_chroma_minus8
        bits.u(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.u(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    frame_num_bits = bits.ue() + 4
    poc_type = bits.ue()
    poc_lsb_bits = bits.ue() + 4 if poc_type == 0 else 0
    if max(frame_num_bits, poc_lsb_bits) > MOST_COUNT_BITS:
        raise EOFError
    has_poc_deltas = poc_type == 1 and _read_poc_cycle(bits)
    most_references = bits.ue()  # max_num_ref_frames
    may_skip_numbers = bits.u(1) == 1
    bits.ue()  # pic_width_in_mbs_minus1
    bits.ue()  # pic_height_in_map_units_minus1
    frames_only = bits.u(1) == 1
    return key, Sps(
        frame_num_bits=frame_num_bits,
        poc_type=poc_type,
        poc_lsb_bits=poc_lsb_bits,
        has_poc_deltas=has_poc_deltas,
        most_references=most_references,
        may_skip_numbers=may_skip_numbers,
        frames_only=frames_only,
        is_444=chroma == 3,
        separate_planes=separate_planes,
        has_chroma=chroma != 0 and not separate_planes,
        picture=read_h264_picture(
            bits, bit_depth=bit_depth, chroma=chroma, frames_only=frames_only
        ),
    )


def _read_poc_cycle(bits: Bits) -> bool:
    """Skip the cycle of order counts of type 1; return whether slices have differences."""
    has_deltas = bits.u(1) == 0  # delta_pic_order_always_zero_flag
    bits.se()  # offset_for_non_ref_pic
    bits.se()  # offset_for_top_to_bottom_field
    for _ in range(min(bits.ue(), _MOST_OFFSETS)):
        bits.se()  # offset_for_ref_frame
    return has_deltas


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    """Skip scaling lists (7.3.2.1.1.1)."""
    for index in range(count):
        if not bits.u(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def read_pps(bits: Bits) -> tuple[int, Pps]:
    """Return the id of a picture parameter set, and its fields (7.3.2.2)."""
    key, sps = bits.ue(), bits.ue()
    try:
        return key, _read_rest(bits, sps)
    except EOFError:
        return key, Pps(sps)


def _read_rest(bits: Bits, sps: int) -> Pps:
    bits.u(1)  # entropy_coding_mode_flag
    has_poc_delta = bits.u(1) == 1
    if bits.ue():  # slice groups
        return Pps(sps)
    references = bits.ue() + 1, bits.ue() + 1
    weighted, weighted_both = bits.u(1) == 1, bits.u(2) == 1
    for _ in range(3):
        bits.se()  # quantisers
    bits.u(2)  # deblocking control, constrained intra prediction
    return Pps(
        sps, has_poc_delta, references, weighted, weighted_both, bits.u(1) == 1, is_read=True
    )


def read_start(header: int, bits: Bits, sps: Sps) -> Slice:
    """Read a slice header after its parameter set id, up to the order count (7.3.3).

    Args:
        header: First byte of the NAL unit.
        bits: The bits after pic_parameter_set_id.
        sps: The sequence parameter set of the slice.
    """
    if sps.separate_planes:
        bits.u(2)
    frame_num = bits.u(sps.frame_num_bits)
    field = 0
    if not sps.frames_only and bits.u(1):
        field = 1 + bits.u(1)
    idr = header & 31 == IDR
    if idr:
        bits.ue()  # idr_pic_id
    lsb = bits.u(sps.poc_lsb_bits) if sps.poc_type == 0 else 0
    return Slice(idr, bool(header & 0x60), frame_num, field, lsb)


def read_header(header: int, bits: Bits, sps: Sps, pps: Pps) -> SliceHeader | None:
    """Read a whole slice header; return `None` if its parameter set could not be read.

    Args:
        header: First byte of the NAL unit.
        bits: The bits after that byte.
        sps: The sequence parameter set of the slice.
        pps: The picture parameter set of the slice.

    Raises:
        EOFError: The header is longer than the bits.
    """
    if not pps.is_read:
        return None
    bits.ue()  # first_mb_in_slice
    kind = bits.ue() % 5
    bits.ue()  # pic_parameter_set_id
    start = read_start(header, bits, sps)
    _skip_poc_deltas(bits, sps, pps, is_frame=not start.field)
    if pps.has_redundant:
        bits.ue()
    if kind == B:
        bits.u(1)  # direct_spatial_mv_pred_flag
    counts = _read_counts(bits, kind, pps)
    changes = tuple(_read_changes_of_list(bits) for _ in counts)
    if (pps.weighted and kind in (P, SP)) or (pps.weighted_both and kind == B):
        _skip_weights(bits, counts, has_chroma=sps.has_chroma)
    marking = _read_marking(bits) if start.reference and not start.idr else ()
    return SliceHeader(start, kind, counts, changes, marking)


def _skip_poc_deltas(bits: Bits, sps: Sps, pps: Pps, *, is_frame: bool) -> None:
    has_second = pps.has_poc_delta and is_frame
    if sps.poc_type == 0 and has_second:
        bits.se()
    if sps.has_poc_deltas:
        bits.se()
        if has_second:
            bits.se()


def _read_counts(bits: Bits, kind: int, pps: Pps) -> tuple[int, ...]:
    """Return the length of each reference list of a slice."""
    lists = {P: 1, SP: 1, B: 2}.get(kind, 0)
    if lists and bits.u(1):  # num_ref_idx_active_override_flag
        return tuple(bits.ue() + 1 for _ in range(lists))
    return pps.references[:lists]


def _read_changes_of_list(bits: Bits) -> tuple[tuple[int, int], ...]:
    changes: list[tuple[int, int]] = []
    if bits.u(1):
        while (operation := bits.ue()) != 3:  # modification_of_pic_nums_idc
            changes.append((operation, bits.ue()))
    return tuple(changes)


def _skip_weights(bits: Bits, counts: tuple[int, ...], *, has_chroma: bool) -> None:
    bits.ue()  # luma_log2_weight_denom
    if has_chroma:
        bits.ue()
    for count in counts:
        for _ in range(count):
            for values in (2, 4) if has_chroma else (2,):
                if bits.u(1):
                    for _ in range(values):
                        bits.se()


def _read_marking(bits: Bits) -> tuple[tuple[int, int], ...]:
    """Return the marking operations of a reference picture (7.3.3.3)."""
    operations: list[tuple[int, int]] = []
    if bits.u(1):  # adaptive_ref_pic_marking_mode_flag
        while operation := bits.ue():
            values = [bits.ue() for _ in range({1: 1, 2: 1, 3: 2, 4: 1, 6: 1}.get(operation, 0))]
            operations.append((operation, values[0] if values else 0))
    return tuple(operations)
