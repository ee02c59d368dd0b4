"""Whether an H.264 picture starts its numbers again: memory_management_control_operation 5.

That stands at the end of a slice header, so all of the header is read (7.3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from frames_pipeline.bitstream.bits import Bits

_P, _B, _SP = 0, 1, 3
_RESET: Final = 5
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
    frames_only: bool
    separate_planes: bool
    has_chroma: bool


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


def resets_numbers(nal: memoryview, bits: Bits, form: HeaderForm, pps: Pps) -> bool:
    """Whether a reference picture's slice says that numbers start again behind it.

    Args:
        nal: The slice.
        bits: Its bits behind the first byte.
        form: From its sequence parameter set.
        pps: Its picture parameter set.
    """
    is_idr = nal[0] & 31 == _IDR
    if is_idr or not nal[0] & 0x60 or not pps.is_read:
        return False
    try:
        return _read_to_marking(bits, form, pps)
    except EOFError:
        return False


def _read_to_marking(bits: Bits, form: HeaderForm, pps: Pps) -> bool:
    bits.ue()  # first_mb_in_slice
    kind = bits.ue() % 5
    bits.ue()  # pic_parameter_set_id
    _skip_numbers(bits, form, pps)
    if pps.has_redundant:
        bits.ue()
    if kind == _B:
        bits.u(1)  # direct_spatial_mv_pred_flag
    counts = _read_counts(bits, kind, pps)
    for _ in counts:
        _skip_changes_of_list(bits)
    if (pps.weighted and kind in (_P, _SP)) or (pps.weighted_both and kind == _B):
        _skip_weights(bits, counts, has_chroma=form.has_chroma)
    return _has_reset(bits)


def _skip_numbers(bits: Bits, form: HeaderForm, pps: Pps) -> None:
    if form.separate_planes:
        bits.u(2)
    bits.u(form.frame_num_bits)
    is_field = not form.frames_only and bits.u(1) == 1
    if is_field:
        bits.u(1)  # bottom_field_flag
    has_second = pps.has_poc_delta and not is_field
    if form.poc_type == 0:
        bits.u(form.poc_lsb_bits)
        if has_second:
            bits.se()
    if form.has_delta:
        bits.se()
        if has_second:
            bits.se()


def _read_counts(bits: Bits, kind: int, pps: Pps) -> list[int]:
    """How many pictures each list has that the slice uses."""
    lists = {_P: 1, _SP: 1, _B: 2}.get(kind, 0)
    if lists and bits.u(1):  # num_ref_idx_active_override_flag
        return [bits.ue() + 1 for _ in range(lists)]
    return list(pps.references[:lists])


def _skip_changes_of_list(bits: Bits) -> None:
    if bits.u(1):
        while bits.ue() != 3:  # modification_of_pic_nums_idc
            bits.ue()


def _skip_weights(bits: Bits, counts: list[int], *, has_chroma: bool) -> None:
    bits.ue()  # luma_log2_weight_denom
    if has_chroma:
        bits.ue()
    for count in counts:
        for _ in range(count):
            for values in (2, 4) if has_chroma else (2,):
                if bits.u(1):
                    for _ in range(values):
                        bits.se()


def _has_reset(bits: Bits) -> bool:
    """Whether operation 5 is among those that mark references (7.3.3.3)."""
    if not bits.u(1):  # adaptive_ref_pic_marking_mode_flag
        return False
    found = False
    while operation := bits.ue():
        found = found or operation == _RESET
        for _ in range({1: 1, 2: 1, 3: 2, 4: 1, 6: 1}.get(operation, 0)):
            bits.ue()
    return found
