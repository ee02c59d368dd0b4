"""The contract of an export format, and the parts that formats share.

An export without its manifest is incomplete. The same frames, exported with the same options and
library versions, give the same bytes. An export overwrites nothing: its target must be empty.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from frames_pipeline.clips import Progress
from frames_pipeline.errors import ConflictError
from frames_pipeline.export.encoding import Encoding, Format
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.readers.stored_frames import StoredFrames

MANIFEST: Final = "manifest.json"
EXPORT_FORMAT: Final = "frames-export/1"
"""Version of the manifest."""


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export."""

    url: str
    """Path or URL of the export."""
    clips: int
    """Number of clips."""
    frames: int
    """Number of frames."""
    files: Mapping[str, tuple[int, str]] = field(repr=False)
    """Size and SHA-256 of every file but the manifest, by key relative to `url`."""

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(size for size, _ in self.files.values())


class Exporter(Protocol):
    """A function that writes frames in one format."""

    def __call__(
        self,
        frames: StoredFrames,
        to: str | os.PathLike[str],
        *,
        encoding: Encoding,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Export | int:
        """Write the frames to an empty target; return the export, or the number of its rows."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that frames can be exported to."""

    name: str
    """The name users choose it by."""
    summary: str
    """One line for help and docs."""
    write: Exporter
    """The function that writes it."""
    pixels: tuple[Format, ...] = ("jpeg", "png", "raw")
    """Encodings of pixels that it takes."""
    has_manifest: bool = True
    """Whether `manifest.json` lists its files, which are then the same bytes each time."""


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """The target of an export, with the files put there so far."""

    objects: Objects
    files: dict[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def empty(
        cls, to: str | os.PathLike[str], storage_options: Mapping[str, Any] | None
    ) -> ExportTarget:
        """Return a target after checking that it is empty.

        Files are not synced one by one: after a power failure, hashes show what is missing.

        Raises:
            ConflictError: It has objects.
        """
        objects = Objects(to, storage_options, durable=False)
        if there := objects.list():
            found = "an export is" if MANIFEST in there else f"{len(there)} objects are"
            raise conflict(objects.url, found)
        return cls(objects)

    def put(self, key: str, data: bytes) -> None:
        """Write a file, and note its size and hash."""
        self.objects.put(key, data)
        self.files[key] = (len(data), hashlib.sha256(data).hexdigest())

    def finish(self, frames: StoredFrames, kind: Mapping[str, Any], encoding: Encoding) -> Export:
        """Write the manifest, which makes the export complete.

        Args:
            frames: The exported frames.
            kind: Members of the manifest that only this format has.
            encoding: How pixels are encoded.
        """
        document = {
            "format": EXPORT_FORMAT,
            **kind,
            "encoding": encoding.to_document(),
            "signature": frames.signature_document,
            "signature_key": frames.signature_key,
            "frames_digest": frames.digest,
            "clips": len(frames),
            "frames": frames.num_frames,
            "files": dict(sorted(self.files.items())),
        }
        self.objects.put(MANIFEST, as_json(document))
        return Export(self.objects.url, len(frames), frames.num_frames, dict(self.files))


def check_encoding(frames: StoredFrames, encoding: Encoding) -> None:
    """Check that the encoding holds the frames' samples, before anything is read or written.

    Raises:
        ConfigError: It does not.
    """
    encoding.check(frames.samples, frames.signature_key)


def read_clips(
    frames: StoredFrames, progress: Progress | None, *, encoding: Encoding
) -> Iterator[tuple[str, FrameBatch]]:
    """Yield every clip, read whole; a clip counts as done when the caller asks for the next.

    Args:
        frames: The clips.
        progress: Called with the number of clips done.
        encoding: Encoding of the export. Frames that are stored in it are not decoded.
    """
    decode = not encoding.is_stored(frames.image_encoding)
    for done, clip_id in enumerate(frames):
        yield clip_id, frames.read(clip_id, decode=decode)
        if progress is not None:
            progress(done + 1, len(frames))


def as_json(document: object) -> bytes:
    """Return compact JSON with sorted keys."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def conflict(url: str, found: str) -> ConflictError:
    """Return the error for a target that has something already."""
    return ConflictError(f"{found} at {url} already; delete it, or export to another place")
