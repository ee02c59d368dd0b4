"""Find the first slice of every packet of a stream, in all packets at once.

    packet    length AUD | length SEI … | length slice …
    step 1           ^
    step 2                        ^
    step 3                                       ^         its first bytes give the picture type

A step is a few NumPy calls for all packets, a hundred times faster than a loop over them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.nal import START_CODE, nal_units

Heads = NDArray[np.uint8]
"""The first bytes of each packet; bytes behind its end are arbitrary. Shape (packets, bytes)."""
Roles = NDArray[np.uint8]
"""Role of a unit, by the first byte of its header. Shape (256,)."""

_OTHER: Final = 0
"""Role of other units: parameter sets, ends of sequences, unknown types."""
_SLICE: Final = 1
_SEI: Final = 2
_PASSED: Final = 3
_LONGEST_HEADER: Final = 2


class FirstSlices(NamedTuple):
    """The first slice of each packet. Each of shape (packets,)."""

    first: NDArray[np.uint8]
    """First byte of its header."""
    second: NDArray[np.uint8]
    """The byte after that."""
    after_sei: NDArray[np.bool_]
    """Whether SEI comes before it."""


def roles(
    kind: Callable[[int], int],
    *,
    slices: Iterable[int],
    sei: Iterable[int],
    passed: Iterable[int],
) -> Roles:
    """Return the roles of units, by the first byte of their header.

    Args:
        kind: Returns the unit's type for that byte.
        slices: Types of slices.
        sei: Types of SEI.
        passed: Types to skip.
    """
    by_kind = dict.fromkeys(passed, _PASSED) | dict.fromkeys(sei, _SEI)
    by_kind |= dict.fromkeys(slices, _SLICE)
    known = [by_kind.get(kind(byte), _OTHER) for byte in range(128)]
    return np.array(known + [_OTHER] * 128, np.uint8)  # the first bit of a header is zero


class PacketBytes(Protocol):
    """Reads more of a packet than its head."""

    def __call__(self, row: int, start: int = 0, size: int | None = None) -> memoryview:
        """Return some bytes of a packet; without a size, all from `start` on."""


def first_slices(
    heads: Heads,
    lengths: NDArray[np.int64],
    *,
    length_size: int,
    roles: Roles,
    read: PacketBytes,
) -> FirstSlices | None:
    """Return the first slices; `None` if a packet has none or has units of unknown types.

    Args:
        heads: The first bytes of each packet.
        lengths: Bytes of each packet. Shape (packets,).
        length_size: Bytes before each unit that hold its length.
        roles: Roles of units.
        read: Reads more of a packet.
    """
    n = len(heads)
    found = FirstSlices(np.zeros(n, np.uint8), np.zeros(n, np.uint8), np.zeros(n, np.bool_))
    at = np.zeros(n, np.int64)
    rows = np.arange(n)
    while len(rows):
        start = at[rows] + length_size
        size = _big_endian(heads, rows, at[rows], length_size)
        within = np.minimum(lengths[rows], heads.shape[1])
        fits = (start + _LONGEST_HEADER <= within) & (size >= _LONGEST_HEADER)
        for row in rows[~fits].tolist():
            if not _look_into(read(row), row, found, length_size, roles):
                return None
        rows, start, size = rows[fits], start[fits], size[fits]
        header = heads[rows, start]
        role = roles[header]
        if np.any(role == _OTHER):
            return None
        is_slice = role == _SLICE
        if np.any(is_slice & (header == 0) & (heads[rows, start + 1] == 0)):
            return None  # no header, but perhaps a start code
        found.first[rows[is_slice]] = header[is_slice]
        found.second[rows[is_slice]] = heads[rows, start + 1][is_slice]
        found.after_sei[rows[role == _SEI]] = True
        at[rows] = start + size
        before = np.stack([rows, start, at[rows]], axis=1)[~is_slice]
        if any(START_CODE in _part(heads, unit, read) for unit in before.tolist()):
            return None
        for row in rows[is_slice & (at[rows] < lengths[rows])].tolist():
            left = range(int(at[row]), int(lengths[row]) - length_size)
            if not _are_known(left, length_size, roles, functools.partial(read, row)):
                return None
        rows = rows[~is_slice]
    return found


def _part(heads: Heads, place: tuple[int, int, int], read: PacketBytes) -> bytes:
    """Return bytes [start, stop) of a packet, from its head if possible."""
    row, start, stop = place
    if stop <= heads.shape[1]:
        return heads[row, start:stop].tobytes()
    return bytes(read(row, start, stop - start))


def _are_known(
    left: range, length_size: int, roles: Roles, read: Callable[[int, int], memoryview]
) -> bool:
    """Return whether all units after the first slice have known types.

    Args:
        left: Offsets in the packet at which such a unit may begin.
        length_size: Bytes before each unit that hold its length.
        roles: Roles of units.
        read: Reads some bytes of the packet, by offset and size.
    """
    at = left.start
    while at in left:
        head = read(at, length_size + 1)
        if roles[head[length_size]] == _OTHER:
            return False
        at += length_size + int.from_bytes(head[:length_size], "big")
    return True


def _big_endian(
    heads: Heads, rows: NDArray[np.int64], at: NDArray[np.int64], length_size: int
) -> NDArray[np.int64]:
    value = np.zeros(len(rows), np.int64)
    for byte in range(length_size):
        value = value << 8 | heads[rows, np.minimum(at + byte, heads.shape[1] - 1)]
    return value


def _look_into(
    data: memoryview, row: int, found: FirstSlices, length_size: int, roles: Roles
) -> bool:
    """Find the first slice of one packet; return whether there is one and all units are known."""
    has_slice = False
    for nal in nal_units(data, length_size):
        role = roles[nal[0]] if len(nal) >= _LONGEST_HEADER else _OTHER
        if role == _OTHER:
            return False
        if role == _SLICE and not has_slice:
            found.first[row], found.second[row] = nal[0], nal[1]
            has_slice = True
        found.after_sei[row] |= role == _SEI and not has_slice
    return has_slice
