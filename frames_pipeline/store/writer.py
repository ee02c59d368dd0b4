"""Write clips and manifests, each made visible by one last PUT.

```
clips/{clip_key}/{attempt}/frames/…  time/…     the arrays
clips/{clip_key}/{attempt}/zarr.json            now it is a Zarr group
commits/{clip_key}.json                         now it is the clip
manifest.json                                   now it is in the batch
```

Nothing is written in place. Two writers of one clip each complete an attempt of their own, and
the last commit wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final

from frames_pipeline.errors import (
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    IntegrityError,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.codecs import Encoded, encode_frames, encode_group, encode_seconds
from frames_pipeline.store.commits import (
    REMEDY,
    ClipCommit,
    Document,
    Manifest,
    StoredObject,
    dump,
    dump_summed,
    now,
    outcome_document,
)
from frames_pipeline.store.layout import SignatureFolder, clip_key, new_attempt
from frames_pipeline.store.lookup import commit_keys, find_commits, find_manifest, read_commits

GROUP_FORMAT: Final = "frames/1"

_LIBRARIES: Final = ("frames-pipeline", "zarr", "numcodecs", "numpy")


@dataclass(frozen=True, slots=True)
class ClipWrite:
    """One clip's frames for one signature, with the fields of their commit."""

    clip_id: str
    """The clip."""
    signature: FrameExtractionSignature
    """What the frames answer."""
    frames: FrameBatch
    """The frames."""
    codec: str
    """What their chunks go through."""
    fingerprint: str
    """What the source's bytes were; empty if it is not known."""
    provenance: Mapping[str, Any]
    """How they came to be, beside the libraries that wrote them."""

    def __post_init__(self) -> None:
        """Refuse what cannot be stored, before anything is."""
        if not self.frames.frames.size:
            message = f"clip {self.clip_id!r} has no frames to store: {self.frames!r}; leave it out"
            raise ConfigError(message)
        try:
            dump(self.provenance)
        except (TypeError, ValueError) as error:
            message = f"provenance of clip {self.clip_id!r} is not JSON: {error}; use plain values"
            raise ConfigError(message) from error


def write_clip(objects: Objects, folder: SignatureFolder, write: ClipWrite) -> ClipCommit:
    """Write a new attempt, then name it as the clip. The caller has claimed the folder."""
    path = new_attempt(write.clip_id)
    stored = {}
    for key, data in _encoded(write, attributes(folder, write)):
        objects.put(f"{folder.path}/{path}/{key}", data)
        stored[key] = StoredObject(len(data), hashlib.sha256(data).hexdigest())
        del data  # before the next shard is encoded
    num_frames, height, width, _ = write.frames.frames.shape
    commit = ClipCommit(
        clip_id=write.clip_id,
        path=path,
        objects=stored,
        num_frames=num_frames,
        height=height,
        width=width,
        digest=write.frames.digest(),
        fingerprint=write.fingerprint,
        signature_key=folder.signature_key,
        outcome=write.frames.outcome,
        created=now(),
    )
    put_commit(objects, folder, commit)
    return commit


def commit_batch(
    objects: Objects,
    folder: SignatureFolder,
    signature: FrameExtractionSignature,
    *,
    clips: Iterable[ClipCommit | str] | None,
) -> Manifest:
    """Publish the clips that are committed, or those named, as the batch.

    A manifest that already says the same is left as it is.
    """
    claim(objects, folder, signature)
    if clips is None:
        commits = read_commits(objects, folder)
    else:
        given = list(clips)
        commits = find_commits(objects, folder, [clip for clip in given if isinstance(clip, str)])
        commits |= {clip.clip_id: clip for clip in given if isinstance(clip, ClipCommit)}
    manifest = Manifest(
        batch_key=folder.batch_key,
        signature_key=folder.signature_key,
        signature=json.loads(signature.canonical_json()),
        clips=dict(sorted(commits.items())),
        created=now(),
    )
    with contextlib.suppress(CommitNotFoundError, IntegrityError):
        current = find_manifest(objects, folder)
        if current.clips == manifest.clips:
            return current
    put_manifest(objects, folder, manifest)
    return manifest


def put_commit(objects: Objects, folder: SignatureFolder, commit: ClipCommit) -> None:
    """Name an attempt as the clip."""
    objects.put(folder.commit(clip_key(commit.clip_id)), dump_summed(commit.to_document()))


def put_manifest(objects: Objects, folder: SignatureFolder, manifest: Manifest) -> None:
    """Publish a manifest."""
    objects.put(folder.manifest, dump_summed(manifest.to_document()))


def withdraw_folder(objects: Objects, folder: SignatureFolder) -> int:
    """Take back the manifest and the commits of a signature; how many commits there were."""
    objects.delete([folder.manifest])
    named = commit_keys(objects, folder)
    objects.delete(named)
    return len(named)


def claim(objects: Objects, folder: SignatureFolder, signature: FrameExtractionSignature) -> None:
    """Say in the signature's folder what its key stands for; writing it twice is no harm.

    Raises:
        ConflictError: It says something else.
        IntegrityError: It is damaged.
    """
    document = signature.canonical_json().encode()
    try:
        found = objects.get(folder.signature)
    except FileNotFoundError:
        objects.put(folder.signature, document)
        return
    if found == document:
        return
    if _is_signature(found):
        message = f"{folder.signature} holds another signature than {document!r}: {found[:500]!r}"
        raise ConflictError(message + "; move that folder away, or run with repair")
    message = f"{folder.signature} is damaged: it is {found[:500]!r}, not {document!r}; {REMEDY}"
    raise IntegrityError(message)


def _is_signature(document: bytes) -> bool:
    try:
        FrameExtractionSignature.from_json(document.decode())
    except (ConfigError, UnicodeDecodeError):
        return False
    return True


def attributes(folder: SignatureFolder, write: ClipWrite) -> Document:
    """What an attempt's Zarr group says about itself."""
    frames = write.frames
    return {
        "format": GROUP_FORMAT,
        "clip_id": write.clip_id,
        "batch_key": folder.batch_key,
        "signature": json.loads(write.signature.canonical_json()),
        "signature_key": folder.signature_key,
        "fingerprint": write.fingerprint,
        "time_base": [frames.time_base.numerator, frames.time_base.denominator],
        "pts": frames.pts.tolist(),
        "positions": frames.positions.tolist(),
        "key_frame": frames.key_frame.tolist(),
        "corrupt": frames.corrupt.tolist(),
        "outcome": outcome_document(frames.outcome),
        "codec": write.codec,
        "provenance": {**_versions(), **write.provenance},
        "created": now().isoformat(),
    }


def _encoded(write: ClipWrite, group_attributes: Document) -> Encoded:
    arrays = {
        "frames": encode_frames(
            write.frames.frames, codec=write.codec, container_crop=write.frames.container_crop
        ),
        "time": encode_seconds(write.frames.pts_seconds, codec=write.codec),
    }
    return encode_group(arrays, attributes=group_attributes)


@cache
def _versions() -> Mapping[str, str]:
    """The libraries that write. They are not identity: the pixels do not depend on them."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
