"""The header of an H.264 slice: which pictures it may refer to, which are kept (7.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from frames_pipeline.bitstream.bits import Bits

P, B, SP = 0, 1, 3
RESET: Final = 5
"""memory_management_control_operation 5: numbers start again."""
_IDR: Final = 5


@dataclass(frozen=True, slots=True)
class Pps:
    """What a picture parameter set says of slice headers."""

    sps: int
    has_poc_delta: bool = False
    """bottom_field_pic_order_in_frame_present_flag."""
    references: tuple[int, int] = (1, 1)
    """How many pictures lists 0 and 1 have where a slice does not say."""
    weighted: bool = False
    """P slices have weights."""
    weighted_both: bool = False
    """B slices have weights."""
    has_redundant: bool = False
    is_read: bool = False
    """All of this could be read."""


@dataclass(frozen=True, slots=True)
class HeaderForm:
    """What a sequence parameter set says of slice headers, beside its `Sps`."""

    frame_num_bits: int
    poc_type: int
    poc_lsb_bits: int
    has_delta: bool
    """Picture order counts of type 1 come with differences."""
    most_references: int
    """Pictures that a decoder keeps to refer to."""
    frames_only: bool
    separate_planes: bool
    has_chroma: bool


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The header of a slice."""

    kind: int
    """slice_type, from 0 to 4."""
    is_reference: bool
    """Others may be predicted from its picture."""
    is_field: bool
    frame_num: int
    poc_lsb: int
    counts: tuple[int, ...]
    """How many pictures each of its lists has."""
    changes: tuple[tuple[tuple[int, int], ...], ...]
    """How each list is changed: modification_of_pic_nums_idc, and its value."""
    marking: tuple[tuple[int, int], ...]
    """Operations on kept pictures, each with its first value; empty where the oldest one goes."""


def read_pps(bits: Bits) -> tuple[int, Pps]:
    """The id of a picture parameter set, and what it says (7.3.2.2)."""
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


def read_header(nal: memoryview, bits: Bits, form: HeaderForm, pps: Pps) -> SliceHeader | None:
    """The header of a slice, or `None` where it cannot be read in full.

    Args:
        nal: The slice.
        bits: Its bits behind the first byte.
        form: From its sequence parameter set.
        pps: Its picture parameter set.
    """
    if not pps.is_read:
        return None
    try:
        return _read(bits, form, pps, reference=bool(nal[0] & 0x60), idr=nal[0] & 31 == _IDR)
    except EOFError:
        return None


def _read(bits: Bits, form: HeaderForm, pps: Pps, *, reference: bool, idr: bool) -> SliceHeader:
    bits.ue()  # first_mb_in_slice
    kind = bits.ue() % 5
    bits.ue()  # pic_parameter_set_id
    frame_num, is_field, poc_lsb = _read_numbers(bits, form, pps, idr=idr)
    if pps.has_redundant:
        bits.ue()
    if kind == B:
        bits.u(1)  # direct_spatial_mv_pred_flag
    counts = _read_counts(bits, kind, pps)
    changes = tuple(_read_changes_of_list(bits) for _ in counts)
    if (pps.weighted and kind in (P, SP)) or (pps.weighted_both and kind == B):
        _skip_weights(bits, counts, has_chroma=form.has_chroma)
    marking = _read_marking(bits) if reference and not idr else ()
    return SliceHeader(kind, reference, is_field, frame_num, poc_lsb, counts, changes, marking)


def _read_numbers(bits: Bits, form: HeaderForm, pps: Pps, *, idr: bool) -> tuple[int, bool, int]:
    """frame_num, whether it is a field, and the low part of the order count."""
    if form.separate_planes:
        bits.u(2)
    frame_num = bits.u(form.frame_num_bits)
    is_field = not form.frames_only and bits.u(1) == 1
    if is_field:
        bits.u(1)  # bottom_field_flag
    if idr:
        bits.ue()  # idr_pic_id
    has_second = pps.has_poc_delta and not is_field
    poc_lsb = 0
    if form.poc_type == 0:
        poc_lsb = bits.u(form.poc_lsb_bits)
        if has_second:
            bits.se()
    if form.has_delta:
        bits.se()
        if has_second:
            bits.se()
    return frame_num, is_field, poc_lsb


def _read_counts(bits: Bits, kind: int, pps: Pps) -> tuple[int, ...]:
    """How many pictures each list has that the slice uses."""
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
    """What becomes of the pictures that are kept (7.3.3.3)."""
    operations: list[tuple[int, int]] = []
    if bits.u(1):  # adaptive_ref_pic_marking_mode_flag
        while operation := bits.ue():
            values = [bits.ue() for _ in range({1: 1, 2: 1, 3: 2, 4: 1, 6: 1}.get(operation, 0))]
            operations.append((operation, values[0] if values else 0))
    return tuple(operations)
