"""Add up the samples that an MP4 or MOV file declares, before libavformat allocates for them.

A few bytes can declare millions of samples: a track run (`trun`) takes 20 bytes for any number of
samples, and each edit can repeat a whole track. libavformat adds an index entry for each of them,
even where the file is too small to hold them. So the box headers are read first, in the order in
which libavformat visits them:

    ftyp  moov ─ trak ─ edts ─ elst          edits, and the samples that they repeat
                      └ mdia ─ … ─ stsz      samples, and the bytes that they refer to
          moof ─ traf ─ tfdt                 position of the samples in the index
                      └ trun                 samples, often without a byte for each
          mdat                               skipped

Sources: ISO/IEC 14496-12; libavformat/mov.c for boxes that are misplaced, too short or repeated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from frames_pipeline.container.byte_reader import ReadBytes
from frames_pipeline.errors import LimitExceededError

_MOST_BOXES: Final = 4_000_000
"""Maximum boxes to visit; 46 hours in fragments of 2 seconds have 1,200,000."""
_DEEPEST: Final = 11
"""Levels of nested boxes; libavformat stops at the same depth."""
_FEW: Final = 4096
"""Samples, edits or bytes that a file of any size may declare."""
_SMALL: Final = 64 << 20
"""Bytes of samples that a file of any size may refer to."""
_MOST_MOVED: Final = 200_000_000
"""Limit on index entries that libavformat moves to insert fragments out of time order; moving that
many takes a second."""
_INFLATED: Final = 32
"""Largest compression ratio of a `cmov` header; real ones reach 10."""
_SOUND_PER_ENTRY: Final = 160
"""Fewest samples of uncompressed sound that libavformat puts into one index entry."""
_WINDOW: Final = 1024
"""Bytes per read."""
_OVERRUN: Final = 4
"""Bytes that tables may read beyond their boxes, per byte of the file; damaged files do it."""
_LARGEST_DESCRIPTION: Final = 1 << 20
"""Maximum bytes to search in a box of `_HIDING`."""
_DISGUISES: Final = (b"free", b"hoov")
"""Boxes that libavformat reads as `moov` if they contain a movie header."""
_HIDING: Final = (b"stsd", b"iprp", b"jp2h", b"iref")
"""Boxes that libavformat reads child boxes from, behind fields of many kinds."""
_HIDDEN: Final = (b"stsz", b"stz2", b"elst", b"stts", b"ctts", b"trun")
"""Boxes to search for in `_HIDING`: they declare samples or edits."""
_CONTAINERS: Final = frozenset(
    b"moov trak mdia minf stbl dinf edts mvex moof traf tref udta sinf schi ilst wave meta".split()
)
_AT_THE_TOP: Final = (b"trak", b"mdat")
_TOP: Final = (b"root", b"moov")
_EMPTY_EDIT: Final = -1
"""Media time of an empty edit; libavformat skips empty edits at the start."""
_LONG: Final = 1
"""Value of the size field if a 64-bit size follows."""
_COLUMNS: Final = {b"stts": 2, b"ctts": 2, b"stsc": 3, b"stss": 1, b"stps": 1}
"""Numbers in a row of each table."""
_CHUNKS: Final = {b"stco": 4, b"co64": 8}
"""Tables of chunk offsets, and the bytes of a row."""

Numbers = NDArray[np.int64]


class Allowed(NamedTuple):
    """Limits for one file."""

    samples: int
    """Samples of all tracks, counted once for each edit that repeats them."""
    edits: int
    """Edits of all tracks."""
    fragments: int
    """Movie fragments."""
    reuse: int
    """Average number of times that samples may refer to each byte of the file."""


class _Box(NamedTuple):
    kind: bytes
    start: int
    """Offset of its contents."""
    size: int
    """Bytes of its contents that the file has."""

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(slots=True)
class _Track:
    """Counts and tables of one track; repeated boxes of a kind are added up."""

    samples: int = 0
    """Samples in its `stsz` or `stz2`."""
    bytes_: int = 0
    """Bytes of these samples."""
    handlers: set[bytes] = field(default_factory=set)
    """Media types: `vide`, `soun`, …"""
    time_scale: int = 0
    """Units of its time base in a second."""
    edits: list[tuple[int, int]] = field(default_factory=list)
    """(duration in the movie's time scale, media time in the track's)."""
    tables: dict[bytes, list[Callable[[], Numbers]]] = field(default_factory=dict)
    """Readers of its tables, by box type."""
    chunks: int = 0
    groups: int = 0
    """Samples in groups."""

    def rows(self, kind: bytes) -> Numbers:
        """Read all rows of a kind of table. Shape (rows, numbers in a row)."""
        tables = [read() for read in self.tables.get(kind, ())]
        empty = np.empty((0, _COLUMNS[kind]), np.int64)
        return np.concatenate([empty, *tables]).astype(np.int64)


def check_declared(read: ReadBytes, *, file_size: int, name: str, allowed: Allowed) -> None:
    """Check the samples, edits and fragments of an MP4 or MOV file against limits.

    A file of another format passes.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        name: Name of the file in errors.
        allowed: The limits.

    Raises:
        LimitExceededError: The file declares more.
    """
    _Census(read, file_size, name, allowed).walk(_Box(b"root", 0, file_size), depth=0)


def most_referred(file_size: int, reuse: int) -> int:
    """Return the limit on bytes that samples of a file refer to, at `reuse` times its size."""
    return reuse * file_size + _SMALL


class _Window:
    """A file with read-ahead, since box headers are close together."""

    def __init__(self, read: ReadBytes, size: int) -> None:
        self.size = size
        self._read = read
        self._start, self._held = 0, b""

    def read(self, position: int, size: int) -> bytes:
        at = position - self._start
        if at < 0 or at + size > len(self._held):
            self._start, self._held = position, self._read(position, max(size, _WINDOW))
            at = 0
        return self._held[at : at + size]

    def number(self, position: int, size: int = 4) -> int:
        """Read an unsigned number; 0 at the end of the file."""
        return int.from_bytes(self.read(position, size), "big")

    def table(self, position: int, rows: int, dtype: DTypeLike, columns: int = 1) -> Numbers:
        """Read up to `rows` rows, fewer at the end of the file. Shape (rows, columns)."""
        row = columns * np.dtype(dtype).itemsize
        data = self._read(position, rows * row)
        return np.frombuffer(data, dtype, len(data) // row * columns).reshape(-1, columns)


class _Census:
    """Adds up the samples of all boxes, and raises at the first limit."""

    def __init__(self, read: ReadBytes, file_size: int, name: str, allowed: Allowed) -> None:
        self._file = _Window(read, file_size)
        self._file_size = file_size
        self._name = name
        self._allowed = allowed
        self._boxes = self._samples = self._edits = self._fragments = 0
        self._referred = self._overrun = self._moved = 0
        self._time_scale = 0
        self._track = _Track()
        self._fragment_track = 0
        self._latest: dict[int, int] = {}
        """Latest start time of a fragment, by track."""

    def walk(self, parent: _Box, depth: int) -> None:
        for box in self._inside(parent):
            if box.kind in _AT_THE_TOP and parent.kind not in _TOP:
                return  # libavformat stops reading the parent at such a box
            if box.kind == b"trak":
                self._track = _Track()
            elif box.kind == b"moof":
                self._fragments += 1
                self._check("moof", self._fragments, self._allowed.fragments, "fragments")
            if box.kind not in _CONTAINERS:
                self._leaf(box, depth)
            elif depth < _DEEPEST:
                self.walk(self._contents(box), depth + 1)
            if box.kind == b"trak":
                self._close_track()

    def _inside(self, parent: _Box) -> Iterator[_Box]:
        """Iterate over child boxes; a box that is too large ends with its parent."""
        position = parent.start
        while position + 8 <= parent.stop:
            head = self._file.read(position, 16)
            if len(head) < 8:
                return
            size, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
            if size == _LONG and position + 16 <= parent.stop:
                size, header = int.from_bytes(head[8:16], "big"), 16
            elif size == 0:
                size = parent.stop - position
            if size < header:
                return
            self._boxes += 1
            if self._boxes > _MOST_BOXES:
                self._check("all", self._boxes, _MOST_BOXES, "boxes")
            if kind in _DISGUISES and self._file.read(position + 12, 4) in (b"mvhd", b"cmov"):
                kind = b"moov"
            start, stop = position + header, min(position + size, parent.stop)
            yield _Box(kind, start, max(stop - start, 0))
            position += size

    def _contents(self, box: _Box) -> _Box:
        """Return the child boxes of a container: behind version and flags, if a `meta` has them."""
        if box.kind == b"meta" and self._file.number(box.start) == 0:
            return _Box(box.kind, box.start + 4, box.size - 4)
        return box

    def _leaf(self, box: _Box, depth: int) -> None:
        """Count the samples, edits or rows of a box that is not a plain container."""
        if (count := _COUNTED.get(box.kind)) is not None:
            count(self, box)
        elif box.kind in _COLUMNS:
            self._table(box)
        elif box.kind in _CHUNKS:
            row = _CHUNKS[box.kind]
            self._track.chunks += self._rows(box, 8, row, self._file.number(box.start + 4))
        elif box.kind in _HIDING:
            self._search(box)
        elif box.kind == b"cmov" and depth < _DEEPEST:
            self._inflate(box, depth)

    def _rows(self, box: _Box, at: int, row: int, count: int) -> int:
        """Return the number of table rows that libavformat reads, even past the end of the box."""
        found = min(count, max(self._file.size - box.start - at, 0) // row)
        if at + count * row > box.size:
            self._overrun += found * row
            most = _OVERRUN * self._file_size + _FEW
            self._check(box.kind, self._overrun, most, "bytes behind their ends")
        return found

    def _table(self, box: _Box) -> None:
        columns = _COLUMNS[box.kind]
        count = self._rows(box, 8, 4 * columns, self._file.number(box.start + 4))
        rows = partial(self._file.table, box.start + 8, count, ">u4", columns)
        self._track.tables.setdefault(box.kind, []).append(rows)

    def _sizes(self, box: _Box) -> None:
        """Read `stsz`: one size for all samples, or one for each."""
        same, count = self._file.number(box.start + 4), self._file.number(box.start + 8)
        if not same:
            count = self._rows(box, 12, 4, count)
            self._check("stsz", count, self._allowed.samples, "samples")
            self._track.bytes_ += int(self._file.table(box.start + 12, count, ">u4").sum())
        self._track.samples += count
        self._track.bytes_ += same * count

    def _compact_sizes(self, box: _Box) -> None:
        """Read `stz2`: 4, 8 or 16 bits for each sample. Samples of these sizes count no bytes."""
        self._track.samples += 2 * self._rows(
            box, 12, 1, (self._file.number(box.start + 8) + 1) // 2
        )

    def _edit_list(self, box: _Box) -> None:
        is_long = self._file.number(box.start, 1) == 1
        row = 20 if is_long else 12
        count = max(box.size - 8, 0) // row  # libavformat ignores the count in the box
        self._edits += count
        self._check("elst", self._edits, self._allowed.edits, "edits")
        data = self._file.read(box.start + 8, count * row)[: count * row]
        rows = struct.iter_unpack(">qqi" if is_long else ">iii", data[: len(data) // row * row])
        self._track.edits += [(duration, time) for duration, time, _ in rows]

    def _handler(self, box: _Box) -> None:
        self._track.handlers.add(self._file.read(box.start + 8, 4))

    def _header(self, box: _Box) -> None:
        """Read the time scale of `mvhd` or `mdhd`."""
        is_long = self._file.number(box.start, 1) == 1
        scale = self._file.number(box.start + (20 if is_long else 12))
        if box.kind == b"mvhd":
            self._time_scale = scale if 0 < scale < 1 << 31 else 1
        else:
            self._track.time_scale = scale if 0 < scale < 1 << 31 else 0

    def _groups(self, box: _Box) -> None:
        """Read the sample counts of `sbgp`."""
        at = 12 if self._file.number(box.start, 1) == 1 else 8
        count = self._rows(box, at + 4, 8, self._file.number(box.start + at))
        self._track.groups += int(self._file.table(box.start + at + 4, count, ">u4", 2)[:, 0].sum())

    def _fragment_header(self, box: _Box) -> None:
        self._fragment_track = self._file.number(box.start + 4)

    def _fragment_time(self, box: _Box) -> None:
        """Read `tfdt`: a fragment that belongs before others in the index moves their entries."""
        time = self._file.number(box.start + 4, 8 if self._file.number(box.start, 1) == 1 else 4)
        if time < self._latest.get(self._fragment_track, 0):
            self._moved += self._samples
            self._check("tfdt", self._moved, _MOST_MOVED, "moves of samples, out of order")
        self._latest[self._fragment_track] = max(time, self._latest.get(self._fragment_track, 0))

    def _run(self, box: _Box) -> None:
        flags, count = self._file.number(box.start + 1, 3), self._file.number(box.start + 4)
        row, head = 4 * (flags & 0xF00).bit_count(), 8 + 4 * (flags & 0x5).bit_count()
        self._add_samples("trun", self._rows(box, head, row, count) if row else count)

    def _items(self, box: _Box) -> None:
        """Read the count of `iloc` or `iinf`: libavformat allocates for as many items."""
        version = self._file.number(box.start, 1)
        at, size = (6, 2 if version < 2 else 4) if box.kind == b"iloc" else (4, 4 if version else 2)
        count = self._file.number(box.start + at, size)
        self._check(box.kind, count, self._file_size + _FEW, "items")

    def _search(self, box: _Box) -> None:
        """Count boxes in places where the format allows none of their type."""
        data = self._file.read(box.start, min(box.size, _LARGEST_DESCRIPTION))
        for kind in _HIDDEN:
            at = data.find(kind, 4)
            while at >= 4:
                size = int.from_bytes(data[at - 4 : at], "big")
                self._leaf(_Box(kind, box.start + at + 4, max(size - 8, 0)), _DEEPEST)
                at = data.find(kind, at + 4)

    def _inflate(self, box: _Box, depth: int) -> None:
        """Walk a compressed movie header: `dcom`, then `cmvd` with its size and its data (zlib)."""
        size = self._file.number(box.start + 20)
        most = _INFLATED * box.size + _FEW
        self._check("cmvd", size, most, "bytes of a compressed header")
        packed = self._file.read(box.start + 24, box.size)
        try:
            data = zlib.decompressobj().decompress(packed, size or 1)
        except zlib.error:
            return
        outer, self._file = self._file, _Window(lambda at, n: data[at : at + n], len(data))
        self.walk(_Box(b"root", 0, len(data)), depth + 1)
        self._file = outer

    def _close_track(self) -> None:
        """Add the samples of a track to the sums, after its last box."""
        track, self._track = self._track, _Track()
        repeated = entries = _entries(track)
        if len(track.edits) > 1:
            repeated = _samples_in_edits(track, self._time_scale)
            if _is_old_sound(track):
                repeated = repeated // _SOUND_PER_ENTRY + len(track.edits)
        self._add_samples("elst" if repeated > entries else "stsz", repeated)
        self._referred += track.bytes_ * max(repeated, 1) // max(entries, 1)
        self._check_bytes(b"stsz", self._referred, "bytes of samples")
        if track.groups:
            most = max(int(track.rows(kind)[:, 0].sum()) for kind in (b"stts", b"ctts"))
            self._check("sbgp", max(most, track.groups), self._file_size + _FEW, "samples")

    def _add_samples(self, kind: str, count: int) -> None:
        self._samples += count
        self._check(kind, self._samples, self._file_size + _FEW, "samples")
        self._check(kind, self._samples, self._allowed.samples, "samples")

    def _check_bytes(self, kind: bytes, found: int, unit: str) -> None:
        self._check(kind, found, most_referred(self._file_size, self._allowed.reuse), unit)

    def _check(self, kind: str | bytes, found: int, most: int, unit: str) -> None:
        """Raise if a file declares more than a limit."""
        if found > most:
            named = kind if isinstance(kind, str) else kind.decode("latin-1")
            message = f"{self._name} has {self._file_size} bytes, and its {named} boxes declare "
            message += f"{found} {unit}; the limit is {most}"
            raise LimitExceededError(message)


_COUNTED: Final[dict[bytes, Callable[[_Census, _Box], None]]] = {
    b"stsz": _Census._sizes,
    b"stz2": _Census._compact_sizes,
    b"elst": _Census._edit_list,
    b"hdlr": _Census._handler,
    b"mvhd": _Census._header,
    b"mdhd": _Census._header,
    b"sbgp": _Census._groups,
    b"tfhd": _Census._fragment_header,
    b"tfdt": _Census._fragment_time,
    b"trun": _Census._run,
    b"iloc": _Census._items,
    b"iinf": _Census._items,
}


def _is_old_sound(track: _Track) -> bool:
    """Return whether libavformat indexes a track by chunk: sound with sample durations of 1."""
    return track.handlers == {b"soun"} and _has_unit_durations(track)


def _has_unit_durations(track: _Track) -> bool:
    durations = track.rows(b"stts")
    return len(durations) == 1 and int(durations[0, 1]) == 1


def _entries(track: _Track) -> int:
    """Return the number of index entries that libavformat makes of a track, before edits."""
    if _is_old_sound(track):
        return _sound_entries(track)
    if b"vide" in track.handlers or not _has_unit_durations(track):
        return track.samples
    return max(track.samples, _sound_entries(track))  # its sample entry may be of sound


def _sound_entries(track: _Track) -> int:
    """Return the maximum number of index entries for chunks of uncompressed sound."""
    first, samples, _ = track.rows(b"stsc").T
    chunks = np.diff(first, append=track.chunks + 1).clip(0, track.chunks)
    return int((chunks * (samples // _SOUND_PER_ENTRY + 1.0)).sum())


def _samples_in_edits(track: _Track, movie_scale: int) -> int:
    """Return the number of samples in edits, from the key sample before each to the second after.

    An edit with a duration of 0 reaches to the end. If tables are repeated or contradict each
    other, every edit counts as all samples.
    """
    edits = np.array(track.edits, np.float64)
    edits = edits[np.argmax(edits[:, 1] != _EMPTY_EDIT) :]
    if not movie_scale or not _fits(track):
        return len(edits) * track.samples
    start = edits[:, 1]
    length = edits[:, 0] * ((track.time_scale or movie_scale) / movie_scale)
    length[length <= 0] = np.inf
    shift = float(np.abs(track.rows(b"ctts")[:, 1].astype(np.int32)).max(initial=0))
    lead = shift + (track.time_scale if b"soun" in track.handlers else 0)
    first = _rank(start - lead, track.rows(b"stts"), "left")
    last = _rank(start + length + shift, track.rows(b"stts"), "right")
    n = track.samples
    if b"stss" in track.tables:
        keys = np.concatenate([[0], track.rows(b"stss")[:, 0] - 1, [n, n, n]])
        first = keys[np.searchsorted(keys[:-3], first, "right") - 1]
        last = keys[np.searchsorted(keys[:-2], last, "right") + 1]
    return int((np.minimum(last, n) - np.minimum(first, n) + 3).clip(0, n).sum())


def _fits(track: _Track) -> bool:
    """Return whether no table is repeated, `stts` covers all samples, and `stss` is in order."""
    if any(len(tables) > 1 for tables in track.tables.values()):
        return False
    counts, keys = track.rows(b"stts")[:, 0], track.rows(b"stss")[:, 0]
    if b"stss" in track.tables and not (len(keys) and np.all(np.diff(keys, prepend=0) > 0)):
        return False
    return len(counts) > 0 and bool(np.all(counts > 0)) and int(counts.sum()) == track.samples


def _rank(
    times: NDArray[np.float64], durations: Numbers, side: Literal["left", "right"]
) -> Numbers:
    """Return the number of samples before each time; of samples at one time none, or all.

    >>> _rank(np.array([0.0, 25.0, 99.0]), np.array([[4, 10], [2, 0]]), "left").tolist()
    [0, 2, 4]
    """
    count, each = durations[:, 0], durations[:, 1].astype(np.float64)
    ends = np.cumsum(count * each)
    if side == "left":
        times = np.minimum(times, ends[-1])
    run = np.searchsorted(ends, times, side).clip(0, len(count) - 1)
    inside = (times - (ends - count * each)[run]) / np.maximum(each[run], 1)
    inside = np.floor(inside) if side == "left" else np.ceil(inside + 1)
    rank: Numbers = (np.cumsum(count) - count)[run] + inside.clip(0, count[run]).astype(np.int64)
    return rank
