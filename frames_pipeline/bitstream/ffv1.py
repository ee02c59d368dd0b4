"""FFV1: key frames, and the checksums that slices carry (RFC 9043).

A packet of version 3 is a row of slices, each with its size and its checksum behind it:

    slice … | size (3 bytes) | status (1) | parity (4) | slice … | size | status | parity
"""

from __future__ import annotations

import zlib
from typing import Final

from frames_pipeline.bitstream.flags import ENTRY, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_FOOTER: Final = 8
"""Bytes behind a slice where it has a checksum."""
_KEY_FROM: Final = 0x7F80
"""The first two bytes of a packet from which on its first range-coded bit is 1 (3.8.1.1)."""
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bytes read from the other end: FFV1's checksum takes bits in the other order than zlib's."""
_ZERO: Final = 0xFFFFFFFF
"""zlib's way to write a checksum of 0, and to start from 0."""


class Ffv1Reader(HeaderReader):
    """Entry points are the frames that say themselves that they are key frames (4.4)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's configuration record, which is not needed here."""
        self._row = 0
        self._unfit: list[int] = []

    @property
    def damaged(self) -> list[int]:
        """Packets with wrong checksums; none if no packet of the stream has a right one."""
        return self._unfit if len(self._unfit) < self._row else []

    def read(self, data: memoryview, *, key: bool) -> int:
        if not _checksums_fit(bytes(data)):
            self._unfit.append(self._row)
        self._row += 1
        return SHOWN | ENTRY if int.from_bytes(data[:2], "big") >= _KEY_FROM else SHOWN


def _checksums_fit(packet: bytes) -> bool:
    """Whether a packet is made of slices with checksums that fit (4.9)."""
    end = len(packet)
    while end >= _FOOTER:
        size = int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        start = end - _FOOTER - size
        if not size or start < 0 or not _has_parity(packet[start:end]):
            return False
        end = start
    return end == 0


def _has_parity(data: bytes) -> bool:
    """Whether the checksum over a slice and its parity is 0 (4.9.3)."""
    return zlib.crc32(data.translate(_REVERSED), _ZERO) == _ZERO
