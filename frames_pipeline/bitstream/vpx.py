"""VP8 and VP9: key frames and hidden frames (RFC 6386; VP9 bitstream specification).

Neither has disposable frames that could be told from headers: a frame that no slot keeps may
still hand its probabilities and segmentation on to the next one.
"""

from __future__ import annotations

from collections.abc import Iterator

from frames_pipeline.bitstream.flags import ENTRY, SHOWN


class Vp8Reader:
    """The first byte says whether a frame is a key frame and whether it is shown (9.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which says nothing here."""

    def read(self, data: memoryview, *, key: bool) -> int:
        if not data:
            return 0
        tag = data[0]
        entry = 0 if tag & 1 else ENTRY
        return entry | (SHOWN if tag & 0x10 else 0)


class Vp9Reader:
    """A packet may be a superframe of hidden frames and a shown one (Annex B)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which says nothing here."""

    def read(self, data: memoryview, *, key: bool) -> int:
        flags = 0
        for number, header in enumerate(_frame_headers(data)):
            is_key, shown = _read_header(header)
            flags |= SHOWN if shown else 0
            flags |= ENTRY if is_key and number == 0 else 0
        return flags


def _frame_headers(data: memoryview) -> Iterator[int]:
    """The first byte of each frame in a packet."""
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
    """Whether a frame is a key frame, and whether it is shown, by its first byte (6.2).

    Two bits of marker, two of profile (low bit first; profile 3 has a reserved bit after them),
    show_existing_frame, then frame_type (0: key) and show_frame.
    """
    at = 3 - (header >> 4 & 3 == 3)
    if header >> at & 1:
        return False, True
    return header >> (at - 1) & 1 == 0, header >> (at - 2) & 1 == 1
