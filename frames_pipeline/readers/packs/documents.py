"""`pack.json`, `part.json` and the files of parts, each compared with its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE, checked_document
from frames_pipeline.readers.packs.layout import PACK, PACK_FORMAT, PART_FILE, PART_FORMAT
from frames_pipeline.store.commits import Document

_BEFORE: Final = {
    PACK_FORMAT: (),
    PART_FORMAT: ("format", "signature_key", "shape", "clips", "files"),
}
"""Members of documents that version 0.1 wrote without a checksum; `pack.json` always had one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One array of many clips, from its document."""

    key: str
    """Name: a hash of its clips and codec."""
    shape: tuple[int, ...]
    """Shape of its frames: (n, height, width, channels)."""
    clips: int
    """Number of clips."""
    files: Mapping[str, tuple[int, str]] = field(repr=False)
    """Size and SHA-256 of every file, by key relative to the part."""
    sha256: str
    """SHA-256 of the document."""

    @property
    def path(self) -> str:
        """Folder of the part, relative to the pack."""
        return f"parts/{self.key}"

    @classmethod
    def from_bytes(cls, key: str, data: bytes) -> Part:
        """Return the part that a stored document describes."""
        name = f"parts/{key}/{PART_FILE}"
        document = parsed(data, PART_FORMAT, name=name)
        try:
            return cls(
                key=key,
                shape=tuple(document["shape"]),
                clips=document["clips"],
                files={name: (size, sha) for name, (size, sha) in document["files"].items()},
                sha256=hashlib.sha256(data).hexdigest(),
            )
        except UNREADABLE as error:
            raise damaged(name, error) from error

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(size for size, _ in self.files.values())


def find_document(objects: Objects) -> Document | None:
    """Return the content of `pack.json`; `None` if it is missing."""
    try:
        data = objects.get(PACK)
    except FileNotFoundError:
        return None
    return parsed(data, PACK_FORMAT, name=f"{objects.url}/{PACK}")


def find_readable_document(objects: Objects) -> Document | None:
    """Return the content of `pack.json`; `None` if it is missing or damaged."""
    try:
        return find_document(objects)
    except IntegrityError:
        return None


def read_document(objects: Objects) -> Document:
    """Return the content of `pack.json`.

    Raises:
        CommitNotFoundError: There is no pack.
        IntegrityError: The document is damaged.
    """
    document = find_document(objects)
    if document is None:
        message = f"no pack at {objects.url}; make one with pack_frames"
        raise CommitNotFoundError(message)
    return document


def parsed(data: bytes, expected: str, *, name: str) -> Document:
    """Return a document after comparing it with its checksum and the expected format."""
    try:
        document: Document = checked_document(data, before=_BEFORE)
        found = document["format"]
    except UNREADABLE as error:
        raise damaged(name, error) from error
    if found != expected:
        message = f"{name} is in format {found!r}, and this version reads {expected}"
        raise IntegrityError(message)
    return document


def damage_in(objects: Objects, part: Part) -> list[str]:
    """Read every file of a part, and describe each damaged one."""
    faults = []
    for name in part.files:
        try:
            part_file(objects, part, name)
        except IntegrityError as error:
            faults.append(str(error))
    return faults


def part_file(objects: Objects, part: Part, name: str) -> bytes:
    """Return a file of a part after comparing it with its size and hash."""
    key = f"{part.path}/{name}"
    size, sha256 = part.files[name]
    return checked(objects, key, objects.get_many([key]).get(key), sha256=sha256, size=size)


def checked(
    objects: Objects, key: str, data: bytes | None, *, sha256: str, size: int | None = None
) -> bytes:
    """Return the bytes of an object after comparing them with its size and hash."""
    if data is None:
        message = f"{objects.url}/{key} is missing; pack again with repair"
        raise IntegrityError(message)
    if size not in (None, len(data)) or hashlib.sha256(data).hexdigest() != sha256:
        message = f"{objects.url}/{key} has a wrong size or SHA-256; pack again with repair"
        raise IntegrityError(message)
    return data


def damaged(name: str, error: Exception) -> IntegrityError:
    """Return the error for a file that cannot be parsed."""
    message = f"{name} is damaged ({error!r}); pack again with repair"
    return IntegrityError(message)
