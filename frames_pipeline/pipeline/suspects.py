"""Suspect families: a plan decoded their frames wrongly, so their videos are decoded linearly.

    {root}/suspects/{family key}.json        findings, time, batch and version

Only the document's name has an effect: frames of that family that were decoded by plan are suspect,
and its videos are decoded linearly. Its contents are for people, and never change. Delete it to
decode the family by plan again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

import av

from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.frames import DecodeReport
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE, checked_document, with_sum
from frames_pipeline.pipeline.families import Family, codec_prefix
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.store import ClipCommit
from frames_pipeline.tables import ClipRow

_ROOT: Final = "suspects"
_FORMAT: Final = "suspect-family/1"
_KEY: Final = re.compile(r"[a-z0-9_]+-[a-z0-9_]+-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A family that was decoded wrongly, with the findings."""

    key: str
    """Key of the family."""
    family: Mapping[str, Any] = field(default_factory=dict)
    """Common properties of its videos: the fields of `Family`."""
    batch: str = ""
    """Key of the batch with the findings."""
    signature: str = ""
    """Key of the signature of the compared frames."""
    video: str = ""
    """The video that was decoded linearly."""
    found: tuple[str, ...] = ()
    """Differences, a line per frame."""
    version: str = ""
    """Version of this package that planned it."""
    ffmpeg: str = ""
    """Version of FFmpeg that decoded it."""
    created: str = ""
    """When it was found, ISO 8601, UTC."""

    @classmethod
    def of(
        cls, family: Family, *, batch: str, signature: str, video: str, found: Collection[str]
    ) -> Suspect:
        """Return a suspect found now, by this version."""
        return cls(
            key=family.key,
            family=asdict(family),
            batch=batch,
            signature=signature,
            video=video,
            found=tuple(found),
            version=metadata.version("frames-pipeline"),
            ffmpeg=av.ffmpeg_version_info,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def description(self) -> str:
        """The properties of the family in a line."""
        return ", ".join(f"{name}={value}" for name, value in self.family.items() if value)


class Suspects:
    """The suspect families under a store's root."""

    def __init__(self, objects: Objects) -> None:
        """Keep the root's objects."""
        self._objects = objects

    def keys(self) -> frozenset[str]:
        """Return the keys of the suspect families, by one listing."""
        names = (name.removeprefix(f"{_ROOT}/") for name in self._objects.names(_ROOT))
        found = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return frozenset(key for key in found if _KEY.fullmatch(key))

    def read(self) -> list[Suspect]:
        """Return the suspect families, sorted by key. The findings of a damaged one report that."""
        documents = self._objects.get_many(_path(key) for key in sorted(self.keys()))
        return [_parsed(path, data) for path, data in documents.items()]

    def mark(self, suspect: Suspect) -> bool:
        """Make a family suspect. Return whether it was not suspect before."""
        document = {"format": _FORMAT, **asdict(suspect)}
        return self._objects.put_new(_path(suspect.key), _document(document))

    def damaged(self) -> dict[str, str]:
        """Return damaged documents, with the fault of each."""
        documents = self._objects.get_many(_path(key) for key in sorted(self.keys()))
        return {path: fault for path, data in documents.items() if (fault := _fault(data))}

    def write_anew(self, path: str) -> None:
        """Write a damaged document again, without its findings: its family stays suspect."""
        lost = Suspect(_key(path), found=("the findings are lost: the document was damaged",))
        self._objects.put(path, _document({"format": _FORMAT, **asdict(lost)}))

    def clear(self, key: str) -> None:
        """Decode a family by plan again. Frames that were decoded linearly meanwhile stay.

        Raises:
            CommitNotFoundError: The family is not suspect.
        """
        if key not in (there := self.keys()):
            message = f"no suspect family {key!r} under {self._objects.url}; there is "
            raise CommitNotFoundError(message + (", ".join(sorted(there)) or "none"))
        self._objects.delete([_path(key)])


def is_suspect(report: DecodeReport, suspects: Collection[str], *, codec: str | None) -> bool:
    """Return whether frames were decoded by plan and belong to a suspect family.

    Frames of version 0.1 do not record their family; they are suspect with any family of their
    codec.

    Args:
        report: Report of their decode.
        suspects: Keys of the suspect families.
        codec: The codec of their video; `None` if unknown.
    """
    if report.fallback:
        return False
    if report.family:
        return report.family in suspects
    prefix = "" if codec is None else codec_prefix(codec)
    return any(key.startswith(prefix) for key in suspects)


def suspect_clips(
    batch: str, commits: Iterable[ClipCommit], workspace: Workspace, suspects: Collection[str]
) -> tuple[str, ...]:
    """Return the sorted ids of a batch's suspect clips. Reads nothing if no family is suspect.

    Args:
        batch: Key of the batch.
        commits: Commits of its frames.
        workspace: Workspace of the batch.
        suspects: Keys of the suspect families.
    """
    if not suspects:
        return ()
    codecs = {row.clip_id: row.codec for row in workspace.read(ClipRow, batch)}
    return tuple(
        sorted(
            commit.clip_id
            for commit in commits
            if is_suspect(commit.outcome.decode, suspects, codec=codecs.get(commit.clip_id))
        )
    )


def linear_reason(family: str, suspects: Collection[str]) -> str:
    """Return the reason to decode a family linearly; empty to decode by plan."""
    return f"family {family} was decoded wrongly by plan" if family in suspects else ""


def _parsed(path: str, data: bytes) -> Suspect:
    if fault := _fault(data):
        return Suspect(_key(path), found=(f"the document is damaged: {fault}",))
    document = checked_document(data, before={})
    known = {name: document[name] for name in Suspect.__slots__}
    return Suspect(**known | {"key": _key(path), "found": tuple(document["found"])})


def _fault(data: bytes) -> str:
    """Describe the fault of a document; empty if it is sound."""
    try:
        document = checked_document(data, before={_FORMAT: ()})
    except UNREADABLE as error:
        return repr(error)
    lacking = {"format", *Suspect.__slots__} - document.keys()
    return f"it lacks {', '.join(sorted(lacking))}" if lacking else ""


def _document(members: Mapping[str, Any]) -> bytes:
    return with_sum(json.dumps(members, indent=1).encode("utf-8", "backslashreplace"))


def _key(path: str) -> str:
    return path.removeprefix(f"{_ROOT}/").removesuffix(".json")


def _path(key: str) -> str:
    return f"{_ROOT}/{key}.json"
