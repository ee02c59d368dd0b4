"""Damage a file: its bytes, its boxes, its text."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

Mutation = Callable[[bytearray, Random], None]

_EDGES: Final = (0, 1, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD: Final = 2048
"""Bytes at either end that are likely headers."""
_NAMES: Final = (
    b"other.ts",
    b"http://127.0.0.1:9/x",
    b"/etc/passwd",
    b"file:other.ts",
    b"\0",
    b"-",
)


def mutated(data: bytes, random: Random) -> bytes:
    """Return the bytes after one to four mutations."""
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        if damaged:
            random.choice(_MUTATIONS)(damaged, random)
    return bytes(damaged)


def flip_bits(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def flip_header_bits(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 2, 4))):
        data[_near_an_end(data, random)] ^= 1 << random.randrange(8)


def set_number(data: bytearray, random: Random) -> None:
    at = _near_an_end(data, random)
    data[at : at + 4] = struct.pack(random.choice((">I", "<I")), random.choice(_EDGES))


def truncate(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data)) :]


def behead(data: bytearray, random: Random) -> None:
    del data[: random.randrange(len(data))]


def zero_run(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    data[start:stop] = bytes(stop - start)


def noise_run(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    data[start:stop] = random.randbytes(stop - start)


def delete_run(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    del data[start:stop]


def duplicate_run(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    data[stop:stop] = data[start:stop]


def move_run(data: bytearray, random: Random) -> None:
    start, stop = _span(data, random)
    run = data[start:stop]
    del data[start:stop]
    at = random.randrange(len(data) + 1)
    data[at:at] = run


def cut_transport_packets(data: bytearray, random: Random) -> None:
    """Remove whole packets of 188 bytes, as a bad line does."""
    for _ in range(random.choice((1, 2, 5))):
        at = random.randrange(len(data) or 1) // 188 * 188
        del data[at : at + 188]


def change_a_box(data: bytearray, random: Random) -> None:
    """Resize, rename, remove or repeat an MP4 box."""
    boxes = _boxes(data)
    if not boxes:
        return
    start, stop = random.choice(boxes)
    match random.randrange(4):
        case 0:
            data[start : start + 4] = struct.pack(">I", random.choice(_EDGES))
        case 1:
            other, _ = random.choice(boxes)
            data[start + 4 : start + 8] = data[other + 4 : other + 8]
        case 2:
            del data[start:stop]
        case 3:
            data[stop:stop] = data[start:stop]


def change_a_line(data: bytearray, random: Random) -> None:
    """Remove, repeat or change a line of text."""
    lines = bytes(data).split(b"\n")
    at = random.randrange(len(lines))
    match random.randrange(3):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, random.choice(lines))
        case 2:
            lines[at] = lines[at].rpartition(b" ")[0] + b" " + random.choice(_NAMES)
    data[:] = b"\n".join(lines)


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits, flip_bits, flip_header_bits, set_number, truncate, behead, zero_run, noise_run,
    delete_run, duplicate_run, move_run, cut_transport_packets, change_a_box, change_a_box,
    change_a_line,
)  # fmt: skip

_CONTAINERS: Final = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"moof", b"traf", b"mvex")
)


def _boxes(data: bytearray) -> list[tuple[int, int]]:
    """Return start and stop of all MP4 boxes, nested ones included."""
    found: list[tuple[int, int]] = []
    spans = [(0, len(data))]
    while spans:
        at, end = spans.pop()
        while at + 8 <= end:
            size, name = struct.unpack_from(">I4s", data, at)
            if size < 8 or at + size > end:
                break
            found.append((at, at + size))
            if name in _CONTAINERS:
                spans.append((at + 8, at + size))
            at += size
    return found


def _near_an_end(data: bytearray, random: Random) -> int:
    offset = random.randrange(min(_HEAD, len(data)))
    return offset if random.random() < 0.5 else len(data) - 1 - offset


def _span(data: bytearray, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data))
    return start, min(len(data), start + random.choice((1, 4, 16, 100, 1000, 5000)))
