"""Read bytes of a file by offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

ReadBytes = Callable[[int, int], bytes]
"""`read(offset, size)` returns bytes of the file, fewer than `size` only at its end."""


class ByteReader(Protocol):
    """Reads bytes of a file by offset."""

    size: int
    """Bytes of the file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset; fewer than `size` only at the end of the file."""

    def read_each(self, offsets: list[int], size: int) -> list[bytes]:
        """Return `size` bytes from each offset."""
