"""Split packets into NAL units as FFmpeg's decoders do.

    sized      length | unit | length | unit …          ISO/IEC 14496-15, 4.3.2
    Annex B    00 00 01 | unit | 00 00 01 | unit …      ITU-T H.264, Annex B

Some phones and muxers put start codes inside a sized unit. Decoders end the unit there and begin
the next one, and so does this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

START_CODE: Final = b"\0\0\1"
_FORBIDDEN: Final = 0x80
"""forbidden_zero_bit, in the first byte of a unit."""
_LENGTH_SIZE_THAT_MAY_LIE: Final = 4


class Framing:
    """Framing of units in the packets of one stream.

    FFmpeg's H.264 decoder checks the first bytes of each packet of a stream with four-byte lengths.
    It so detects Annex B in MP4 or FLV, which holds until a packet with lengths comes.
    """

    def __init__(self, length_size: int, *, may_change: bool = False) -> None:
        """Take the size of lengths from extradata.

        Args:
            length_size: Bytes before each unit that hold its length; 0 for Annex B.
            may_change: Whether packets may use Annex B all the same (H.264).
        """
        self.length_size = length_size
        self._may_change = may_change and length_size == _LENGTH_SIZE_THAT_MAY_LIE
        self._is_sized = length_size > 0

    def of(self, data: memoryview) -> int:
        """Return the bytes of a length in this packet, 0 for Annex B."""
        if self._may_change and len(data) >= _LENGTH_SIZE_THAT_MAY_LIE:
            self._look_at(data)
        return self.length_size if self._is_sized else 0

    def _look_at(self, data: memoryview) -> None:
        first = int.from_bytes(data[:4], "big")
        if first > 1 and first <= len(data):
            self._is_sized = True
        elif first == 1 and len(data) > 8 and int.from_bytes(data[5:9], "big") > len(data):
            self._is_sized = False


def nal_units(data: memoryview, length_size: int) -> Iterator[memoryview]:
    """Yield the units of a packet, in order, without lengths and start codes.

    Args:
        data: The packet's bytes.
        length_size: Bytes before each unit that hold its length; 0 for Annex B.
    """
    text = bytes(data)
    view = memoryview(text)
    for start, stop in _sized(text, length_size) if length_size else _begun(text, 0, len(text)):
        if not length_size:
            yield view[start:stop]
            continue
        first = text.find(START_CODE, start, stop)
        if first < 0:
            yield view[start:stop]
            continue
        yield view[start:first]
        for piece_start, piece_stop in _begun(text, first, stop):
            yield view[piece_start:piece_stop]


def sound_units(data: memoryview, length_size: int) -> Iterator[memoryview]:
    """Yield units with a valid first bit (forbidden_zero_bit); decoders skip the others."""
    return (nal for nal in nal_units(data, length_size) if nal and not nal[0] & _FORBIDDEN)


def sized_units(data: bytes, length_size: int) -> list[bytes]:
    r"""Return the bytes after each length, start codes included.

    >>> sized_units(b"\x03abc\x01d", 1)
    [b'abc', b'd']
    """
    return [data[start:stop] for start, stop in _sized(data, length_size)]


def framed(units: tuple[bytes, ...], length_size: int) -> bytes:
    r"""Return units framed as in a packet.

    >>> framed((b"abc",), 2), framed((b"abc",), 0)
    (b'\x00\x03abc', b'\x00\x00\x00\x01abc')
    """
    return b"".join(
        (len(unit).to_bytes(length_size, "big") if length_size else b"\0" + START_CODE) + unit
        for unit in units
    )


def _sized(text: bytes, length_size: int) -> Iterator[tuple[int, int]]:
    position, end = 0, len(text)
    while position + length_size < end:
        start = position + length_size
        position = start + int.from_bytes(text[position:start], "big")
        yield start, min(position, end)


def _begun(text: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield units after start codes in a part of a packet."""
    at = text.find(START_CODE, start, stop)
    while at >= 0:
        following = text.find(START_CODE, at + 3, stop)
        yield at + 3, following if following >= 0 else stop
        at = following
