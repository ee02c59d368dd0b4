"""H.263 and Sorenson's variant of it in FLV: intra pictures and disposable pictures.

The container's key flags are useless here: FFmpeg's AVI and Matroska demuxers set them on every
packet. So the picture header is read.

Sources: ITU-T H.263, 5.1; FFmpeg's flvdec.c.
"""

from __future__ import annotations

from typing import Final

from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_HEADER: Final = 16
"""Bytes that contain all header fields read here."""
_EXTENDED: Final = 7
"""The source format that PLUSPTYPE follows (5.1.3)."""


class H263Reader(HeaderReader):
    """Entry points are intra pictures that state all their modes."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""

    def read(self, data: memoryview, *, key: bool) -> int:
        try:
            return SHOWN | ENTRY if _is_intra(Bits(bytes(data[:_HEADER]))) else SHOWN
        except EOFError:
            return SHOWN


class FlvReader(HeaderReader):
    """Entry points are intra pictures; others may be disposable (picture type 2)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""

    def read(self, data: memoryview, *, key: bool) -> int:
        try:
            kind = _flv_picture_type(Bits(bytes(data[:_HEADER])))
        except EOFError:
            return SHOWN
        return SHOWN | {0: ENTRY, 2: DISPOSABLE}.get(kind, 0)


def _is_intra(bits: Bits) -> bool:
    if bits.u(22) != 0x20:  # picture start code
        return False
    bits.u(8 + 5)  # temporal reference; marker, H.261 distinction, split, camera, freeze
    if bits.u(3) != _EXTENDED:
        return bits.u(1) == 0  # picture coding type
    if bits.u(3) != 1:  # UFEP: modes hold from an earlier picture
        return False
    bits.u(18)  # OPPTYPE
    return bits.u(3) == 0  # picture type code


def _flv_picture_type(bits: Bits) -> int:
    bits.u(17 + 5 + 8)  # start code, version, temporal reference
    bits.u({0: 16, 1: 32}.get(bits.u(3), 0))  # a custom size
    return bits.u(2)
