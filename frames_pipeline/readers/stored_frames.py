"""Read stored frames as a mapping of clips: `open_frames`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from frames_pipeline._renamed import old_names
from frames_pipeline.clips import video_key
from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.errors import CommitNotFoundError, ConfigError, ConflictError
from frames_pipeline.frames import FrameBatch, layout_of
from frames_pipeline.signature import FrameExtractionSignature, encoding_in, samples_in
from frames_pipeline.store import ClipCommit, FrameStore, Manifest, StoredClip
from frames_pipeline.store.layout import ROOT, digest_of_clips, is_signature_key

_KEY_HASH: Final = 17
"""Characters of a key after its slug: a hyphen and 16 hex digits."""


def open_frames(
    root: str | os.PathLike[str],
    *,
    signature: FrameExtractionSignature | str,
    batches: Iterable[str] | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> StoredFrames:
    """Open the committed frames of one signature, by clip id.

    Reads only manifests, one request per batch; clips are read when you access them. The result is
    a snapshot: it excludes later commits, and replaced frames stay readable until garbage
    collection.

    Args:
        root: Path or fsspec URL of the store.
        signature: A signature, its key, or its slug, such as `sequence-2fps-224x224`.
        batches: Key or keys of batches; default: every published batch.
        storage_options: fsspec options of the root.

    Raises:
        CommitNotFoundError: A given batch lacks the signature, or every batch does.
        ConfigError: Several signatures have this slug.
        ConflictError: Two batches have a clip of the same id; open them one by one.
    """
    store = FrameStore(root, storage_options)
    wanted = [batches] if isinstance(batches, str) else batches
    folders = sorted(set(store.objects.folders(ROOT) if wanted is None else wanted))
    key = _signature_key(store, folders, signature)
    manifests = []
    for folder in folders:
        try:
            manifests.append(store.manifest(folder, key))
        except CommitNotFoundError:
            if wanted is not None:
                raise
    if not manifests:
        message = f"no batch under {store.objects.url} is published with {key}; commit one first"
        raise CommitNotFoundError(message)
    return StoredFrames.of(store, manifests)


class ReadableFrames(Protocol):
    """Clips that can be read by id: `StoredFrames`, and `packs.PackedFrames`."""

    def __iter__(self) -> Iterator[str]:
        """Clip ids."""

    def __len__(self) -> int:
        """Number of clips."""

    def length(self, clip_id: str) -> int:
        """Return the number of frames of a clip."""

    def read(self, clip_id: str, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Return frames [start, stop) of a clip, counted from its first stored frame."""


@dataclass(frozen=True, slots=True)
class ClipLocation:
    """Location of a clip."""

    batch: str
    """Key of its batch."""
    commit: ClipCommit
    """Its commit."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredFrames(Mapping[str, StoredClip]):
    """Clips by id, for one signature: a snapshot that you can pickle to other processes."""

    store: FrameStore
    """Store of the frames."""
    signature_key: str
    """The signature's key."""
    signature_document: Mapping[str, Any] = field(repr=False)
    """The signature in full."""
    locations: Mapping[str, ClipLocation] = field(repr=False)
    """Location of each clip by clip id, in order of batch and id."""

    @classmethod
    def of(cls, store: FrameStore, manifests: Iterable[Manifest]) -> StoredFrames:
        """Return the clips of manifests of one signature."""
        manifests = sorted(manifests, key=lambda manifest: manifest.batch_key)
        locations: dict[str, ClipLocation] = {}
        for manifest in manifests:
            for clip_id, commit in sorted(manifest.clips.items()):
                if clip_id in locations:
                    both = f"batches {locations[clip_id].batch!r} and {manifest.batch_key!r}"
                    message = f"{both} both have a clip {clip_id!r}; open them one by one, with "
                    message += "batches="
                    raise ConflictError(message)
                locations[clip_id] = ClipLocation(manifest.batch_key, commit)
        return cls(store, manifests[0].signature_key, manifests[0].signature, locations)

    def __getitem__(self, clip_id: str) -> StoredClip:
        """Open a clip after checking that its objects exist in the right size; load pixels lazily.

        Raises:
            KeyError: There is no such clip.
            IntegrityError: An object is missing, or its size differs from the commit.
        """
        location = self.locations[clip_id]
        return self.store.open_commit(location.batch, self.signature_key, location.commit)

    def __contains__(self, clip_id: object) -> bool:
        """Return whether there is such a clip; read nothing."""
        return clip_id in self.locations

    def __iter__(self) -> Iterator[str]:
        """Clip ids, in order of batch and id."""
        return iter(self.locations)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.locations)

    @property
    def signature(self) -> FrameExtractionSignature:
        """The signature.

        Raises:
            ConfigError: Another version of this library made it, with fields unknown here.
        """
        return FrameExtractionSignature.from_mapping(self.signature_document)

    @property
    def image_encoding(self) -> FrameEncoding | None:
        """The lossy encoding of the frames, from the signature; `None` if they are lossless."""
        return encoding_in(self.signature_document)

    @property
    def samples(self) -> str:
        """Channels and bits of a pixel, from the signature: `rgb8`, `rgb16`, `gray8`, `gray16`."""
        return samples_in(self.signature_document)

    @property
    def channels(self) -> int:
        """Number of channels of a pixel: 3 for RGB, 1 for gray."""
        return layout_of(self.samples)[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample: uint8 or uint16."""
        return layout_of(self.samples)[1]

    @property
    def batches(self) -> tuple[str, ...]:
        """Keys of the batches that have a clip here."""
        return tuple(sorted({location.batch for location in self.locations.values()}))

    @property
    def num_frames(self) -> int:
        """Frames of all clips, repeats included."""
        return sum(location.commit.num_frames for location in self.locations.values())

    @property
    def digest(self) -> str:
        """Digest of the frames: equal for the same frames of the same clips."""
        return digest_of_clips(
            (clip, location.commit.digest) for clip, location in self.locations.items()
        )

    def length(self, clip_id: str) -> int:
        """Return the number of frames of a clip, repeats included."""
        return self.locations[clip_id].commit.num_frames

    def read(
        self, clip_id: str, start: int = 0, stop: int | None = None, *, decode: bool = True
    ) -> FrameBatch:
        """Return frames [start, stop) of a clip, counted from its first stored frame.

        Fetches each object with such frames whole, and compares it with the commit. This is the
        fast way to read clips once: it lists no objects first.

        Args:
            clip_id: Id of the clip.
            start: Number of the first frame.
            stop: Number after the last frame; by default all.
            decode: Decode images of a lossy encoding now, or else when `frames` is first read.

        Raises:
            KeyError: There is no such clip.
            IntegrityError: An object is missing, or differs from the commit.
        """
        location = self.locations[clip_id]
        return self.store.read_commit(
            location.batch,
            self.signature_key,
            location.commit,
            start=start,
            stop=stop,
            decode=decode,
        )

    def lineage(self, clip_id: str, frames: FrameBatch) -> pa.Table:
        """Return a row per frame read from a clip; see `FRAME_COLUMNS`."""
        location, n = self.locations[clip_id], len(frames)
        return pa.Table.from_pydict(
            {
                "batch": [location.batch] * n,
                "clip_id": [clip_id] * n,
                "video_key": [video_key(clip_id)] * n,
                "fingerprint": [location.commit.fingerprint] * n,
                "signature": [self.signature_key] * n,
                "commit": [location.commit.path] * n,
                "frames_digest": [location.commit.digest] * n,
                "position": frames.positions,
                "pts": frames.pts,
                "time_base_num": [frames.time_base.numerator] * n,
                "time_base_den": [frames.time_base.denominator] * n,
                "seconds": frames.pts_seconds,
                "key_frame": frames.key_frame,
                "corrupt": frames.corrupt,
            },
            schema=FRAME_COLUMNS,
        )


FRAME_COLUMNS: Final = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "batch": pa.string(),
            "clip_id": pa.string(),
            "video_key": pa.string(),
            "fingerprint": pa.string(),
            "signature": pa.string(),
            "commit": pa.string(),
            "frames_digest": pa.string(),
            "position": pa.int64(),
            "pts": pa.int64(),
            "time_base_num": pa.int64(),
            "time_base_den": pa.int64(),
            "seconds": pa.float64(),
            "key_frame": pa.bool_(),
            "corrupt": pa.bool_(),
        }.items()
    ]
)
"""Columns of a frame's lineage. `commit` is the attempt that the frame was read from."""

__getattr__ = old_names(__name__, {"LINEAGE": "FRAME_COLUMNS", "Place": "ClipLocation"})


def _signature_key(
    store: FrameStore, batches: Iterable[str], signature: FrameExtractionSignature | str
) -> str:
    if not isinstance(signature, str):
        return signature.key
    if is_signature_key(signature):
        return signature
    folders = {name for batch in batches for name in store.objects.folders(f"{ROOT}/{batch}")}
    found = sorted(name for name in folders if name[:-_KEY_HASH] == signature)
    if len(found) == 1:
        return found[0]
    if found:
        message = f"several signatures have the slug {signature!r}; give a key: {', '.join(found)}"
        raise ConfigError(message)
    there = ", ".join(sorted(filter(is_signature_key, folders))) or "none at all"
    message = f"no signature {signature!r} under {store.objects.url}; there is {there}"
    raise CommitNotFoundError(message)
