"""VP8 and VP9: key frames and hidden frames (RFC 6386; VP9 bitstream specification).

Headers of neither codec identify disposable frames: a frame that no slot keeps may still pass its
probabilities and segmentation on to the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from frames_pipeline.bitstream.flags import ENTRY, SHOWN
from frames_pipeline.bitstream.reader import HeaderReader

_VP8_HEADER: Final = 10
"""Bytes of a key frame before its arithmetic-coded part (RFC 6386, 9.1)."""


class Vp8Reader(HeaderReader):
    """Reads key and shown flags from the first byte of a frame (9.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""

    def read(self, data: memoryview, *, key: bool) -> int:
        if not data:
            return 0
        tag = data[0]
        is_entry = not tag & 1 and not _keeps_segments(bytes(data[_VP8_HEADER : _VP8_HEADER + 4]))
        return (ENTRY if is_entry else 0) | (SHOWN if tag & 0x10 else 0)


def _keeps_segments(coded: bytes) -> bool:
    """Return whether a key frame keeps the segment map of the frame before (9.3, 20.4).

    Its header begins with four equally likely coded bits: colour space, clamping, segmentation,
    and, with segmentation, whether a new map follows.
    """
    value, limit = int.from_bytes(coded.ljust(4, b"\0"), "big"), 255 << 24
    bits: list[bool] = []
    for _ in range(4):
        split = (1 + ((limit >> 24) - 1) // 2) << 24
        bits.append(value >= split)
        value, limit = (value - split, limit - split) if bits[-1] else (value, split)
        while limit < 128 << 24:
            value, limit = value << 1, limit << 1
    _, _, is_segmented, is_anew = bits
    return is_segmented and not is_anew


class Vp9Reader(HeaderReader):
    """A packet may be a superframe of hidden frames and a shown one (Annex B)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""

    def read(self, data: memoryview, *, key: bool) -> int:
        flags = 0
        if not data:
            return 0
        for number, header in enumerate(_frame_headers(data)):
            is_key, shown = _read_header(header)
            flags |= SHOWN if shown else 0
            flags |= ENTRY if is_key and number == 0 else 0
        return flags


def _frame_headers(data: memoryview) -> Iterator[int]:
    """Yield the first byte of each frame in a packet."""
    if not data:
        return
    marker = data[-1]
    width, count = (marker >> 3 & 3) + 1, (marker & 7) + 1
    index = 2 + width * count
    if marker & 0xE0 != 0xC0 or len(data) < index or data[-index] != marker:
        yield data[0]
        return
    position = 0
    for i in range(count):
        start = len(data) - index + 1 + i * width
        size = int.from_bytes(data[start : start + width], "little")
        if size and position < len(data):
            yield data[position]
        position += size


def _read_header(header: int) -> tuple[bool, bool]:
    """Return whether a frame is a key frame and whether it is shown, by its first byte (6.2).

    The byte has two bits of marker, two of profile (low bit first; profile 3 has a reserved bit
    after them), show_existing_frame, then frame_type (0: key) and show_frame.
    """
    at = 3 - (header >> 4 & 3 == 3)
    if header >> at & 1:
        return False, True
    return header >> (at - 1) & 1 == 0, header >> (at - 2) & 1 == 1
