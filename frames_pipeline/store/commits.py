"""Documents about stored clips: a clip's commit, a batch's manifest, and their JSON.

Documents may gain members; readers ignore unknown ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from frames_pipeline.errors import IntegrityError
from frames_pipeline.frames import DecodeReport, Outcome
from frames_pipeline.io.sums import UNREADABLE, check_members, checked_document, with_sum
from frames_pipeline.store.layout import AttemptPath, clip_key, digest_of_clips

Document = Mapping[str, Any]
"""A JSON object."""

T = TypeVar("T")

COMMIT_FORMAT: Final = "frames-commit/1"
MANIFEST_FORMAT: Final = "frames-manifest/1"

ENCODER: Final = "encoder"
"""Member of a clip's provenance: the library that encoded its images, with its version."""

REMEDY: Final = "mend it with `frames-pipeline repair`, or run with repair"
"""Advice in errors about a damaged document."""

_COMMIT: Final = {
    "format": str, "clip_id": str, "path": str, "objects": dict, "bytes": int, "num_frames": int,
    "height": int, "width": int, "digest": str, "fingerprint": str, "signature": str,
    "outcome": dict, "created": str,
}  # fmt: skip
"""Members of a commit as version 0.1 wrote it, and their types."""
_MANIFEST: Final = {
    "format": str, "batch": str, "signature": dict, "signature_key": str, "clips": dict,
    "digest": str, "created": str,
}  # fmt: skip
"""Members of a manifest as version 0.1 wrote it, and their types."""

_BEFORE: Final[Mapping[str, Collection[str]]] = {COMMIT_FORMAT: _COMMIT, MANIFEST_FORMAT: _MANIFEST}

_COPIED: Final = "copied from "
"""Start of a report's `choice` if nothing was decoded."""
_OUTCOME: Final = tuple(item.name for item in fields(Outcome))
_DECODE: Final = tuple(item.name for item in fields(DecodeReport))


class StoredObject(NamedTuple):
    """Size and hash of an object of an attempt; `[size, sha256]` in JSON."""

    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of the bytes, in hex."""


@dataclass(frozen=True, slots=True)
class ClipCommit:
    """The current attempt of a clip, with the hashes of its objects."""

    clip_id: str
    """Id of the clip."""
    path: str
    """The attempt's folder, relative to its signature's."""
    objects: Mapping[str, StoredObject] = field(repr=False)
    """Every object of the attempt, by key relative to `path`."""
    num_frames: int
    """Number of frames, with repeats."""
    height: int
    """In pixels."""
    width: int
    """In pixels."""
    digest: str
    """`FrameBatch.digest()` of the written frames: equal for all attempts with the same frames."""
    fingerprint: str
    """Fingerprint of the source's bytes, as given by the writer; empty if it gave none."""
    signature_key: str
    """Key of the signature of the frames."""
    outcome: Outcome
    """Outcome of the extraction."""
    created: datetime
    """Time of writing."""

    @property
    def bytes(self) -> int:
        """Stored bytes of the attempt."""
        return sum(stored.size for stored in self.objects.values())

    def to_document(self) -> Document:
        """Return the document to store at `commits/{clip_key}.json`."""
        return {
            "format": COMMIT_FORMAT,
            "clip_id": self.clip_id,
            "path": self.path,
            "objects": self.objects,
            "bytes": self.bytes,
            "num_frames": self.num_frames,
            "height": self.height,
            "width": self.width,
            "digest": self.digest,
            "fingerprint": self.fingerprint,
            "signature": self.signature_key,
            "outcome": outcome_document(self.outcome),
            "created": self.created.isoformat(),
        }

    @classmethod
    def from_document(cls, document: Document) -> ClipCommit:
        """Make a commit from its document.

        Raises:
            ValueError: It is not a commit's document.
        """
        _check_format(document, COMMIT_FORMAT)
        check_members(document, _COMMIT)
        attempt = AttemptPath.parse(document["path"])
        if attempt is None or attempt.path != document["path"]:
            message = f"path {document['path']!r} is not an attempt's"
            raise ValueError(message)
        if attempt.clip_key != clip_key(document["clip_id"]):
            message = f"path {attempt.path!r} does not belong to clip {document['clip_id']!r}"
            raise ValueError(message)
        return cls(
            clip_id=document["clip_id"],
            path=attempt.path,
            objects={key: StoredObject(*stored) for key, stored in document["objects"].items()},
            num_frames=document["num_frames"],
            height=document["height"],
            width=document["width"],
            digest=document["digest"],
            fingerprint=document["fingerprint"],
            signature_key=document["signature"],
            outcome=outcome_from_document(document["outcome"]),
            created=datetime.fromisoformat(document["created"]),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The commits of a batch: a snapshot, which later writes leave unchanged."""

    batch_key: str
    """Key of the batch."""
    signature_key: str
    """Key of the signature."""
    signature: Document
    """The signature's canonical document, readable by later versions."""
    clips: Mapping[str, ClipCommit] = field(repr=False)
    """Commits by clip id."""
    created: datetime
    """Time of writing."""

    @property
    def digest(self) -> str:
        """Data version: equal for the same frames of the same clips, in any attempts."""
        return digest_of_clips((clip, commit.digest) for clip, commit in self.clips.items())

    def to_document(self) -> Document:
        """Return the document to store at `manifest.json`."""
        return {
            "format": MANIFEST_FORMAT,
            "batch": self.batch_key,
            "signature": self.signature,
            "signature_key": self.signature_key,
            "clips": {clip: commit.to_document() for clip, commit in self.clips.items()},
            "digest": self.digest,
            "created": self.created.isoformat(),
        }

    @classmethod
    def from_document(cls, document: Document) -> Manifest:
        """Make a manifest from its document.

        Raises:
            ValueError: It is not a manifest's document, or its digest does not match its clips.
        """
        _check_format(document, MANIFEST_FORMAT)
        check_members(document, _MANIFEST)
        clips = document["clips"]
        manifest = cls(
            batch_key=document["batch"],
            signature_key=document["signature_key"],
            signature=document["signature"],
            clips={clip: ClipCommit.from_document(commit) for clip, commit in clips.items()},
            created=datetime.fromisoformat(document["created"]),
        )
        if manifest.digest != document["digest"]:
            message = f"digest {document['digest']} does not match its clips, {manifest.digest}"
            raise ValueError(message)
        return manifest


def now() -> datetime:
    """Return the current time, for a document's `created`."""
    return datetime.now(UTC)


def dump(document: Document) -> bytes:
    """Return the JSON of a document.

    Raises:
        TypeError, ValueError: It contains a value that JSON cannot represent.
    """
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def dump_summed(document: Document) -> bytes:
    """Return the JSON of a document, with a checksum of itself."""
    return with_sum(dump(document))


def parse(data: bytes, make: Callable[[Document], T], *, name: str) -> T:
    """Return the value of a stored document, made by `make`.

    Raises:
        IntegrityError: The bytes are not such a document, or are damaged; the message names the
            object `name`.
    """
    try:
        return make(checked_document(data, before=_BEFORE))
    except UNREADABLE as error:
        message = f"{name} is damaged or is another document ({error!r}); {REMEDY}"
        raise IntegrityError(message) from error


def outcome_document(outcome: Outcome) -> Document:
    """Return an outcome as JSON: its fields, with status and decoder first."""
    decode = asdict(outcome.decode)
    for name in ("family", "copied_from"):  # version 0.1 had neither
        if not decode[name]:
            del decode[name]
    document = {
        "status": outcome.status,
        "decoder": outcome.decode.decoder,
        **asdict(outcome),
        "decode": decode,
        "missing": [int(position) for position in outcome.missing],
        "corrupt": [int(position) for position in outcome.corrupt],
    }
    if not outcome.timestamps_detail:  # version 0.1 had none
        del document["timestamps_detail"]
    return document


def outcome_from_document(document: Document) -> Outcome:
    """Make an outcome from its document."""
    values = _known(_OUTCOME, document) | {
        "decode": _decode_report(document["decode"]),
        "missing": tuple(document["missing"]),
        "corrupt": tuple(document["corrupt"]),
    }
    return Outcome(**values)


def _decode_report(document: Document) -> DecodeReport:
    """Return a report. Version 0.1 recorded copied frames only in the text of `choice`."""
    report = DecodeReport(**_known(_DECODE, document))
    if report.copied_from or not report.choice.startswith(_COPIED):
        return report
    return replace(report, copied_from=report.choice.removeprefix(_COPIED))


def _known(names: Iterable[str], document: Document) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


def _check_format(document: Document, expected: str) -> None:
    if document["format"] != expected:
        message = f"format {document['format']!r} is not {expected!r}"
        raise ValueError(message)
