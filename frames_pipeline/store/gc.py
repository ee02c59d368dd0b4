"""Delete objects that no commit or manifest references: old attempts and unfinished writes.

A running writer has an attempt that no commit names yet, and a reader may still hold a replaced
commit or manifest. The grace period protects both. An attempt is garbage if

- no commit and no manifest names it, read after the attempt was listed, and
- its last object, its clip's commit and the batch's manifest are all older than the grace period,
  so that no writer works on it and, as far as can be known, no document named it since.

A damaged document may name any attempt: a damaged manifest keeps every attempt of its batch and
signature, a damaged commit every attempt of its clip. Others are still deleted.

Times in the future come from a wrong clock. In a document or in an attempt's name they are ignored.
As an object's modification time they count as now, so the object stays; a collection that deletes
also sets these times to now, so that their grace period begins.

Objects that look like neither an attempt nor an unfinished write are left alone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.io.objects import ObjectInfo, Objects, is_unfinished
from frames_pipeline.store.layout import (
    ROOT,
    AttemptPath,
    SignatureFolder,
    is_signature_key,
)
from frames_pipeline.store.lookup import find_manifest, parse_commit

Listing = Mapping[str, ObjectInfo]

_NEVER: Final = float("-inf")
_BESIDE_FRAMES: Final = ("adhoc", "batches", "origins", "suspects", "tables", "training_sets")
"""Folders under a root in which other modules write, always whole objects."""


@dataclass(frozen=True, slots=True)
class GarbageReport:
    """Objects that no commit or manifest references; deleted unless this was a dry run."""

    attempts: tuple[str, ...]
    """Folders of attempts, relative to the store."""
    temporary: tuple[str, ...]
    """Unfinished writes outside these attempts, relative to the store."""
    objects: int
    """Number of objects in both."""
    bytes: int
    """Bytes of these objects."""
    dry_run: bool
    """Whether this was a dry run, which deletes nothing."""
    unreadable: tuple[str, ...] = ()
    """Damaged manifests and commits: every attempt that they may name was kept."""
    ahead: tuple[str, ...] = ()
    """Objects with a modification time in the future, which count as written now. Unless this was a
    dry run, local ones were set to now."""

    def __add__(self, other: GarbageReport) -> GarbageReport:
        """Return the sum of two reports."""
        return GarbageReport(
            attempts=self.attempts + other.attempts,
            temporary=self.temporary + other.temporary,
            objects=self.objects + other.objects,
            bytes=self.bytes + other.bytes,
            dry_run=self.dry_run,
            unreadable=self.unreadable + other.unreadable,
            ahead=self.ahead + other.ahead,
        )


@dataclass(slots=True)
class _Look:
    """The listing of one batch, and the damaged documents found in it."""

    objects: Objects
    batch: str
    now: float
    grace: float
    listing: Listing
    unreadable: list[str] = field(default_factory=list)

    @property
    def horizon(self) -> float:
        """The earliest time that counts as young."""
        return self.now - self.grace

    @property
    def ahead(self) -> list[str]:
        """Objects with a modification time in the future."""
        return [key for key, info in self.listing.items() if info.modified > self.now]

    def stored(self, key: str) -> float:
        """Return the time at which an object was stored, by the store's clock."""
        return self.listing[key].modified if key in self.listing else _NEVER

    def written(self, key: str, created: float) -> float:
        """Return the time a document was stored: its own, if it is newer than the listing.

        If its own is in the future, the writer's clock is wrong, and the store's time is read
        again.
        """
        if created <= self.now:
            return max(created, self.stored(key))
        try:
            return self.objects.info(key).modified or self.now
        except FileNotFoundError:  # withdrawn since
            return self.now


def collect_garbage(
    objects: Objects, batches: Iterable[str], *, grace_seconds: float, dry_run: bool
) -> GarbageReport:
    """Find, and without `dry_run` delete, objects unreferenced for the grace period.

    Args:
        objects: The store.
        batches: Keys of the batches; one is listed at a time.
        grace_seconds: Longer than writing a clip takes, than readers hold a manifest, and than
            clocks differ.
        dry_run: Only report.
    """
    if grace_seconds < 0:
        message = f"grace_seconds={grace_seconds} must not be below zero; a day is a good choice"
        raise ConfigError(message)
    now = time.time()
    attempts: dict[str, Listing] = {}
    temporary: dict[str, ObjectInfo] = {}
    unreadable: list[str] = []
    ahead: list[str] = []
    for batch in batches:
        look = _Look(objects, batch, now, grace_seconds, objects.list(f"{ROOT}/{batch}"))
        found = _garbage_attempts(look)
        unfinished = _unfinished(look, besides=found)
        if not dry_run:
            objects.delete([*_keys(found), *unfinished])
            objects.stamp_now(look.ahead)
        attempts |= found
        temporary |= unfinished
        unreadable += look.unreadable
        ahead += look.ahead
    garbage = [info for members in attempts.values() for info in members.values()]
    garbage += temporary.values()
    return GarbageReport(
        attempts=tuple(attempts),
        temporary=tuple(temporary),
        objects=len(garbage),
        bytes=sum(info.size for info in garbage),
        dry_run=dry_run,
        unreadable=tuple(unreadable),
        ahead=tuple(ahead),
    )


def collect_unfinished(objects: Objects, *, grace_seconds: float, dry_run: bool) -> GarbageReport:
    """Find, and without `dry_run` delete, unfinished writes outside the frames of batches.

    Only a disk can have them: an object store holds whole objects only.

    Args:
        objects: The root.
        grace_seconds: Longer than writing one object takes.
        dry_run: Only report.
    """
    now = time.time()
    found: dict[str, ObjectInfo] = {}
    ahead: list[str] = []
    for folder in _BESIDE_FRAMES if objects.local_path is not None else ():
        look = _Look(objects, folder, now, grace_seconds, objects.list(folder))
        found |= _unfinished(look, besides={})
        ahead += [key for key in look.ahead if is_unfinished(key)]
    if not dry_run:
        objects.delete(found)
        objects.stamp_now(ahead)
    size = sum(info.size for info in found.values())
    return GarbageReport((), tuple(found), objects=len(found), bytes=size, dry_run=dry_run)


def _garbage_attempts(look: _Look) -> dict[str, Listing]:
    garbage: dict[str, Listing] = {}
    for signature_key in sorted({key.split("/")[2] for key in look.listing}):
        if is_signature_key(signature_key):
            folder = SignatureFolder(look.batch, signature_key)
            old = _old_attempts(folder, look)
            unnamed = _unreferenced(folder, look, attempts=old)
            garbage |= {f"{folder.path}/{attempt.path}": old[attempt] for attempt in unnamed}
    return garbage


def _old_attempts(folder: SignatureFolder, look: _Look) -> dict[AttemptPath, Listing]:
    """Return the objects of each attempt last written before the horizon."""
    members: defaultdict[AttemptPath, dict[str, ObjectInfo]] = defaultdict(dict)
    for key, info in look.listing.items():
        attempt = AttemptPath.parse(key.removeprefix(f"{folder.path}/"))
        if attempt is not None:
            members[attempt][key] = info
    return {
        attempt: infos
        for attempt, infos in members.items()
        if _last_write(attempt, infos, look.now) <= look.horizon
    }


def _last_write(attempt: AttemptPath, infos: Listing, now: float) -> float:
    """Return the time of an attempt's last write. A future time in its name is ignored."""
    stored = max(info.modified for info in infos.values())
    is_known = stored > 0  # some stores give no time
    return stored if is_known and attempt.started > now else max(attempt.started, stored)


def _unreferenced(
    folder: SignatureFolder, look: _Look, *, attempts: Iterable[AttemptPath]
) -> list[AttemptPath]:
    """Return the listed attempts that no document has named since the horizon."""
    in_manifest = _manifest_paths(folder, look)
    if in_manifest is None:
        return []
    unnamed = [attempt for attempt in attempts if attempt.path not in in_manifest]
    in_commits = _commit_paths(folder, look, {attempt.clip_key for attempt in unnamed})
    return [
        attempt
        for attempt in unnamed
        if attempt.clip_key in in_commits and attempt.path != in_commits[attempt.clip_key]
    ]


def _manifest_paths(folder: SignatureFolder, look: _Look) -> set[str] | None:
    """Return the attempts that the manifest names; `None` if it forbids deleting any."""
    try:
        manifest = find_manifest(look.objects, folder)
    except CommitNotFoundError:
        return None if look.stored(folder.manifest) > look.horizon else set()
    except IntegrityError:
        look.unreadable.append(folder.manifest)
        return None
    if look.written(folder.manifest, manifest.created.timestamp()) > look.horizon:
        return None
    return {commit.path for commit in manifest.clips.values()}


def _commit_paths(folder: SignatureFolder, look: _Look, clip_keys: Iterable[str]) -> dict[str, str]:
    """Return each clip's committed attempt by clip key, empty if there is no commit.

    Clips with a young or unreadable commit are left out: their attempts stay.
    """
    keys = {clip: folder.commit(clip) for clip in clip_keys}
    found = look.objects.get_many(keys.values())
    paths = {}
    for clip, key in keys.items():
        if key not in found:
            paths[clip] = ""
            continue
        try:
            commit = parse_commit(folder, key, found[key])
        except IntegrityError:
            look.unreadable.append(key)
            continue
        if look.written(key, commit.created.timestamp()) <= look.horizon:
            paths[clip] = commit.path
    return paths


def _unfinished(look: _Look, *, besides: Mapping[str, Listing]) -> dict[str, ObjectInfo]:
    """Return old unfinished writes outside the attempts to delete."""
    counted = set(_keys(besides))
    return {
        key: info
        for key, info in look.listing.items()
        if is_unfinished(key) and info.modified <= look.horizon and key not in counted
    }


def _keys(attempts: Mapping[str, Listing]) -> list[str]:
    return [key for members in attempts.values() for key in members]
