"""Read big-endian bits and the headers of NAL units."""

from __future__ import annotations

from typing import Final

_HEADER: Final = 96
"""Bytes that contain all header fields read here."""
_PARAMETER_SET: Final = 4096
"""Bytes that contain all parameter set fields read here: scaling lists and picture order counts
take 3000 at most."""
_WINDOW: Final = 128
"""Bytes to hold as one integer; cutting bits from a longer integer takes longer."""
_LONGEST_CODE: Final = 32
"""Zeros at the start of an Exp-Golomb code."""


class Bits:
    """Reads unsigned integers from the start of some bytes.

    >>> bits = Bits(bytes([0b1010_0110]))
    >>> bits.u(1), bits.ue(), bits.u(3)
    (1, 1, 3)

    Reading past the end raises `EOFError`, and so does an invalid code. The time is proportional to
    the bits read.
    """

    __slots__ = ("_data", "_left", "_next", "_value")

    def __init__(self, data: bytes) -> None:
        """Start at the first bit."""
        self._data = data
        self._next = _WINDOW
        self._value = int.from_bytes(data[:_WINDOW], "big")
        self._left = 8 * min(len(data), _WINDOW)

    def u(self, n: int) -> int:
        """Return the next n bits."""
        if n > self._left:
            self._load(n)
        self._left -= n
        return (self._value >> self._left) & ((1 << n) - 1)

    def ue(self) -> int:
        """Return the next Exp-Golomb code (H.264, 9.1), of at most 32 bits."""
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        if not rest and self._next < len(self._data):
            self._load(self._left + 1)
            return self.ue()
        if zeros > _LONGEST_CODE:
            raise EOFError
        return self.u(2 * zeros + 1) - 1

    def se(self) -> int:
        """Return the next signed Exp-Golomb code (H.264, 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def _load(self, n: int) -> None:
        """Load the next n bits, if there are that many."""
        missing = (n - self._left + 7) // 8
        if self._next + missing > len(self._data):
            raise EOFError
        more = self._data[self._next : self._next + max(missing, _WINDOW)]
        self._value = (self._value & ((1 << self._left) - 1)) << 8 * len(more)
        self._value |= int.from_bytes(more, "big")
        self._left += 8 * len(more)
        self._next += len(more)


def header_bits(nal: memoryview, skip: int) -> Bits:
    """Return the first bits of a NAL unit after its header, without emulation prevention."""
    return Bits(bytes(nal[skip:_HEADER]).replace(b"\0\0\3", b"\0\0"))


def all_bits(nal: memoryview | bytes, skip: int) -> Bits:
    """Return the bits of a parameter set after its header, without emulation prevention."""
    return Bits(bytes(nal[skip:_PARAMETER_SET]).replace(b"\0\0\3", b"\0\0"))
