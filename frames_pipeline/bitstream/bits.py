"""A reader of big-endian bits, and the headers of NAL units."""

from __future__ import annotations

from typing import Final

_HEADER: Final = 96
"""Bytes that hold any header that is read here."""
_PARAMETER_SET: Final = 4096
"""Bytes that hold any part of a parameter set that is read here: scaling lists and picture order
counts take 3000 at the most."""
_WINDOW: Final = 128
"""Bytes that are a number at a time. Behind it stands a longer one, which takes longer to cut."""
_LONGEST_CODE: Final = 32
"""Zeros at the start of an Exp-Golomb code."""


class Bits:
    """Reads unsigned integers off the front of some bytes.

    >>> bits = Bits(bytes([0b1010_0110]))
    >>> bits.u(1), bits.ue(), bits.u(3)
    (1, 1, 3)

    Reading past the end raises `EOFError`, and so does a code that no standard allows. A number is
    cut from a few bytes at a time, so the time is proportional to the bits that are read.
    """

    __slots__ = ("_data", "_left", "_next", "_value")

    def __init__(self, data: bytes) -> None:
        """Start at the first bit."""
        self._data = data
        self._next = _WINDOW
        self._value = int.from_bytes(data[:_WINDOW], "big")
        self._left = 8 * min(len(data), _WINDOW)

    def u(self, n: int) -> int:
        """The next n bits."""
        if n > self._left:
            self._take_in(n)
        self._left -= n
        return (self._value >> self._left) & ((1 << n) - 1)

    def ue(self) -> int:
        """The next Exp-Golomb code (H.264, 9.1), of 32 bits at the most."""
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        if not rest and self._next < len(self._data):
            self._take_in(self._left + 1)
            return self.ue()
        if zeros > _LONGEST_CODE:
            raise EOFError
        return self.u(2 * zeros + 1) - 1

    def se(self) -> int:
        """The next signed Exp-Golomb code (H.264, 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def _take_in(self, n: int) -> None:
        """Have the next n bits at hand, if there are so many."""
        missing = (n - self._left + 7) // 8
        if self._next + missing > len(self._data):
            raise EOFError
        more = self._data[self._next : self._next + max(missing, _WINDOW)]
        self._value = (self._value & ((1 << self._left) - 1)) << 8 * len(more)
        self._value |= int.from_bytes(more, "big")
        self._left += 8 * len(more)
        self._next += len(more)


def header_bits(nal: memoryview, skip: int) -> Bits:
    """The bits of a NAL unit's first bytes behind its header, emulation prevention undone."""
    return Bits(bytes(nal[skip:_HEADER]).replace(b"\0\0\3", b"\0\0"))


def all_bits(nal: memoryview | bytes, skip: int) -> Bits:
    """The bits of a parameter set behind its header, emulation prevention undone."""
    return Bits(bytes(nal[skip:_PARAMETER_SET]).replace(b"\0\0\3", b"\0\0"))
