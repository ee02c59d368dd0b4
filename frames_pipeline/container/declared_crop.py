"""Read the crop that a container declares: MP4's `clap`, Matroska's PixelCrop.

FFmpeg reads the crop since 7.1, and PyAV does not expose it. This reader visits only the boxes and
elements on the way to the crop, a few dozen bytes each, up to a limit. A crop that is damaged or
larger than the picture is ignored, as FFmpeg does.

Sources: ISO/IEC 14496-12, 12.1.4; RFC 9559, 5.1.4.1.28.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

from frames_pipeline.container.byte_reader import ReadBytes
from frames_pipeline.frames import Crop

_MOST: Final = 1000
"""Maximum boxes or elements to visit per parent."""
_MOST_READS: Final = 5000
"""Maximum reads per file; an ordinary file takes 20 to 50."""
_PICTURE_ENTRY: Final = 86
"""Bytes of a visual sample entry before its child boxes."""
_APERTURE: Final = 32
"""Bytes of a `clap` box's contents."""

_SEGMENT, _SEEK_HEAD, _SEEK, _CLUSTER = 0x18538067, 0x114D9B74, 0x4DBB, 0x1F43B675
_SEEK_ID, _SEEK_POSITION = 0x53AB, 0x53AC
_TRACKS, _TRACK, _TRACK_TYPE, _CODEC, _VIDEO = 0x1654AE6B, 0xAE, 0x83, 0x86, 0xE0
_IS_VIDEO: Final = 1
_WIDTH, _HEIGHT = 0xB0, 0xBA
_CROPS: Final = (0x54BB, 0x54AA, 0x54CC, 0x54DD)
"""Top, bottom, left, right."""


class _Part(NamedTuple):
    """A box or an element."""

    kind: bytes | int
    start: int
    """Offset of its contents."""
    stop: int
    """Offset behind its contents."""


def _part(kind: bytes | int, start: int, stop: int, inside: _Part) -> _Part:
    """Return a part that ends no later than its parent."""
    return _Part(kind, start, max(start, min(stop, inside.stop)))


class _DamagedError(Exception):
    """The crop cannot be read: a box or an element is missing, cut off, or out of bounds."""


def mp4_crop(read: ReadBytes, *, file_size: int, track: int) -> Crop | None:
    """Return the crop of a track of an MP4 or MOV file; `None` if it declares none.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Id of the track, as in its `tkhd`.
    """
    try:
        return _mp4_crop(_bounded(read), _Part(b"", 0, file_size), track)
    except _DamagedError:
        return None


def matroska_crop(read: ReadBytes, *, file_size: int) -> Crop | None:
    """Return the crop of the first video track of a Matroska or WebM file; `None` if it has none.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
    """
    read = _bounded(read)
    try:
        tracks = _tracks(read, file_size)
        video = None if tracks is None else next(_videos(read, tracks), None)
        return None if video is None else _pixel_crop(read, video)
    except _DamagedError:
        return None


def _bounded(read: ReadBytes) -> ReadBytes:
    """Return a reader that refuses more than `_MOST_READS` reads."""
    left = iter(range(_MOST_READS))

    def bounded(offset: int, size: int) -> bytes:
        if next(left, None) is None:
            raise _DamagedError
        return read(offset, size)

    return bounded


def _mp4_crop(read: ReadBytes, file: _Part, track: int) -> Crop | None:
    movie = _first(_boxes(read, file), b"moov")
    for trak in _boxes(read, movie):
        if trak.kind == b"trak" and _track_id(read, trak) == track:
            table = trak
            for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
                table = _first(_boxes(read, table), kind)
            return _aperture_of(read, table)
    return None


def _aperture_of(read: ReadBytes, stsd: _Part) -> Crop | None:
    """Return the last valid aperture of all sample entries, as FFmpeg keeps the last one."""
    found = None
    for entry in _boxes(read, stsd._replace(start=stsd.start + 8)):
        sizes = _exactly(read, entry.start + 24, 4)
        width, height = int.from_bytes(sizes[:2], "big"), int.from_bytes(sizes[2:], "big")
        inside = entry._replace(start=entry.start + _PICTURE_ENTRY - 8)
        for box in _boxes(read, inside):
            if box.kind == b"clap":
                data = _exactly(read, box.start, _APERTURE)
                found = clean_aperture(data, width=width, height=height) or found
    return found


def clean_aperture(clap: bytes, *, width: int, height: int) -> Crop | None:
    """Return the crop of a `clap` box; `None` if it is empty or does not fit the picture.

    Args:
        clap: The contents of the box: width, height, horizontal and vertical offset of the
            aperture's centre from the picture's, each a numerator and a denominator.
        width: Width of the picture in its sample entry, in pixels.
        height: Height of the picture in its sample entry, in pixels.
    """
    numbers = [int.from_bytes(clap[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    w, h, x, y = zip(numbers[::2], numbers[1::2], strict=True)
    if min(w[0], h[0]) < 0 or min(w[1], h[1], x[1], y[1]) <= 0 or not width or not height:
        return None
    across = _edges(width, Fraction(*w), Fraction(*x))
    down = _edges(height, Fraction(*h), Fraction(*y))
    if across is None or down is None or not any(across + down):
        return None
    return Crop(*down, *across)


def _edges(side: int, aperture: Fraction, offset: Fraction) -> tuple[int, int] | None:
    """Return the pixels before and behind the aperture, along one axis of the picture."""
    centre = Fraction(side - 1, 2) + offset
    before, last = int(centre - (aperture - 1) / 2), int(centre + (aperture - 1) / 2)
    behind = side - 1 - last
    makes_sense = aperture <= side and min(before, behind) >= 0 and before + behind < side
    return (before, behind) if makes_sense else None


def _boxes(read: ReadBytes, inside: _Part) -> Iterator[_Part]:
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
            raise _DamagedError
        yield _part(head[4:8], position + header, position + size, inside)
        position += size


def _first(parts: Iterator[_Part], kind: bytes | int) -> _Part:
    """Return the first part of a kind."""
    for part in parts:
        if part.kind == kind:
            return part
    raise _DamagedError


def _track_id(read: ReadBytes, trak: _Part) -> int:
    header = _first(_boxes(read, trak), b"tkhd")
    at = 20 if _exactly(read, header.start, 1) == b"\1" else 12
    return int.from_bytes(_exactly(read, header.start + at, 4), "big")


def _tracks(read: ReadBytes, file_size: int) -> _Part | None:
    """Return the list of tracks: before the first cluster, or where the seek head points."""
    segment = _first(_elements(read, _Part(0, 0, file_size)), _SEGMENT)
    elsewhere = None
    for element in _elements(read, segment):
        if element.kind == _TRACKS:
            return element
        if element.kind == _CLUSTER:
            break
        if element.kind == _SEEK_HEAD and elsewhere is None:
            elsewhere = _tracks_offset(read, element)
    if elsewhere is None:
        return None
    found = next(_elements(read, segment._replace(start=segment.start + elsewhere)), None)
    return found if found is not None and found.kind == _TRACKS else None


def _tracks_offset(read: ReadBytes, head: _Part) -> int | None:
    """Return the offset of the list of tracks in the segment, by the seek head."""
    for seek in _elements(read, head):
        if seek.kind == _SEEK:
            entry = {part.kind: _number(read, part) for part in _elements(read, seek)}
            if entry.get(_SEEK_ID) == _TRACKS:
                return entry.get(_SEEK_POSITION)
    return None


def _videos(read: ReadBytes, tracks: _Part) -> Iterator[_Part]:
    """Yield the video elements of tracks that FFmpeg treats as videos."""
    for track in _elements(read, tracks):
        if track.kind != _TRACK:
            continue
        parts = {part.kind: part for part in _elements(read, track)}
        is_video = _TRACK_TYPE in parts and _number(read, parts[_TRACK_TYPE]) == _IS_VIDEO
        if is_video and _CODEC in parts and _VIDEO in parts:
            yield parts[_VIDEO]


def _pixel_crop(read: ReadBytes, video: _Part) -> Crop | None:
    declared = {
        part.kind: _number(read, part)
        for part in _elements(read, video)
        if part.kind in (_WIDTH, _HEIGHT, *_CROPS)
    }
    top, bottom, left, right = (declared.get(edge, 0) for edge in _CROPS)
    fits = left + right < declared.get(_WIDTH, 0) and top + bottom < declared.get(_HEIGHT, 0)
    return Crop(top, bottom, left, right) if fits and any((top, bottom, left, right)) else None


def _elements(read: ReadBytes, inside: _Part) -> Iterator[_Part]:
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
        raise _DamagedError
    number = int.from_bytes(data[:length], "big")
    return (number if keep_marker else number & (1 << 7 * length) - 1), length


def _number(read: ReadBytes, part: _Part) -> int:
    """Return an element's contents as an unsigned number; empty means zero."""
    size = part.stop - part.start
    if size > 8:
        raise _DamagedError
    return int.from_bytes(_exactly(read, part.start, size), "big")


def _exactly(read: ReadBytes, offset: int, size: int) -> bytes:
    data = read(offset, size)
    if len(data) < size:
        raise _DamagedError
    return data
