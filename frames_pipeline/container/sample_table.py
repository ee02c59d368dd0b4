"""The sample table of an MP4 or MOV file: where every packet is, and when it is shown.

Only plain tables are taken: one description of samples, in this file, no fragments, at most one
edit, which must start at the first frame shown.

Source: ISO/IEC 14496-12, 8.4 to 8.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ReadBytes = Callable[[int, int], bytes]
"""Bytes of the file from an offset; fewer than asked for at its end."""

_MAX_MOOV: Final = 256 << 20
"""Bytes of the largest movie box that is read: 46 hours need 60 MB."""
_MOST_BOXES: Final = 1000
"""Boxes side by side that are looked at."""
_KNOWN_TABLES: Final = frozenset(
    (b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"sdtp", b"cslg")
)
"""Boxes beside samples that change nothing about them, or are read here."""
_ENCRYPTED: Final = b"encv"
_ONCE: Final = 0x10000
"""The rate of an edit that plays at normal speed, 16.16 fixed point."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """The samples of a track, in decode order. Each array of shape (n,)."""

    offset: Numbers
    """Byte of the file at which the sample starts."""
    size: Numbers
    """Bytes."""
    dts: Numbers
    """Decode timestamps, counted from the start of the only edit."""
    pts: Numbers
    """Presentation timestamps, likewise."""
    duration: Numbers
    """From each decode timestamp to the next."""
    sync: NDArray[np.bool_]
    """The table calls it a sync sample."""

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.offset)


class _UnknownTableError(Exception):
    """The table is not one that is understood in full."""


def read_sample_table(read: ReadBytes, *, file_size: int, track: int) -> SampleTable | None:
    """The sample table of a track, or `None` where it is not plain.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Which track, by the id that its header gives it.
    """
    try:
        moov = _movie(read, file_size)
        return None if moov is None else _plain_table(moov, file_size, track)
    except (_UnknownTableError, KeyError, IndexError, ValueError):
        return None


def _movie(read: ReadBytes, file_size: int) -> memoryview | None:
    """The contents of the movie box; `None` where there is none, or fragments follow it."""
    position, moov = 0, None
    for _ in range(_MOST_BOXES):
        if position + 8 > file_size:
            return moov
        kind, header, size = _box_header(read(position, 16), file_size - position)
        if kind == b"moof" or (kind == b"moov" and (moov is not None or size > _MAX_MOOV)):
            return None
        if kind == b"moov":
            moov = memoryview(read(position + header, size - header))
        position += size
    return None


def _box_header(data: bytes | memoryview, left: int) -> tuple[bytes, int, int]:
    """Kind of a box, bytes of its header, bytes of the whole."""
    size, kind = int.from_bytes(data[:4], "big"), bytes(data[4:8])
    header = 8
    if size == 1:
        size, header = int.from_bytes(data[8:16], "big"), 16
    elif size == 0:
        size = left
    if size < header or size > left:
        raise _UnknownTableError
    return kind, header, size


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > len(data):
            return
        kind, header, size = _box_header(data[position : position + 16], len(data) - position)
        yield kind, data[position + header : position + size]
        position += size
    raise _UnknownTableError


def _inside(data: memoryview, *path: bytes) -> memoryview:
    """The contents of the only box at the end of a path."""
    for name in path:
        found = [contents for kind, contents in _boxes(data) if kind == name]
        if len(found) != 1:
            raise _UnknownTableError
        data = found[0]
    return data


def _plain_table(moov: memoryview, file_size: int, track: int) -> SampleTable:
    if any(kind == b"mvex" for kind, _ in _boxes(moov)):
        raise _UnknownTableError
    [trak] = [
        contents
        for kind, contents in _boxes(moov)
        if kind == b"trak" and _track_id(contents) == track
    ]
    media = _inside(trak, b"mdia", b"minf")
    if not _is_in_this_file(_inside(media, b"dinf", b"dref")):
        raise _UnknownTableError
    boxes = list(_boxes(_inside(media, b"stbl")))
    tables = dict(boxes)
    if len(tables) < len(boxes):
        raise _UnknownTableError
    if not tables.keys() <= _KNOWN_TABLES or not _is_one_clear_kind(tables[b"stsd"]):
        raise _UnknownTableError
    size = _sizes(tables[b"stsz"])
    n = len(size)
    offset = _offsets(tables, size)
    if n == 0 or np.any(size == 0) or np.any(offset + size > file_size):
        raise _UnknownTableError
    duration = _unrolled(_table(tables[b"stts"], 2), n)
    if np.any(duration == 0):
        raise _UnknownTableError
    dts = np.cumsum(duration) - duration
    pts = dts + _shifts(tables.get(b"ctts"), n)
    start = _edit_start(trak)
    if start is not None and start != pts.min():
        raise _UnknownTableError
    origin = start or 0
    sync = np.ones(n, np.bool_)
    if b"stss" in tables:
        rows = _table(tables[b"stss"], 1)[:, 0] - 1
        if np.any(rows < 0):
            raise _UnknownTableError
        sync[:] = False
        sync[rows] = True
    return SampleTable(offset, size, dts - origin, pts - origin, duration, sync)


def _is_in_this_file(dref: memoryview) -> bool:
    """Whether the samples are where their table is: the only reference says so by its flag."""
    return [data[3] & 1 for _, data in _boxes(dref[8:])] == [1]


def _is_one_clear_kind(stsd: memoryview) -> bool:
    """Whether all samples are of one description, and are not encrypted."""
    return [kind == _ENCRYPTED for kind, _ in _boxes(stsd[8:])] == [False]


def _track_id(trak: memoryview) -> int:
    header = _inside(trak, b"tkhd")
    at = 20 if header[0] == 1 else 12
    return int.from_bytes(header[at : at + 4], "big")


def _table(box: memoryview, columns: int, dtype: str = ">u4") -> Numbers:
    """The entries of a box: version and flags, their number, then as many rows."""
    count = int.from_bytes(box[4:8], "big")
    return np.frombuffer(box, dtype, count * columns, 8).reshape(count, columns).astype(np.int64)


def _sizes(stsz: memoryview) -> Numbers:
    fixed, count = int.from_bytes(stsz[4:8], "big"), int.from_bytes(stsz[8:12], "big")
    if fixed:
        raise _UnknownTableError
    return np.frombuffer(stsz, ">u4", count, 12).astype(np.int64)


def _offsets(tables: dict[bytes, memoryview], size: Numbers) -> Numbers:
    """Where samples are: chunks have places, and samples follow each other in a chunk.

    >>> chunks = np.array([100, 900])  # the first holds two samples, the second one
    >>> _in_chunks(chunks, np.array([2, 1]), np.array([10, 20, 30])).tolist()
    [100, 110, 900]
    """
    chunks = (
        _table(tables[b"co64"], 1, ">i8") if b"co64" in tables else _table(tables[b"stco"], 1)
    )[:, 0]
    runs = _table(tables[b"stsc"], 3)
    if np.any(runs[:, 2] != 1) or np.any(np.diff(runs[:, 0]) <= 0) or runs[0, 0] != 1:
        raise _UnknownTableError
    ends = np.append(runs[1:, 0] - 1, len(chunks))
    if np.any(ends > len(chunks)):
        raise _UnknownTableError
    per_chunk = np.repeat(runs[:, 1], ends - (runs[:, 0] - 1))
    if len(per_chunk) != len(chunks) or per_chunk.sum() != len(size):
        raise _UnknownTableError
    return _in_chunks(chunks, per_chunk, size)


def _in_chunks(chunks: Numbers, per_chunk: Numbers, size: Numbers) -> Numbers:
    before = np.cumsum(size) - size
    first = np.cumsum(per_chunk) - per_chunk
    filled = per_chunk > 0
    start = np.repeat(before[first[filled]], per_chunk[filled])
    offset: Numbers = np.repeat(chunks, per_chunk) + before - start
    return offset


def _shifts(ctts: memoryview | None, n: int) -> Numbers:
    """By how much each sample is shown later than it is decoded."""
    if ctts is None:
        return np.zeros(n, np.int64)
    return _unrolled(_table(ctts, 2), n)


def _unrolled(runs: Numbers, n: int) -> Numbers:
    """Runs of (how often, value) as n values. Negative ones would move the whole track."""
    if runs[:, 0].sum() != n or np.any(runs[:, 1] >= 1 << 31):
        raise _UnknownTableError
    return np.repeat(runs[:, 1], runs[:, 0])


def _edit_start(trak: memoryview) -> int | None:
    """The media time at which the only edit starts; `None` where there is no edit list."""
    lists = [contents for kind, contents in _boxes(trak) if kind == b"edts"]
    if not lists:
        return None
    edits = _inside(trak, b"edts", b"elst")
    if edits[0] != 0:  # 64-bit times
        raise _UnknownTableError
    rows = _table(edits, 3, ">i4")
    if len(rows) != 1 or rows[0, 1] < 0 or rows[0, 2] != _ONCE:
        raise _UnknownTableError
    return int(rows[0, 1])
