"""Read the sample table of an MP4 or MOV file: the place and times of every packet.

Only plain tables are supported: one sample description, samples in the same file, no fragments, at
most one edit, which must start at the first shown frame.

Source: ISO/IEC 14496-12, 8.4 to 8.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.container.byte_reader import ReadBytes

_MAX_MOOV: Final = 256 << 20
"""Largest movie box to read, in bytes: 46 hours need 60 MB."""
_MOST_BOXES: Final = 1000
"""Maximum boxes to visit per parent."""
_KNOWN_TABLES: Final = frozenset(
    (b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"sdtp", b"cslg")
)
"""Boxes that are read here, or that have no effect on samples."""
_ENCRYPTED: Final = b"encv"
_ONCE: Final = 0x10000
"""The rate of an edit that plays at normal speed, 16.16 fixed point."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """The samples of a track, in decode order. Each array of shape (n,)."""

    offset: Numbers
    """Offset of the sample in the file."""
    size: Numbers
    """Bytes."""
    dts: Numbers
    """Decode timestamps, counted from the start of the only edit."""
    pts: Numbers
    """Presentation timestamps, likewise."""
    duration: Numbers
    """Time from each decode timestamp to the next."""
    sync: NDArray[np.bool_]
    """Whether the table marks it as a sync sample."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.offset)


class _UnknownTableError(Exception):
    """The table is not supported."""


def read_sample_table(read: ReadBytes, *, file_size: int, track: int) -> SampleTable | None:
    """Return the sample table of a track; `None` if it is not plain.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Id of the track, as in its header.
    """
    try:
        moov = _movie(read, file_size)
        return None if moov is None else _plain_table(moov, file_size, track)
    except (_UnknownTableError, KeyError, IndexError, ValueError):
        return None


def _movie(read: ReadBytes, file_size: int) -> memoryview | None:
    """Return the contents of the movie box; `None` if it is missing or fragments follow."""
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
    """Return kind, header size and total size of a box."""
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
    """Return the contents of the only box at the end of a path."""
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
    """Return whether the samples are in the table's file: the only reference is flagged so."""
    return [data[3] & 1 for _, data in _boxes(dref[8:])] == [1]


def _is_one_clear_kind(stsd: memoryview) -> bool:
    """Return whether all samples have one description and are not encrypted."""
    return [kind == _ENCRYPTED for kind, _ in _boxes(stsd[8:])] == [False]


def _track_id(trak: memoryview) -> int:
    header = _inside(trak, b"tkhd")
    at = 20 if header[0] == 1 else 12
    return int.from_bytes(header[at : at + 4], "big")


def _table(box: memoryview, columns: int, dtype: str = ">u4") -> Numbers:
    """Return the rows of a box, which follow version, flags and the number of rows."""
    count = int.from_bytes(box[4:8], "big")
    return np.frombuffer(box, dtype, count * columns, 8).reshape(count, columns).astype(np.int64)


def _sizes(stsz: memoryview) -> Numbers:
    fixed, count = int.from_bytes(stsz[4:8], "big"), int.from_bytes(stsz[8:12], "big")
    if fixed:
        raise _UnknownTableError
    return np.frombuffer(stsz, ">u4", count, 12).astype(np.int64)


def _offsets(tables: dict[bytes, memoryview], size: Numbers) -> Numbers:
    """Return the offsets of samples: chunks have offsets, and samples follow each other in a chunk.

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
    """Return the delay from decoding to display of each sample."""
    if ctts is None:
        return np.zeros(n, np.int64)
    return _unrolled(_table(ctts, 2), n)


def _unrolled(runs: Numbers, n: int) -> Numbers:
    """Return runs of (count, value) as n values.

    Refuses negative ones, which would move the track.
    """
    if runs[:, 0].sum() != n or np.any(runs[:, 1] >= 1 << 31):
        raise _UnknownTableError
    return np.repeat(runs[:, 1], runs[:, 0])


def _edit_start(trak: memoryview) -> int | None:
    """Return the media time at which the only edit starts; `None` without an edit list."""
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
