"""Read the Dolby Vision profile that a container declares.

MP4 and MOV have a `dvcC`, `dvvC` or `dvwC` box in the sample entry, Matroska has the same record
in a BlockAdditionMapping. PyAV does not expose it.

Sources: Dolby Vision Streams Within the ISO Base Media File Format; RFC 9559, 5.1.4.1.17.
"""

from __future__ import annotations

from typing import Final

from frames_pipeline.container.byte_reader import ReadBytes
from frames_pipeline.container.elements import (
    DamagedError,
    bounded,
    boxes_of_entry,
    elements,
    exactly,
    number,
    sample_entries,
    video_tracks,
)

_RECORDS: Final = (b"dvcC", b"dvvC", b"dvwC")
"""Types of the configuration record, for profiles up to 7, 8 to 10, and above."""
_ADDITION, _ADDITION_TYPE, _ADDITION_RECORD = 0x41E4, 0x41E7, 0x41ED
_BEFORE_PROFILE: Final = 2
"""Bytes of a record before the profile: major and minor version."""


def mp4_dolby_vision(read: ReadBytes, *, file_size: int, track: int) -> int | None:
    """Return the Dolby Vision profile of a track of an MP4 or MOV file; `None` without one.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
        track: Id of the track, as in its `tkhd`.
    """
    read = bounded(read)
    try:
        for entry in sample_entries(read, file_size=file_size, track=track):
            for box in boxes_of_entry(read, entry):
                if box.kind in _RECORDS:
                    return _profile(read, box.start)
    except DamagedError:
        pass
    return None


def matroska_dolby_vision(read: ReadBytes, *, file_size: int) -> int | None:
    """Return the Dolby Vision profile of the first video track of a Matroska or WebM file.

    Args:
        read: Reads the file.
        file_size: Bytes of the file.
    """
    read = bounded(read)
    types = [int.from_bytes(record, "big") for record in _RECORDS]
    try:
        first = next(video_tracks(read, file_size=file_size), None)
        for addition in () if first is None else elements(read, first[0]):
            if addition.kind == _ADDITION:
                parts = {part.kind: part for part in elements(read, addition)}
                kind, record = parts.get(_ADDITION_TYPE), parts.get(_ADDITION_RECORD)
                if kind is not None and record is not None and number(read, kind) in types:
                    return _profile(read, record.start)
    except DamagedError:
        pass
    return None


def _profile(read: ReadBytes, record: int) -> int:
    """Return the first seven bits behind the version."""
    return exactly(read, record + _BEFORE_PROFILE, 1)[0] >> 1
