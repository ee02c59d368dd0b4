"""FFV1: key frames, and the checksums of slices (RFC 9043).

A packet of version 3 is a row of slices, each followed by its size and its checksum:

    slice … | size (3 bytes) | status (1) | parity (4) | slice … | size | status | parity
"""

from __future__ import annotations

import zlib
from typing import Final

from frames_pipeline.bitstream.flags import ENTRY, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_FOOTER: Final = 8
"""Bytes after a slice with a checksum."""
_KEY_FROM: Final = 0x7F80
"""Value of a packet's first two bytes from which its first range-coded bit is 1 (3.8.1.1)."""
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bytes with reversed bits: FFV1's checksum uses the opposite bit order of zlib's."""
_ZERO: Final = 0xFFFFFFFF
"""zlib's representation of a checksum of 0, and of a start from 0."""


class Ffv1Reader(HeaderReader):
    """Entry points are the frames marked as key frames in the bitstream (4.4)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the stream's configuration record, which is not needed."""
        self._row = 0
        self._unfit: list[int] = []

    @property
    def damaged(self) -> list[int]:
        """Packets with wrong checksums; empty if no packet of the stream has a right one."""
        return self._unfit if len(self._unfit) < self._row else []

    def read(self, data: memoryview, *, key: bool) -> int:
        if not _checksums_fit(bytes(data)):
            self._unfit.append(self._row)
        self._row += 1
        return SHOWN | ENTRY if int.from_bytes(data[:2], "big") >= _KEY_FROM else SHOWN


def _checksums_fit(packet: bytes) -> bool:
    """Return whether a packet consists of slices with valid checksums (4.9)."""
    end = len(packet)
    while end >= _FOOTER:
        size = int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        start = end - _FOOTER - size
        if not size or start < 0 or not _has_parity(packet[start:end]):
            return False
        end = start
    return end == 0


def _has_parity(data: bytes) -> bool:
    """Return whether the checksum over a slice and its parity is 0 (4.9.3)."""
    return zlib.crc32(data.translate(_REVERSED), _ZERO) == _ZERO
