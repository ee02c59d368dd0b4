"""Compare stored objects with their commits, and report every difference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from frames_pipeline.errors import IntegrityError
from frames_pipeline.io.objects import ObjectInfo, Objects
from frames_pipeline.store.commits import ClipCommit, Manifest
from frames_pipeline.store.committed import CommittedObjects, Fault
from frames_pipeline.store.layout import SignatureFolder, clip_key
from frames_pipeline.store.lookup import (
    commit_keys,
    document_damage,
    parse_commit,
    parse_manifest,
    signature_damage,
)
from frames_pipeline.store.reader import PIXELS, read_clip


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Counts of the checked objects, and the faults found."""

    attempts: int
    """Number of attempts that commits or manifests name. A clip that was extracted again after its
    batch was published has two."""
    objects: int
    """Number of objects in these commits."""
    bytes: int
    """Bytes of these objects, as committed."""
    faults: tuple[Fault, ...]
    """All differences from the commits."""

    @property
    def ok(self) -> bool:
        """Whether there are no faults."""
        return not self.faults


def verify(objects: Objects, folders: Iterable[SignatureFolder], *, deep: bool) -> VerifyReport:
    """Compare every object with its commit: its size in a listing or, if `deep`, all bytes."""
    commits: list[ClipCommit] = []
    faults: list[Fault] = []
    for folder in folders:
        faults += _signature_faults(objects, folder)
        named, unreadable = _readable_commits(objects, folder)
        # List after reading the commits: an attempt's objects are older than its commit.
        listing = objects.list(f"{folder.path}/clips")
        commits += named.values()
        faults += unreadable
        for commit in named.values():
            faults += _clip_faults(CommittedObjects(objects, folder, commit), listing, deep=deep)
    return _report(commits, faults)


def verify_manifest(objects: Objects, manifest: Manifest) -> VerifyReport:
    """Compare the objects of a manifest with a listing, by size. Leaves out commits outside it.

    Reads no commit, only the listing and one small object.
    """
    folder = SignatureFolder(manifest.batch_key, manifest.signature_key)
    listing = objects.list(f"{folder.path}/clips")
    faults = _signature_faults(objects, folder)
    for commit in manifest.clips.values():
        faults += CommittedObjects(objects, folder, commit).faults(listing)
    return _report(manifest.clips.values(), faults)


def _report(commits: Collection[ClipCommit], faults: Iterable[Fault]) -> VerifyReport:
    return VerifyReport(
        attempts=len(commits),
        objects=sum(len(commit.objects) for commit in commits),
        bytes=sum(commit.bytes for commit in commits),
        faults=tuple(faults),
    )


def _signature_faults(objects: Objects, folder: SignatureFolder) -> list[Fault]:
    damage = signature_damage(objects, folder)
    return [Fault(folder.signature, damage)] if damage else []


def _readable_commits(
    objects: Objects, folder: SignatureFolder
) -> tuple[Mapping[str, ClipCommit], list[Fault]]:
    """Return the readable commits, by attempt, and the faults of the other documents."""
    named: dict[str, ClipCommit] = {}
    faults: list[Fault] = []
    missing: dict[str, str] = {}
    keys = [*commit_keys(objects, folder), folder.manifest]
    for key, data in objects.get_many(keys).items():
        try:
            for commit in _commits(folder, key, data):
                named[commit.path] = commit
                missing[folder.commit(clip_key(commit.clip_id))] = commit.clip_id
        except IntegrityError as error:
            faults.append(Fault(key, document_damage(error)))
    faults += [
        Fault(key, "is missing", clip_id=clip) for key, clip in missing.items() if key not in keys
    ]
    return named, faults


def _commits(folder: SignatureFolder, key: str, data: bytes) -> Iterable[ClipCommit]:
    if key == folder.manifest:
        return parse_manifest(folder, data).clips.values()
    return [parse_commit(folder, key, data)]


def _clip_faults(
    attempt: CommittedObjects, listing: Mapping[str, ObjectInfo], *, deep: bool
) -> list[Fault]:
    faults = list(attempt.faults(listing))
    return faults if faults or not deep else _content_faults(attempt)


def _content_faults(attempt: CommittedObjects) -> list[Fault]:
    others = [name for name in attempt.commit.objects if not name.startswith(PIXELS)]
    try:
        attempt.get_many(others)
        frames = read_clip(attempt.objects, attempt.folder, attempt.commit)
    except IntegrityError as error:
        return [Fault(attempt.path, str(error), clip_id=attempt.commit.clip_id)]
    if frames.digest() != attempt.commit.digest:
        found = f"holds frames with digest {frames.digest()}, not {attempt.commit.digest}"
        return [Fault(attempt.path, found, clip_id=attempt.commit.clip_id)]
    return []
