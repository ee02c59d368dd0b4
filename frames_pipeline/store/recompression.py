"""Write committed frames again with another lossless compression: same pixels, fewer bytes.

```
read the commit's frames, compare hashes and digest
write clips/{clip}/{new attempt}/…        nothing refers to it yet
commits/{clip}.json                       unless a newer commit is there: that one stays
manifest.json                             same clips, same digests: the same data version
```

Garbage collection later deletes the former attempts. A process that is killed in between leaves
whole clips of either kind, and the next call goes on from there.

A store has no conditional PUT, so an extraction may commit between the look at
`commits/{clip}.json` and the PUT. Its attempt is complete by then. So the attempts are listed after
the PUT, and a younger one that an extraction wrote is committed again, from its own objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.store.chunk_codecs import ChunkCodec
from frames_pipeline.store.codecs import (
    METADATA,
    Encoded,
    Shards,
    encode_frames,
    encode_group,
    encode_seconds,
)
from frames_pipeline.store.commits import (
    ClipCommit,
    Document,
    Manifest,
    StoredObject,
    now,
    outcome_from_document,
)
from frames_pipeline.store.committed import CommittedObjects, decodable
from frames_pipeline.store.layout import AttemptPath, SignatureFolder, clip_key, new_attempt
from frames_pipeline.store.lookup import find_commit, find_manifest
from frames_pipeline.store.reader import read_clip
from frames_pipeline.store.writer import put_attempt, put_commit, put_manifest, versions

_MARK: Final = "recompressed_from"
"""Attribute of attempts that were written here: the attempt that an extraction wrote."""
_COMMITTED_WITHIN: Final = 60.0
"""Seconds within which a writer commits an attempt after its last object."""


def codecs_of(
    objects: Objects, folder: SignatureFolder, commits: Iterable[ClipCommit]
) -> dict[str, ChunkCodec | IntegrityError | None]:
    """Return the codec of each clip's frames; read and compare one object of each.

    A codec that is unknown here is `None`. A damaged clip has its error.
    """
    attempts = {
        f"{folder.path}/{commit.path}/{METADATA}": CommittedObjects(objects, folder, commit)
        for commit in commits
    }
    found = objects.get_many(attempts)
    codecs: dict[str, ChunkCodec | IntegrityError | None] = {}
    for key, attempt in attempts.items():
        try:
            codecs[attempt.commit.clip_id] = _codec(attempt, found.get(key))
        except IntegrityError as error:
            codecs[attempt.commit.clip_id] = error
    return codecs


def recompress_clip(
    objects: Objects, folder: SignatureFolder, commit: ClipCommit, codec: ChunkCodec
) -> ClipCommit | None:
    """Write a commit's frames again, and commit them, unless a newer commit has replaced it.

    Returns:
        The new commit; `None` if the clip has a newer one, or was withdrawn.

    Raises:
        IntegrityError: An object differs from the commit, or the frames from its digest.
    """
    frames = read_clip(objects, folder, commit)
    if frames.digest() != commit.digest:
        message = f"{folder.path}/{commit.path} holds frames with digest {frames.digest()}, not "
        raise IntegrityError(f"{message}{commit.digest}; extract clip {commit.clip_id!r} again")
    group = json.loads(CommittedObjects(objects, folder, commit).get(METADATA))
    extracted = group["attributes"].get(_MARK, commit.path)
    group["attributes"] = _attributes(group["attributes"], codec, extracted)
    path = new_attempt(commit.clip_id)
    stored = put_attempt(objects, f"{folder.path}/{path}", _encoded(group, frames, codec))
    if not _is_current(objects, folder, commit):
        return None
    moved = replace(commit, path=path, objects=stored, created=now())
    put_commit(objects, folder, moved)
    return None if _restore_newer(objects, folder, extracted, moved) else moved


def republish(
    objects: Objects, folder: SignatureFolder, commits: Mapping[str, ClipCommit]
) -> Manifest | None:
    """Publish the given attempts of clips in place of others with the same frames.

    Clips whose commit has other frames stay as they were published: the run that extracted them
    publishes them.

    Returns:
        The manifest as it is now; `None` if the batch was never published.
    """
    while True:
        try:
            before = find_manifest(objects, folder)
        except CommitNotFoundError:
            return None
        clips = {
            clip: commits[clip] if _same_frames(commits.get(clip), commit) else commit
            for clip, commit in before.clips.items()
        }
        if clips == before.clips:
            return before
        after = replace(before, clips=clips, created=now())
        if find_manifest(objects, folder).created == before.created:  # else published meanwhile
            put_manifest(objects, folder, after)
            return after


def _codec(attempt: CommittedObjects, group: bytes | None) -> ChunkCodec | None:
    data = attempt.checked(METADATA, group)
    with decodable(attempt):
        document = json.loads(data)["consolidated_metadata"]["metadata"]["frames"]
        shards = Shards.of(document)
        return None if shards is None else shards.codec


def _encoded(group: Mapping[str, Any], frames: FrameBatch, codec: ChunkCodec) -> Encoded:
    """Yield the objects of an attempt with these attributes, and those of another one's array."""
    of_array = group["consolidated_metadata"]["metadata"]["frames"]["attributes"]
    arrays = {
        "frames": encode_frames(frames.frames, codec=codec, attributes=of_array),
        "time": encode_seconds(frames.pts_seconds, codec=codec),
    }
    return encode_group(arrays, attributes=group["attributes"])


def _attributes(before: Document, codec: ChunkCodec, extracted: str) -> Document:
    """Return a group's attributes for the same frames, written now."""
    provenance = {**before["provenance"], **versions(codec)}
    return {
        **before,
        "codec": codec.name,
        "provenance": provenance,
        "created": now().isoformat(),
        _MARK: extracted,
    }


def _is_current(objects: Objects, folder: SignatureFolder, commit: ClipCommit) -> bool:
    try:
        return find_commit(objects, folder, commit.clip_id).path == commit.path
    except CommitNotFoundError:
        return False


def _restore_newer(
    objects: Objects, folder: SignatureFolder, extracted: str, moved: ClipCommit
) -> bool:
    """Commit a newer attempt again that the commit of a moved clip may have replaced.

    Args:
        objects: The store.
        folder: Folder of the clip.
        extracted: The attempt that its frames were extracted to.
        moved: The commit of the moved frames.

    Returns:
        Whether there was one.
    """
    current = moved
    while (path := _newest_attempt(objects, folder, extracted, moved)) not in (None, current.path):
        current = commit_of(objects, folder, path)
        put_commit(objects, folder, current)
    return current is not moved


def _newest_attempt(
    objects: Objects, folder: SignatureFolder, extracted: str, moved: ClipCommit
) -> str | None:
    """Return the latest attempt that an extraction began after another and completed lately."""
    clip = f"clips/{clip_key(moved.clip_id)}"
    listing = objects.list(f"{folder.path}/{clip}")
    attempts = {
        key.removeprefix(f"{folder.path}/").rpartition("/")[0]: key
        for key in listing
        if key.endswith(f"/{METADATA}")
    }
    horizon = listing[attempts[moved.path]].modified - _COMMITTED_WITHIN
    for path in sorted(attempts, reverse=True):
        found = AttemptPath.parse(path)
        is_whole = found is not None and found.path == path  # else it is an array's document
        if is_whole and extracted < path != moved.path:
            data = objects.get(attempts[path])
            if listing[attempts[path]].modified >= horizon and not _is_moved(data):
                return path
    return None


def _is_moved(group: bytes) -> bool:
    return _MARK in json.loads(group)["attributes"]


def commit_of(objects: Objects, folder: SignatureFolder, path: str) -> ClipCommit:
    """Return the commit of a complete attempt, from its own objects.

    Args:
        objects: The store.
        folder: Folder of the attempt.
        path: The attempt, relative to the folder.

    Raises:
        IntegrityError: The attempt is damaged.
    """
    prefix = f"{folder.path}/{path}/"
    data = {
        key.removeprefix(prefix): found
        for key, found in objects.get_many(objects.list(prefix.rstrip("/"))).items()
    }
    group = json.loads(data[METADATA])
    described = group["attributes"]
    shape = group["consolidated_metadata"]["metadata"]["frames"]["shape"]
    commit = ClipCommit(
        clip_id=described["clip_id"],
        path=path,
        objects={
            name: StoredObject(len(found), hashlib.sha256(found).hexdigest())
            for name, found in data.items()
        },
        num_frames=shape[0],
        height=shape[1],
        width=shape[2],
        digest="",
        fingerprint=described["fingerprint"],
        signature_key=described["signature_key"],
        outcome=outcome_from_document(described["outcome"]),
        created=datetime.fromisoformat(described["created"]),
    )
    return replace(commit, digest=read_clip(objects, folder, commit).digest())


def _same_frames(one: ClipCommit | None, other: ClipCommit) -> bool:
    """Return whether two commits differ only in the attempt that holds the frames."""
    return one is not None and other == replace(
        one, path=other.path, objects=other.objects, created=other.created
    )
