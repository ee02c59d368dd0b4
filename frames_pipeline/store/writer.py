"""Write clips and manifests, each published by one last PUT.

```
clips/{clip_key}/{attempt}/frames/…  time/…     the arrays
clips/{clip_key}/{attempt}/zarr.json            makes them a Zarr group
commits/{clip_key}.json                         makes it the clip's current attempt
manifest.json                                   publishes the clip in the batch
```

Each write goes to a new place. Two writers of one clip each complete their own attempt, and the
last commit wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final

from frames_pipeline.encodings.encoding import LOSSLESS
from frames_pipeline.errors import (
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    IntegrityError,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.chunk_codecs import ChunkCodec
from frames_pipeline.store.codecs import Encoded, encode_batch, encode_group, encode_seconds
from frames_pipeline.store.commits import (
    ENCODER,
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
from frames_pipeline.store.source_format import pixel_attributes

GROUP_FORMAT: Final = "frames/1"

_LIBRARIES: Final = ("frames-pipeline", "zarr", "numcodecs", "numpy")
"""Distributions that write every clip."""


@dataclass(frozen=True, slots=True)
class ClipWrite:
    """One clip's frames for one signature, with the fields of their commit."""

    clip_id: str
    """Id of the clip."""
    signature: FrameExtractionSignature
    """Signature of the frames."""
    frames: FrameBatch
    """The frames."""
    codec: ChunkCodec
    """Codec of the chunks."""
    fingerprint: str
    """Fingerprint of the source's bytes; empty if unknown."""
    provenance: Mapping[str, Any]
    """Further provenance, beside the versions of the writing libraries."""

    def __post_init__(self) -> None:
        """Check that frames and provenance can be stored, before any write."""
        if not math.prod(self.frames.shape):
            message = f"clip {self.clip_id!r} has no frames to store: {self.frames!r}; leave it out"
            raise ConfigError(message)
        if self.frames.samples != self.signature.samples:
            message = f"clip {self.clip_id!r} has {self.frames.samples} frames, and "
            message += f"{self.signature.key} says {self.signature.samples}; store them under a "
            raise ConfigError(f"{message}signature with samples={self.frames.samples!r}")
        if self.frames.samples not in self.codec.samples:
            message = f"{self.codec.name} cannot hold {self.frames.samples} frames; choose samples "
            raise ConfigError(f"{message}of {', '.join(sorted(self.codec.samples))}")
        object.__setattr__(self, "frames", self._encoded_frames())
        try:
            dump(self.provenance)
        except (TypeError, ValueError) as error:
            message = f"provenance of clip {self.clip_id!r} is not JSON: {error}; use plain values"
            raise ConfigError(message) from error

    def _encoded_frames(self) -> FrameBatch:
        """Return the frames in the signature's encoding, encoded here if they are not yet."""
        frames, encoding = self.frames, self.signature.image_encoding
        found = None if frames.images is None else frames.images.encoding
        if found == encoding:
            return frames
        if found is not None or encoding is None:
            message = f"clip {self.clip_id!r} has frames of encoding {found}, and "
            message += f"{self.signature.key} says {encoding or LOSSLESS}; store them under a "
            raise ConfigError(f"{message}signature with that encoding")
        if excess := encoding.excess(*frames.shape[1:3]):
            message = f"clip {self.clip_id!r}: {excess}; store smaller frames, or choose another "
            raise ConfigError(f"{message}encoding")
        return frames.with_encoding(encoding)


def write_clip(objects: Objects, folder: SignatureFolder, write: ClipWrite) -> ClipCommit:
    """Write a new attempt, then commit it. The caller has claimed the folder."""
    path = new_attempt(write.clip_id)
    stored = put_attempt(
        objects, f"{folder.path}/{path}", _encoded(write, attributes(folder, write))
    )
    num_frames, height, width, _ = write.frames.shape
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


def put_attempt(objects: Objects, path: str, encoded: Encoded) -> dict[str, StoredObject]:
    """Write the objects of an attempt; return their sizes and hashes by key relative to it."""
    stored = {}
    for key, data in encoded:
        objects.put(f"{path}/{key}", data)
        stored[key] = StoredObject(len(data), hashlib.sha256(data).hexdigest())
        del data  # before the next shard is encoded
    return stored


def commit_batch(
    objects: Objects,
    folder: SignatureFolder,
    signature: FrameExtractionSignature,
    *,
    clips: Iterable[ClipCommit | str] | None,
) -> Manifest:
    """Publish a batch: all committed clips, or the named ones.

    Keeps an existing manifest with the same clips.
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
    """Write a commit: its attempt becomes the clip's current one."""
    objects.put(folder.commit(clip_key(commit.clip_id)), dump_summed(commit.to_document()))


def put_manifest(objects: Objects, folder: SignatureFolder, manifest: Manifest) -> None:
    """Publish a manifest."""
    objects.put(folder.manifest, dump_summed(manifest.to_document()))


def withdraw_folder(objects: Objects, folder: SignatureFolder) -> int:
    """Delete the manifest and the commits of a signature; return the number of commits."""
    objects.delete([folder.manifest])
    named = commit_keys(objects, folder)
    objects.delete(named)
    return len(named)


def claim(objects: Objects, folder: SignatureFolder, signature: FrameExtractionSignature) -> None:
    """Write the signature's document into its folder. Does nothing if it is there.

    Raises:
        ConflictError: The folder has another signature's document.
        IntegrityError: The document there is damaged.
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
    """Return the attributes of an attempt's Zarr group."""
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
        "codec": write.codec.name,
        "provenance": {**versions(write.codec), **write.provenance, **_encoder(frames)},
        "created": now().isoformat(),
    }


def _encoded(write: ClipWrite, group_attributes: Document) -> Encoded:
    described = pixel_attributes(
        write.frames.shape[-1],
        colour=write.signature.colour,
        source=write.frames.source,
        container_crop=write.frames.container_crop,
    )
    arrays = {
        "frames": encode_batch(write.frames, codec=write.codec, attributes=described),
        "time": encode_seconds(write.frames.pts_seconds, codec=write.codec),
    }
    return encode_group(arrays, attributes=group_attributes)


def _encoder(frames: FrameBatch) -> Document:
    """Return the version of the library that encoded the frames, maybe on another machine."""
    return {} if frames.images is None else {ENCODER: frames.images.encoder}


@cache
def versions(codec: ChunkCodec) -> Mapping[str, str]:
    """Return the versions of the writing libraries. The pixels do not depend on them."""
    found = {"python": platform.python_version()}
    for name in filter(None, (*_LIBRARIES, codec.package)):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
