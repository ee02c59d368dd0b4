"""AV1: key frames, hidden frames, frames that update no reference (AV1 specification, 5.5, 5.9)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME, _INTRA_ONLY_FRAME, _SWITCH_FRAME = 0, 2, 3
_SELECT: Final = 2
"""A tool that each frame header switches on or off (SELECT_SCREEN_CONTENT_TOOLS, …)."""
_SHOW: Final = 0x90
"""show_existing_frame, and show_frame where that is 0, in the first byte of a frame header."""
_SLOTS: Final = 8
_ALL_SLOTS: Final = 0xFF
_TILE_GROUP, _REDUNDANT_FRAME_HEADER = 4, 7
_HEADER: Final = 64
"""Bytes that contain all header fields read here."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The fields of a sequence header that frame headers depend on."""

    reduced_still_picture: bool = False
    equal_picture_interval: bool = False
    has_decoder_model: bool = False
    buffer_removal_bits: int = 0
    presentation_bits: int = 0
    operating_points: tuple[tuple[int, bool], ...] = ()
    """Per operating point: its idc, and whether it has a decoder model."""
    frame_id_bits: int = 0
    order_hint_bits: int = 0
    screen_content: int = _SELECT
    integer_mv: int = _SELECT


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The fields of a frame header that decide references and output."""

    shown: bool
    key: bool = False
    repeated: bool = False
    """Whether the frame was decoded earlier and is shown now."""
    refresh: int = 0
    """One bit per reference slot that the frame goes into."""
    refers: tuple[int, ...] = ()
    """Slots that the frame may be predicted from, probabilities and motion included."""


class Av1Reader(HeaderReader):
    """Entry points are shown key frames with their sequence header in band or in extradata."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's `av1C` record (its OBUs follow four bytes), or none."""
        self._sequence: Sequence | None = None
        self._slots: list[tuple[int, bool] | None] = [None] * _SLOTS
        """By slot, the packet of its frame, and whether that is a key frame."""
        self.references: list[tuple[int, ...]] | None = []
        """By packet, the packets that its frames are predicted from; `None` after a header that
        could not be read."""
        self._sequence_bytes = b""
        self._has_sequence = False
        with contextlib.suppress(EOFError):
            list(self._frames(memoryview(extradata[4:])))
        self._configured = self._sequence_bytes

    def read(self, data: memoryview, *, key: bool) -> int:
        self._has_sequence = False
        try:
            frames = list(self._frames(data))
        except EOFError:
            self.references = None
            return SHOWN
        self._note(frames)
        if not any(frame.shown for frame in frames):
            return 0
        if any(frame.key and frame.shown for frame in frames[:1]) and self._is_configured():
            return SHOWN | ENTRY
        only = frames[0]
        if len(frames) == 1 and not only.repeated and not only.refresh:
            return SHOWN | DISPOSABLE
        return SHOWN

    def _is_configured(self) -> bool:
        """Return whether a decoder that begins here has the current sequence header."""
        return self._has_sequence or self._sequence_bytes == self._configured

    def _note(self, frames: list[FrameHeader]) -> None:
        """Record the packets of the frames in the slots."""
        if self.references is None:
            return
        row, needs = len(self.references), set[int]()
        for frame in frames:
            held = [found for slot in frame.refers if (found := self._slots[slot])]
            needs.update(packet for packet, _ in held)
            key, refresh = frame.key, frame.refresh
            if frame.repeated and any(is_key for _, is_key in held):
                key, refresh = True, _ALL_SLOTS  # showing a key frame refreshes all slots (7.21)
            for slot in range(_SLOTS):
                if refresh >> slot & 1:
                    self._slots[slot] = (row, key)
        self.references.append(tuple(needs - {row}))

    def _frames(self, data: memoryview) -> Iterator[FrameHeader]:
        for kind, extension, payload, _ in _obus(data):
            if kind == _SEQUENCE_HEADER:
                self._sequence = _read_sequence(Bits(bytes(payload)))
                self._sequence_bytes, self._has_sequence = bytes(payload), True
            elif kind in (_FRAME_HEADER, _FRAME) and self._sequence is not None:
                yield _read_frame(Bits(bytes(payload[:_HEADER])), self._sequence, extension)


def frame_ends(data: memoryview) -> list[int]:
    """Return the ends of the parts of a packet, one frame in each.

    A packet with spatial layers, or with frames after the shown one, stays whole.
    """
    whole, ends, is_shown = [len(data)], list[int](), False
    try:
        for kind, (_, spatial), payload, end in _obus(data):
            if spatial or end > len(data):
                return whole
            if kind in (_FRAME_HEADER, _FRAME):
                if is_shown or not payload:
                    return whole
                ends.append(end)
                is_shown = payload[0] & _SHOW != 0
            elif kind in (_TILE_GROUP, _REDUNDANT_FRAME_HEADER) and ends:
                ends[-1] = end
    except EOFError:
        return whole
    return ends[:-1] + whole


def _obus(data: memoryview) -> Iterator[tuple[int, tuple[int, int], memoryview, int]]:
    """Yield type, (temporal id, spatial id), payload and end of each OBU (5.3)."""
    position = 0
    while position < len(data):
        header = data[position]
        position += 1
        temporal = spatial = 0
        if header & 4:
            if position >= len(data):
                return
            temporal, spatial = data[position] >> 5, data[position] >> 3 & 3
            position += 1
        size = len(data) - position
        if header & 2:
            size, position = _leb128(data, position)
        payload, position = data[position : position + size], position + size
        yield header >> 3 & 15, (temporal, spatial), payload, position


def _leb128(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        if position >= len(data):
            raise EOFError
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * i
        if not byte & 0x80:
            break
    return value, position


def _read_sequence(bits: Bits) -> Sequence:
    """Return a sequence header up to its order hints (5.5.1)."""
    bits.u(3)  # seq_profile
    bits.u(1)  # still_picture
    if bits.u(1):
        return Sequence(reduced_still_picture=True)
    equal_interval = has_model = False
    delay_bits = removal_bits = presentation_bits = 0
    if bits.u(1):  # timing_info_present_flag
        bits.u(64)  # num_units_in_display_tick, time_scale
        equal_interval = bits.u(1) == 1
        if equal_interval:
            bits.ue()  # num_ticks_per_picture_minus_1
        has_model = bits.u(1) == 1
        if has_model:
            delay_bits = bits.u(5) + 1
            bits.u(32)  # num_units_in_decoding_tick
            removal_bits = bits.u(5) + 1
            presentation_bits = bits.u(5) + 1
    points = _read_operating_points(bits, delay_bits if has_model else 0)
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    bits.u(width_bits + height_bits)
    frame_id_bits = 0
    if bits.u(1):  # frame_id_numbers_present_flag
        delta_bits = bits.u(4) + 2
        frame_id_bits = bits.u(3) + delta_bits + 1
    bits.u(3)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    bits.u(4)  # interintra, masked compound, warped motion, dual filter
    order_hint = bits.u(1)
    if order_hint:
        bits.u(2)  # enable_jnt_comp, enable_ref_frame_mvs
    screen_content = _SELECT if bits.u(1) else bits.u(1)
    integer_mv = _SELECT
    if screen_content and not bits.u(1):
        integer_mv = bits.u(1)
    return Sequence(
        equal_picture_interval=equal_interval,
        has_decoder_model=has_model,
        buffer_removal_bits=removal_bits,
        presentation_bits=presentation_bits,
        operating_points=points,
        frame_id_bits=frame_id_bits,
        order_hint_bits=bits.u(3) + 1 if order_hint else 0,
        screen_content=screen_content,
        integer_mv=integer_mv,
    )


def _read_operating_points(bits: Bits, delay_bits: int) -> tuple[tuple[int, bool], ...]:
    initial_display_delay = bits.u(1)
    points: list[tuple[int, bool]] = []
    for _ in range(bits.u(5) + 1):
        idc = bits.u(12)
        if bits.u(5) > 7:  # seq_level_idx
            bits.u(1)  # seq_tier
        has_model = bool(delay_bits) and bits.u(1) == 1
        if has_model:
            bits.u(2 * delay_bits + 1)
        if initial_display_delay and bits.u(1):
            bits.u(4)
        points.append((idc, has_model))
    return tuple(points)


def _read_frame(bits: Bits, sequence: Sequence, layer: tuple[int, int]) -> FrameHeader:
    """Return a frame header up to its reference slots (5.9.2)."""
    if sequence.reduced_still_picture:
        return FrameHeader(shown=True, key=True, refresh=_ALL_SLOTS)
    if bits.u(1):  # show_existing_frame
        return FrameHeader(shown=True, repeated=True, refers=(bits.u(3),))
    kind = bits.u(2)
    shown = bits.u(1) == 1
    if shown and sequence.has_decoder_model and not sequence.equal_picture_interval:
        bits.u(sequence.presentation_bits)
    if not shown:
        bits.u(1)  # showable_frame
    if kind == _KEY_FRAME and shown:
        return FrameHeader(shown=True, key=True, refresh=_ALL_SLOTS)
    if kind == _SWITCH_FRAME:
        return FrameHeader(shown=shown, refresh=_ALL_SLOTS, refers=tuple(range(_SLOTS)))
    resilient = bits.u(1)
    bits.u(1)  # disable_cdf_update
    screen_content = bits.u(1) if sequence.screen_content == _SELECT else sequence.screen_content
    if screen_content and sequence.integer_mv == _SELECT:
        bits.u(1)  # force_integer_mv
    bits.u(sequence.frame_id_bits)
    bits.u(1)  # frame_size_override_flag
    bits.u(sequence.order_hint_bits)
    is_intra = kind in (_KEY_FRAME, _INTRA_ONLY_FRAME)
    if not is_intra and not resilient:
        bits.u(3)  # primary_ref_frame
    if sequence.has_decoder_model and bits.u(1):
        _skip_buffer_removal_times(bits, sequence, layer)
    refresh = bits.u(_SLOTS)
    refers = () if is_intra else _read_references(bits, sequence, resilient=resilient == 1)
    return FrameHeader(shown=shown, key=kind == _KEY_FRAME, refresh=refresh, refers=refers)


def _read_references(bits: Bits, sequence: Sequence, *, resilient: bool) -> tuple[int, ...]:
    """Return the slots that an inter frame names; all of them if that needs more parsing."""
    is_short = False
    if sequence.order_hint_bits:
        is_short = resilient or bits.u(1) == 1  # frame_refs_short_signaling
    if is_short or sequence.frame_id_bits:
        return tuple(range(_SLOTS))
    return tuple(bits.u(3) for _ in range(7))


def _skip_buffer_removal_times(bits: Bits, sequence: Sequence, layer: tuple[int, int]) -> None:
    temporal, spatial = layer
    for idc, has_model in sequence.operating_points:
        in_point = idc == 0 or (idc >> temporal & 1 and idc >> (spatial + 8) & 1)
        if has_model and in_point:
            bits.u(sequence.buffer_removal_bits)
