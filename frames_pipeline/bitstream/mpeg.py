"""MPEG-1, MPEG-2 and MPEG-4 part 2: intra pictures, B pictures, pictures that are not coded.

Sources: ISO/IEC 13818-2, 6.2.3; ISO/IEC 14496-2, 6.2.3 and 6.2.5.
"""

from __future__ import annotations

import re
from typing import Final

from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.flags import BETWEEN, DISPOSABLE, ENTRY, SHOWN

_PICTURE_START: Final = b"\0\0\1\0"
_VOP_START: Final = b"\0\0\1\xb6"
_VOL_START: Final = re.compile(rb"\x00\x00\x01[\x20-\x2f]")
_INTRA, _BIDIRECTIONAL = 1, 3  # picture_coding_type of MPEG-1 and MPEG-2
_I_VOP, _B_VOP = 0, 2  # vop_coding_type of MPEG-4
_HEADER: Final = 2048
"""Bytes of a packet in which its first picture header is looked for."""
_NOT_CODED_SIZE: Final = 19
"""The largest packet that FFmpeg takes for a placeholder behind a packed one."""
_EXTENDED_ASPECT: Final = 15


class MpegReader:
    """Entry points are intra pictures that follow a sequence header, which containers call key."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which says nothing here."""

    def read(self, data: memoryview, *, key: bool) -> int:
        text = bytes(data[:_HEADER])
        at = text.find(_PICTURE_START)
        if at < 0 or at + 6 > len(text):
            return SHOWN | ENTRY if key else SHOWN
        kind = text[at + 5] >> 3 & 7  # picture_coding_type, behind temporal_reference
        if kind == _INTRA and key:
            return SHOWN | ENTRY
        return SHOWN | DISPOSABLE | BETWEEN if kind == _BIDIRECTIONAL else SHOWN


class Mpeg4Reader:
    """Entry points are I VOPs. Some AVI files pack a P and a B VOP into one packet.

    A placeholder follows, in whose place the B VOP is shown, so packets and frames stay even:

        packet   I0   P3+B1   B2   placeholder
        frame    I0   P3      B1   B2            the decoder hands out one packet later

    Nothing of a packed stream is disposable: the decoder would take the next packet for the
    placeholder.
    """

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's extradata, which may hold its video object layer."""
        self._time_bits = _time_bits(extradata)
        self._packed = False

    def read(self, data: memoryview, *, key: bool) -> int:
        text = bytes(data)
        at = text.find(_VOP_START)
        if at < 0 or at + 5 > len(text):
            return 0
        self._time_bits = _time_bits(text[:at]) or self._time_bits
        kind = text[at + 4] >> 6
        if text.find(_VOP_START, at + 4) >= 0:
            self._packed = True
        elif self._packed and len(text) <= _NOT_CODED_SIZE:
            return SHOWN | BETWEEN
        elif self._is_not_coded(text[at + 4 :]):
            return 0
        if kind == _I_VOP:
            return SHOWN | ENTRY
        between = BETWEEN if kind == _B_VOP else 0
        return SHOWN | between | (DISPOSABLE if between and not self._packed else 0)

    def _is_not_coded(self, vop: bytes) -> bool:
        """Whether a VOP says that it repeats the one before (vop_coded is 0)."""
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


def _time_bits(headers: bytes) -> int:
    """Width of vop_time_increment, from a video object layer; 0 where there is none."""
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
