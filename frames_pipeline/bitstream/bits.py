"""A reader of big-endian bits, and the headers of NAL units."""

from __future__ import annotations

from typing import Final

_HEADER: Final = 96
"""Bytes that hold any header that is read here."""


class Bits:
    """Reads unsigned integers off the front of some bytes.

    >>> bits = Bits(bytes([0b1010_0110]))
    >>> bits.u(1), bits.ue(), bits.u(3)
    (1, 1, 3)

    Reading past the end raises `EOFError`.
    """

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        """Start at the first bit."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, n: int) -> int:
        """The next n bits."""
        self._left -= n
        if self._left < 0:
            raise EOFError
        return (self._value >> self._left) & ((1 << n) - 1)

    def ue(self) -> int:
        """The next Exp-Golomb code (H.264, 9.1)."""
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        return self.u(2 * zeros + 1) - 1

    def se(self) -> int:
        """The next signed Exp-Golomb code (H.264, 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def header_bits(nal: memoryview, skip: int) -> Bits:
    """The bits of a NAL unit's first bytes behind its header, emulation prevention undone."""
    return Bits(bytes(nal[skip:_HEADER]).replace(b"\0\0\3", b"\0\0"))


def all_bits(nal: memoryview | bytes, skip: int) -> Bits:
    """The bits of a whole NAL unit behind its header, emulation prevention undone."""
    return Bits(bytes(nal[skip:]).replace(b"\0\0\3", b"\0\0"))
