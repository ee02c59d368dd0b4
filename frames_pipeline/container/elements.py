"""Visit the boxes of MP4 and MOV files, and the elements of Matroska files.

Only the parts on the way to the wanted ones are visited, a few dozen bytes each, up to a limit.

Sources: ISO/IEC 14496-12; RFC 9559.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from frames_pipeline.container.byte_reader import ReadBytes

_MOST: Final = 1000
"""Maximum boxes or elements to visit per parent."""
_MOST_READS: Final = 5000
"""Maximum reads per file; an ordinary file takes 20 to 50."""
_PICTURE_ENTRY: Final = 86
"""Bytes of a visual sample entry before its child boxes."""

_SEGMENT, _SEEK_HEAD, _SEEK, _CLUSTER = 0x18538067, 0x114D9B74, 0x4DBB, 0x1F43B675
_SEEK_ID, _SEEK_POSITION = 0x53AB, 0x53AC
_TRACKS, _TRACK, _TRACK_TYPE, _CODEC, _VIDEO = 0x1654AE6B, 0xAE, 0x83, 0x86, 0xE0
_IS_VIDEO: Final = 1


class Part(NamedTuple):
    """A box or an element."""

    kind: bytes | int
    start: int
    """Offset of its contents."""
    stop: int
    """Offset behind its contents."""


class DamagedError(Exception):
    """A box or an element is missing, cut off, or out of bounds."""


def bounded(read: ReadBytes) -> ReadBytes:
    """Return a reader that raises `DamagedError` after a maximum number of reads."""
    left = iter(range(_MOST_READS))

    def bounded(offset: int, size: int) -> bytes:
        if next(left, None) is None:
            raise DamagedError
        return read(offset, size)

    return bounded


def sample_entries(read: ReadBytes, *, file_size: int, track: int) -> Iterator[Part]:
    """Yield the sample entries of a track of an MP4 or MOV file.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Id of the track, as in its `tkhd`.
    """
    movie = _first(boxes(read, Part(b"", 0, file_size)), b"moov")
    for trak in boxes(read, movie):
        if trak.kind == b"trak" and _track_id(read, trak) == track:
            table = trak
            for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
                table = _first(boxes(read, table), kind)
            yield from boxes(read, table._replace(start=table.start + 8))
            return


def boxes_of_entry(read: ReadBytes, entry: Part) -> Iterator[Part]:
    """Yield the boxes in a visual sample entry."""
    return boxes(read, entry._replace(start=entry.start + _PICTURE_ENTRY - 8))


def boxes(read: ReadBytes, inside: Part) -> Iterator[Part]:
    """Yield the boxes of a part; one that is too large ends with it."""
    position = inside.start
    for _ in range(_MOST):
        head = read(position, 16) if position + 8 <= inside.stop else b""
        if len(head) < 8:
            return
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = inside.stop - position
        if size < header:
            raise DamagedError
        yield _part(head[4:8], position + header, position + size, inside)
        position += size


def _track_id(read: ReadBytes, trak: Part) -> int:
    header = _first(boxes(read, trak), b"tkhd")
    at = 20 if exactly(read, header.start, 1) == b"\1" else 12
    return int.from_bytes(exactly(read, header.start + at, 4), "big")


def video_tracks(read: ReadBytes, *, file_size: int) -> Iterator[tuple[Part, Part]]:
    """Yield the tracks of a Matroska file that FFmpeg treats as videos, with their video elements.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
    """
    tracks = _tracks(read, file_size)
    for track in () if tracks is None else elements(read, tracks):
        if track.kind != _TRACK:
            continue
        parts = {part.kind: part for part in elements(read, track)}
        is_video = _TRACK_TYPE in parts and number(read, parts[_TRACK_TYPE]) == _IS_VIDEO
        if is_video and _CODEC in parts and _VIDEO in parts:
            yield track, parts[_VIDEO]


def _tracks(read: ReadBytes, file_size: int) -> Part | None:
    """Return the list of tracks: before the first cluster, or where the seek head points."""
    segment = _first(elements(read, Part(0, 0, file_size)), _SEGMENT)
    elsewhere = None
    for element in elements(read, segment):
        if element.kind == _TRACKS:
            return element
        if element.kind == _CLUSTER:
            break
        if element.kind == _SEEK_HEAD and elsewhere is None:
            elsewhere = _tracks_offset(read, element)
    if elsewhere is None:
        return None
    found = next(elements(read, segment._replace(start=segment.start + elsewhere)), None)
    return found if found is not None and found.kind == _TRACKS else None


def _tracks_offset(read: ReadBytes, head: Part) -> int | None:
    """Return the offset of the list of tracks in the segment, by the seek head."""
    for seek in elements(read, head):
        if seek.kind == _SEEK:
            entry = {part.kind: number(read, part) for part in elements(read, seek)}
            if entry.get(_SEEK_ID) == _TRACKS:
                return entry.get(_SEEK_POSITION)
    return None


def elements(read: ReadBytes, inside: Part) -> Iterator[Part]:
    """Yield the elements of a part; one that is too large ends with it."""
    position = inside.start
    for _ in range(_MOST):
        head = read(position, 12) if position < inside.stop else b""
        if len(head) < 2:
            return
        kind, length = _coded(head, keep_marker=True)
        size, more = _coded(head[length:], keep_marker=False)
        start = position + length + more
        is_open = size == (1 << 7 * more) - 1  # all ones: it extends to the end of its parent
        position = inside.stop if is_open else start + size
        yield _part(kind, start, position, inside)


def _coded(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Return a variable-length number and its bytes, which the zeros before the marker count."""
    length = 9 - data[0].bit_length() if data else 0
    if not 1 <= length <= min(8, len(data)):
        raise DamagedError
    found = int.from_bytes(data[:length], "big")
    return (found if keep_marker else found & (1 << 7 * length) - 1), length


def number(read: ReadBytes, part: Part) -> int:
    """Return an element's contents as an unsigned number; empty means zero."""
    size = part.stop - part.start
    if size > 8:
        raise DamagedError
    return int.from_bytes(exactly(read, part.start, size), "big")


def exactly(read: ReadBytes, offset: int, size: int) -> bytes:
    """Return bytes from an offset, all of them."""
    data = read(offset, size)
    if len(data) < size:
        raise DamagedError
    return data


def _first(parts: Iterator[Part], kind: bytes | int) -> Part:
    """Return the first part of a kind."""
    for part in parts:
        if part.kind == kind:
            return part
    raise DamagedError


def _part(kind: bytes | int, start: int, stop: int, inside: Part) -> Part:
    """Return a part that ends no later than its parent."""
    return Part(kind, start, max(start, min(stop, inside.stop)))
