"""Motion JPEG: every picture with its own tables is an entry point.

    packet     SOI DQT DHT SOF SOS …     SOI SOF SOS …     SOI SOF SOS …
    entry       x

An abbreviated picture uses the tables of the last picture that has them (ITU-T T.81, B.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, SETS, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_DQT, _DHT, _SOS, _EOI = 0xDB, 0xC4, 0xDA, 0xD9
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_ALONE: Final = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a segment."""


class JpegReader(HeaderReader):
    """Entry points are pictures with all their tables. Standard Huffman tables may be implied."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""
        self._has_codes = False
        """Whether a picture so far has Huffman tables; until then decoders use the standard
        ones."""

    def read(self, data: memoryview, *, key: bool) -> int:
        tables = _Tables()
        for marker, segment in _segments(bytes(data)):
            tables.take(marker, segment)
        is_complete = tables.needed_matrices <= tables.matrices and (
            tables.needed_codes <= tables.codes if self._has_codes or tables.codes else True
        )
        self._has_codes = self._has_codes or bool(tables.codes)
        if is_complete:
            return SHOWN | ENTRY | DISPOSABLE
        return SHOWN | SETS if tables.matrices or tables.codes else SHOWN | DISPOSABLE


class _Tables:
    """Numbers of the tables that a picture defines, and of the tables that it uses."""

    def __init__(self) -> None:
        self.matrices: set[int] = set()
        self.codes: set[int] = set()
        self.needed_matrices: set[int] = set()
        self.needed_codes: set[int] = set()

    def take(self, marker: int, segment: bytes) -> None:
        if marker == _DQT:
            self.matrices.update(_matrix_numbers(segment))
        elif marker == _DHT:
            self.codes.update(_code_numbers(segment))
        elif marker in _SOF:
            self.needed_matrices.update(segment[8::3])  # Tq of each component
        elif marker == _SOS and segment:
            both = segment[2 : 1 + 2 * segment[0] : 2]  # Td and Ta of each component
            self.needed_codes.update(n >> 4 for n in both)
            self.needed_codes.update(0x10 | n & 15 for n in both)


def _segments(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and contents of each segment of the first picture, up to its first scan."""
    at = text.find(b"\xff\xd8")
    while 0 <= at < len(text) - 3:
        if text[at] != 0xFF or text[at + 1] == 0xFF:
            at += 1
            continue
        marker = text[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        size = int.from_bytes(text[at + 2 : at + 4], "big")
        yield marker, text[at + 4 : at + 2 + size]
        if marker in (_SOS, _EOI):
            return
        at += 2 + max(size, 2)


def _matrix_numbers(segment: bytes) -> Iterator[int]:
    at = 0
    while at < len(segment):
        yield segment[at] & 15
        at += 1 + (128 if segment[at] >> 4 else 64)


def _code_numbers(segment: bytes) -> Iterator[int]:
    at = 0
    while at + 17 <= len(segment):
        yield segment[at]
        at += 17 + sum(segment[at + 1 : at + 17])
