"""Read what is stored as a mapping of clips: `open_frames`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pyarrow as pa

from frames_pipeline.clips import video_key
from frames_pipeline.errors import CommitNotFoundError, ConfigError, ConflictError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.signature import FrameExtractionSignature
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
    """The committed frames of one signature, by clip id.

    Manifests are read, one request per batch, and nothing else until a clip is asked for. They are
    a snapshot: what is committed later is not seen, and what was replaced can still be read until
    garbage is collected.

    Args:
        root: Path or fsspec URL of the store.
        signature: A signature, its key, or its slug, such as `sequence-2fps-224x224`.
        batches: Keys of batches, or of one; every published batch if it is left out.
        storage_options: What fsspec needs to reach the root.

    Raises:
        CommitNotFoundError: A batch that is named, or every one, lacks that signature.
        ConfigError: A slug that several signatures have.
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
        """Number of frames of a clip."""

    def read(self, clip_id: str, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Frames [start, stop) of a clip, as they are numbered where they are stored."""


@dataclass(frozen=True, slots=True)
class ClipLocation:
    """Where a clip is."""

    batch: str
    """Its batch."""
    commit: ClipCommit
    """What is stored of it."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredFrames(Mapping[str, StoredClip]):
    """Clips by id, for one signature: a snapshot that may be pickled to other processes."""

    store: FrameStore
    """Where they are."""
    signature_key: str
    """The signature's key."""
    signature_document: Mapping[str, Any] = field(repr=False)
    """The signature in full."""
    locations: Mapping[str, ClipLocation] = field(repr=False)
    """Where each clip is, by clip id, in order of batch and id."""

    @classmethod
    def of(cls, store: FrameStore, manifests: Iterable[Manifest]) -> StoredFrames:
        """The clips of manifests, which are all of one signature."""
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
        """A clip, opened: every object of it is there in its size; pixels are read lazily.

        Raises:
            KeyError: No such clip.
            IntegrityError: An object is missing, or has not the size committed.
        """
        place = self.locations[clip_id]
        return self.store.open_commit(place.batch, self.signature_key, place.commit)

    def __contains__(self, clip_id: object) -> bool:
        """Whether there is such a clip; nothing is read."""
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
    def batches(self) -> tuple[str, ...]:
        """Keys of the batches that have a clip here."""
        return tuple(sorted({place.batch for place in self.locations.values()}))

    @property
    def num_frames(self) -> int:
        """Frames of all clips, repeats included."""
        return sum(place.commit.num_frames for place in self.locations.values())

    @property
    def digest(self) -> str:
        """What the frames are: alike for the same frames of the same clips."""
        return digest_of_clips(
            (clip, place.commit.digest) for clip, place in self.locations.items()
        )

    def length(self, clip_id: str) -> int:
        """Number of frames of a clip, repeats included."""
        return self.locations[clip_id].commit.num_frames

    def read(self, clip_id: str, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Frames [start, stop) of a clip, as they are numbered where they are stored.

        Every object they lie in is fetched whole and compared with the commit. This is the fast
        way where clips are read once: nothing is listed first.

        Raises:
            KeyError: No such clip.
            IntegrityError: An object is missing, or is not the one committed.
        """
        place = self.locations[clip_id]
        return self.store.read_commit(
            place.batch, self.signature_key, place.commit, start=start, stop=stop
        )

    def lineage(self, clip_id: str, frames: FrameBatch) -> pa.Table:
        """Return a row per frame that was read of a clip; see `FRAME_COLUMNS`."""
        place, n = self.locations[clip_id], len(frames)
        return pa.Table.from_pydict(
            {
                "batch": [place.batch] * n,
                "clip_id": [clip_id] * n,
                "video_key": [video_key(clip_id)] * n,
                "fingerprint": [place.commit.fingerprint] * n,
                "signature": [self.signature_key] * n,
                "commit": [place.commit.path] * n,
                "frames_digest": [place.commit.digest] * n,
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
"""Columns of a frame's lineage. `commit` is the attempt that it was read from."""


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
        message = f"several signatures are called {signature!r}; give a key: {', '.join(found)}"
        raise ConfigError(message)
    there = ", ".join(sorted(filter(is_signature_key, folders))) or "none at all"
    message = f"no signature {signature!r} under {store.objects.url}; there is {there}"
    raise CommitNotFoundError(message)
