"""Delete what nobody names: attempts that were given up or replaced, and unfinished writes.

A writer at work has an attempt that no commit names yet, and a reader may still hold a commit or
manifest that was replaced. Both are protected by the grace period. An attempt is garbage if

- no commit and no manifest names it, read after the attempt was seen, and
- its last object, its clip's commit and the batch's manifest are all older than the grace period,
  so that it has been neither worked on nor, as far as can be known, named since.

What does not look like an attempt or an unfinished write is never touched.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from frames_pipeline.errors import CommitNotFoundError, ConfigError
from frames_pipeline.objects import ObjectInfo, Objects, is_unfinished
from frames_pipeline.store.commits import ClipCommit
from frames_pipeline.store.layout import (
    ROOT,
    AttemptPath,
    SignatureFolder,
    is_signature_key,
)
from frames_pipeline.store.reader import find_manifest, parse_commit

Listing = Mapping[str, ObjectInfo]

GRACE_SECONDS: Final = 86400.0
"""How long nobody must have named what is deleted, if nobody says: a day."""
_NEVER: Final = float("-inf")
_BESIDE_FRAMES: Final = ("adhoc", "batches", "origins", "tables", "training_sets")
"""Folders under a root in which others than the store write, whole objects all of them."""


@dataclass(frozen=True, slots=True)
class GarbageReport:
    """What nobody names; it was deleted unless this was a dry run."""

    attempts: tuple[str, ...]
    """Folders of attempts, relative to the store."""
    temporary: tuple[str, ...]
    """Unfinished writes outside of those, relative to the store."""
    objects: int
    """Objects in both."""
    bytes: int
    """Their bytes."""
    dry_run: bool
    """Whether everything was left as it was."""

    def __add__(self, other: GarbageReport) -> GarbageReport:
        """Both together."""
        return GarbageReport(
            attempts=self.attempts + other.attempts,
            temporary=self.temporary + other.temporary,
            objects=self.objects + other.objects,
            bytes=self.bytes + other.bytes,
            dry_run=self.dry_run,
        )


def collect_garbage(
    objects: Objects, batches: Iterable[str], *, grace_seconds: float, dry_run: bool
) -> GarbageReport:
    """Find what nobody has named for the grace period and, if this is no dry run, delete it.

    Args:
        objects: The store.
        batches: Keys of the batches to look through; one is listed at a time.
        grace_seconds: Longer than a clip takes to write, than readers hold on to a manifest, and
            than the clocks of those at work differ.
        dry_run: Delete nothing.
    """
    if grace_seconds < 0:
        message = f"grace_seconds={grace_seconds} is below zero; a day is a good choice"
        raise ConfigError(message)
    horizon = time.time() - grace_seconds
    attempts: dict[str, Listing] = {}
    temporary: dict[str, ObjectInfo] = {}
    for batch in batches:
        listing = objects.list(f"{ROOT}/{batch}")
        found = _garbage_attempts(objects, batch, listing=listing, horizon=horizon)
        unfinished = _unfinished(listing, horizon, besides=found)
        if not dry_run:
            objects.delete([*_keys(found), *unfinished])
        attempts |= found
        temporary |= unfinished
    garbage = [info for members in attempts.values() for info in members.values()]
    garbage += temporary.values()
    return GarbageReport(
        attempts=tuple(attempts),
        temporary=tuple(temporary),
        objects=len(garbage),
        bytes=sum(info.size for info in garbage),
        dry_run=dry_run,
    )


def collect_unfinished(objects: Objects, *, grace_seconds: float, dry_run: bool) -> GarbageReport:
    """Find, and if this is no dry run delete, unfinished writes outside of the frames of batches.

    Only a disk has them: an object store has whole objects or none.

    Args:
        objects: The root.
        grace_seconds: Longer than one object takes to write.
        dry_run: Delete nothing.
    """
    horizon = time.time() - grace_seconds
    found: dict[str, ObjectInfo] = {}
    if objects.local_path is not None:
        for folder in _BESIDE_FRAMES:
            found |= _unfinished(objects.list(folder), horizon, besides={})
    if not dry_run:
        objects.delete(found)
    size = sum(info.size for info in found.values())
    return GarbageReport((), tuple(found), objects=len(found), bytes=size, dry_run=dry_run)


def _garbage_attempts(
    objects: Objects, batch: str, *, listing: Listing, horizon: float
) -> dict[str, Listing]:
    garbage: dict[str, Listing] = {}
    for signature_key in sorted({key.split("/")[2] for key in listing}):
        if is_signature_key(signature_key):
            folder = SignatureFolder(batch, signature_key)
            old = _old_attempts(folder, listing, horizon)
            unnamed = _unnamed(objects, folder, attempts=old, listing=listing, horizon=horizon)
            garbage |= {f"{folder.path}/{attempt.path}": old[attempt] for attempt in unnamed}
    return garbage


def _old_attempts(
    folder: SignatureFolder, listing: Listing, horizon: float
) -> dict[AttemptPath, Listing]:
    """The objects of each attempt that was last worked on before the horizon."""
    members: defaultdict[AttemptPath, dict[str, ObjectInfo]] = defaultdict(dict)
    for key, info in listing.items():
        attempt = AttemptPath.parse(key.removeprefix(f"{folder.path}/"))
        if attempt is not None:
            members[attempt][key] = info
    return {
        attempt: infos
        for attempt, infos in members.items()
        if max(attempt.started, *(info.modified for info in infos.values())) <= horizon
    }


def _unnamed(
    objects: Objects,
    folder: SignatureFolder,
    *,
    attempts: Iterable[AttemptPath],
    listing: Listing,
    horizon: float,
) -> list[AttemptPath]:
    """Of attempts that were listed before, those that no document has named since the horizon."""
    in_manifest, changed = _manifest_commits(objects, folder)
    if max(changed, _stored(listing, folder.manifest)) > horizon:
        return []
    unnamed = [attempt for attempt in attempts if attempt.path not in in_manifest]
    commits = _commits(objects, folder, {attempt.clip_key for attempt in unnamed})
    recent = {
        key
        for key, commit in commits.items()
        if max(commit.created.timestamp(), _stored(listing, folder.commit(key))) > horizon
    }
    named = {commit.path for commit in commits.values()}
    return [
        attempt
        for attempt in unnamed
        if attempt.path not in named and attempt.clip_key not in recent
    ]


def _stored(listing: Listing, key: str) -> float:
    """When a document was stored, by the store's clock: its writer's may be wrong."""
    return listing[key].modified if key in listing else _NEVER


def _manifest_commits(objects: Objects, folder: SignatureFolder) -> tuple[set[str], float]:
    """The attempts that the manifest names, and when it was written."""
    try:
        manifest = find_manifest(objects, folder)
    except CommitNotFoundError:
        return set(), _NEVER
    paths = {commit.path for commit in manifest.clips.values()}
    return paths, manifest.created.timestamp()


def _commits(
    objects: Objects, folder: SignatureFolder, clip_keys: Iterable[str]
) -> Mapping[str, ClipCommit]:
    """Current commits by clip key."""
    keys = {folder.commit(clip): clip for clip in clip_keys}
    found = objects.get_many(keys)
    return {keys[key]: parse_commit(folder, key, data) for key, data in found.items()}


def _unfinished(
    listing: Listing, horizon: float, *, besides: Mapping[str, Listing]
) -> dict[str, ObjectInfo]:
    """Old unfinished writes, other than those in attempts that are garbage as a whole."""
    counted = set(_keys(besides))
    return {
        key: info
        for key, info in listing.items()
        if is_unfinished(key) and info.modified <= horizon and key not in counted
    }


def _keys(attempts: Mapping[str, Listing]) -> list[str]:
    return [key for members in attempts.values() for key in members]
