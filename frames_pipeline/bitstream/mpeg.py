"""MPEG-1, MPEG-2 and MPEG-4 part 2: intra pictures, B pictures, pictures that are not coded.

Sources: ISO/IEC 13818-2, 6.2.3; ISO/IEC 14496-2, 6.2.3 and 6.2.5.
"""

from __future__ import annotations

import re
from typing import Final

from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.flags import BETWEEN, COMPLETES, DISPOSABLE, ENTRY, SETS, SHOWN
from frames_pipeline.bitstream.nal import START_CODE
from frames_pipeline.bitstream.reader import HeaderReader
from frames_pipeline.bitstream.state import GIVEN, StateLog

_PICTURE_START: Final = b"\0\0\1\0"
_SEQUENCE_START: Final = b"\0\0\1\xb3"
_GROUP_START: Final = b"\0\0\1\xb8"
_EXTENSION, _USER_DATA = 0xB5, 0xB2
_PICTURE_CODING, _QUANT_MATRIX = 8, 3  # extension_start_code_identifier
_CLOSED: Final = 0x40
"""closed_gop, in the fourth byte of a group's header."""
_FRAME: Final = 3
"""picture_structure of a whole frame."""
_MAX_CHANGES: Final = 2
"""Changes of headers to keep: decoding never begins after the second one."""
_GROUP_OF_VOPS: Final = b"\0\0\1\xb3"
_VOP_START: Final = b"\0\0\1\xb6"
_VOL_START: Final = re.compile(rb"\x00\x00\x01[\x20-\x2f]")
_INTRA, _BIDIRECTIONAL = 1, 3  # picture_coding_type of MPEG-1 and MPEG-2
_I_VOP, _B_VOP = 0, 2  # vop_coding_type of MPEG-4
_HEADER: Final = 2048
"""Bytes of a packet to search for its first picture header."""
_NOT_CODED_SIZE: Final = 19
"""Largest packet that FFmpeg treats as a placeholder after a packed one."""
_EXTENDED_ASPECT: Final = 15


class MpegReader(HeaderReader):
    """Entry points are intra pictures; the sequence header in force there is replayed.

    packet   sequence group I   P   B   group I           group B P …
    entry    x                          x                          B of an open group that
    before                              sequence                   begins the stream: not shown
    """

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's extradata, which may hold its sequence header."""
        self._row = -1
        self._log = StateLog()
        self._holds_header: set[int] = set()
        """Entry points with their own sequence header."""
        self._is_known = True
        """Whether no picture changed a matrix since the last sequence header."""
        self._references = 0
        self._is_closed = False
        self._awaits_field = False
        if header := _sequence_header(extradata):
            self._log.note(GIVEN, "sequence", header)

    def read(self, data: memoryview, *, key: bool) -> int:
        self._row += 1
        text = bytes(data[:_HEADER])
        at = text.find(_PICTURE_START)
        if at < 0 and len(data) > _HEADER:
            text = bytes(data)
            at = text.find(_PICTURE_START)
        if at < 0 or at + 6 > len(text):
            return SETS | self._note_header(text)
        sets = self._note_header(text[:at])
        self._note_group(text[:at])
        kind = text[at + 5] >> 3 & 7  # picture_coding_type, behind temporal_reference
        extensions = _picture_extensions(text, at)
        if any(extension[0] >> 4 == _QUANT_MATRIX for extension in extensions):
            self._is_known, sets = False, SETS
        if self._completes_a_frame(extensions, data):
            return COMPLETES | sets
        return self._flags(kind) & ~(DISPOSABLE if sets or self._awaits_field else 0) | sets

    @property
    def state_varies(self) -> bool:
        """Whether packets read so far change the sequence header of the container."""
        return self._log.varies

    def state_before(self, row: int) -> bytes | None:
        """Return the sequence header to put before a packet; empty if the packet has its own."""
        units = () if row in self._holds_header else self._log.before(row)
        return None if units is None else b"".join(units)

    def _flags(self, kind: int) -> int:
        if kind == _BIDIRECTIONAL:
            is_shown = self._references > 1 or (self._references == 1 and self._is_closed)
            return (SHOWN if is_shown else 0) | DISPOSABLE | BETWEEN
        if kind != _INTRA and not self._references:
            return 0  # a decoder waits for an intra picture
        self._references += 1
        return SHOWN | ENTRY if kind == _INTRA and self._is_known else SHOWN

    def _note_header(self, before_picture: bytes) -> int:
        """Log a sequence header. It resets every matrix that it does not contain."""
        header = _sequence_header(before_picture)
        if not header:
            return 0
        self._is_known = True
        self._holds_header.add(self._row)
        return SETS if self._log.note(self._row, "sequence", header) else 0

    def _note_group(self, before_picture: bytes) -> None:
        at = before_picture.rfind(_GROUP_START)
        if 0 <= at < len(before_picture) - 7:
            self._is_closed = bool(before_picture[at + 7] & _CLOSED)

    def _completes_a_frame(self, extensions: list[bytes], data: memoryview) -> bool:
        """Return whether a packet holds only the second field of a frame (mpeg12dec.c)."""
        structure = next((e[2] & 3 for e in extensions if e[0] >> 4 == _PICTURE_CODING), _FRAME)
        is_single = structure != _FRAME and bytes(data).count(_PICTURE_START) == 1
        if not is_single:
            self._awaits_field = False
            return False
        self._awaits_field = not self._awaits_field
        return not self._awaits_field


def _sequence_header(text: bytes) -> bytes:
    """Return a sequence header with its extensions; empty if there is none."""
    start = text.rfind(_SEQUENCE_START)
    if start < 0:
        return b""
    ends = [at for code in (_GROUP_START, _PICTURE_START) if (at := text.find(code, start)) >= 0]
    return text[start : min(ends, default=len(text))].rstrip(b"\0")


def _picture_extensions(text: bytes, picture: int) -> list[bytes]:
    """Return the extensions between a picture header and its first slice."""
    found: list[bytes] = []
    at = text.find(START_CODE, picture + 4)
    while 0 <= at < len(text) - 6 and text[at + 3] in (_EXTENSION, _USER_DATA):
        following = text.find(START_CODE, at + 4)
        if text[at + 3] == _EXTENSION:
            found.append(text[at + 4 : following if following >= 0 else len(text)])
        at = following
    return [extension for extension in found if len(extension) > 2]


class Mpeg4Reader(HeaderReader):
    """Entry points are I VOPs; earlier headers are replayed.

    FFmpeg decodes the streams of some encoders differently, and reads the encoder's name from the
    headers of the first packet. The replayed headers include that name.

    Some AVI files pack a P and a B VOP into one packet. A placeholder follows and shows the B VOP,
    so packets and frames stay even:

        packet   I0   P3+B1   B2   placeholder
        frame    I0   P3      B1   B2            the decoder outputs it one packet later

    No packet of a packed stream is disposable: without it, the decoder would treat the next packet
    as the placeholder.
    """

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's extradata, which may hold its video object layer."""
        self._time_bits = _time_bits(extradata)
        self._packed = False
        self._row = -1
        self._latest = _headers(extradata)
        self._changes: list[tuple[int, bytes]] = []
        """Rows of the first changes of the headers, with the headers."""
        self._references = 0

    def read(self, data: memoryview, *, key: bool) -> int:
        self._row += 1
        text = bytes(data)
        at = text.find(_VOP_START)
        if at < 0 or at + 5 > len(text):
            return SETS if self._note_headers(text) else 0
        self._time_bits = _time_bits(text[:at]) or self._time_bits
        sets = SETS if self._note_headers(text[:at]) else 0
        flags = self._read_vop(text, at)
        return flags & ~DISPOSABLE | sets if sets else flags

    @property
    def state_varies(self) -> bool:
        """Whether packets read so far change the headers of the container."""
        return bool(self._changes)

    def state_before(self, row: int) -> bytes | None:
        """Return the headers to put before a packet; `None` after a second change.

        A decoder keeps parts of older headers, so a second change cannot be replayed.
        """
        headers = [headers for first, headers in self._changes if first <= row]
        return None if len(headers) > 1 else b"".join(headers)

    def _note_headers(self, text: bytes) -> bool:
        """Log the headers before a VOP, without its group header, which contains a time."""
        headers = _headers(text)
        if not headers or headers == self._latest:
            return False
        self._latest = headers
        if len(self._changes) < _MAX_CHANGES:
            self._changes.append((self._row, headers))
        return True

    def _read_vop(self, text: bytes, at: int) -> int:
        kind = text[at + 4] >> 6
        if text.find(_VOP_START, at + 4) >= 0:
            self._packed = True
        elif self._packed and len(text) <= _NOT_CODED_SIZE:
            return SHOWN | BETWEEN
        elif self._is_not_coded(text[at + 4 :]):
            return 0
        if kind == _B_VOP:
            shown = SHOWN if self._references > 1 or self._packed else 0
            return shown | BETWEEN | (0 if self._packed else DISPOSABLE)
        is_intra = kind == _I_VOP
        self._references += 1 if is_intra or self._references else 2  # gray replaces the first
        return SHOWN | ENTRY if is_intra else SHOWN

    def _is_not_coded(self, vop: bytes) -> bool:
        """Return whether a VOP repeats the one before (vop_coded is 0)."""
        if not self._time_bits:
            return False
        bits = Bits(vop[:16])
        try:
            bits.u(2)  # vop_coding_type
            while bits.u(1):  # modulo_time_base
                pass
            bits.u(1 + self._time_bits + 1)  # marker, vop_time_increment, marker
            return bits.u(1) == 0
        except EOFError:
            return False


def _headers(text: bytes) -> bytes:
    """Return the headers before a VOP and its group; empty if there are none."""
    headers = text.split(_GROUP_OF_VOPS, 1)[0].rstrip(b"\0")
    return headers if START_CODE in headers else b""


def _time_bits(headers: bytes) -> int:
    """Return the width of vop_time_increment in a video object layer; 0 if there is none."""
    found = _VOL_START.search(headers)
    if found is None:
        return 0
    bits = Bits(headers[found.end() : found.end() + 64])
    try:
        return _read_time_bits(bits)
    except EOFError:
        return 0


def _read_time_bits(bits: Bits) -> int:
    bits.u(9)  # random_accessible_vol, video_object_type_indication
    if bits.u(1):  # is_object_layer_identifier
        bits.u(7)
    if bits.u(4) == _EXTENDED_ASPECT:
        bits.u(16)
    if bits.u(1):  # vol_control_parameters
        bits.u(3)  # chroma_format, low_delay
        if bits.u(1):  # vbv_parameters
            bits.u(79)
    bits.u(2)  # video_object_layer_shape
    bits.u(1)  # marker
    resolution = bits.u(16)  # vop_time_increment_resolution
    return max((resolution - 1).bit_length(), 1)
