"""Read commits, manifests and clips, with every object checked against its commit.

Zarr returns black pixels for a missing chunk. So a whole read fetches and checks every object of
the commit, and a lazy read checks a listing first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from frames_pipeline.clips import Seconds, ticks
from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.frames import Crop, FrameBatch
from frames_pipeline.io.objects import ObjectInfo, Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.store.codecs import CONTAINER_CROP, METADATA, decode_frames
from frames_pipeline.store.commits import (
    ClipCommit,
    Document,
    Manifest,
    dump,
    outcome_from_document,
    parse,
)
from frames_pipeline.store.layout import SignatureFolder, clip_key
from frames_pipeline.store.lazy import CommittedStore, StoredArray

if TYPE_CHECKING:
    import xarray

PIXELS: Final = "frames/c/"
"""Prefix of the names of shards."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A difference between an object and its commit."""

    key: str
    """Key of the object, relative to the store."""
    found: str
    """Description of the fault."""
    clip_id: str = ""
    """Id of the clip; empty if the object belongs to none."""

    def __str__(self) -> str:
        """Return the key and the description."""
        return f"{self.key} {self.found}"

    def error(self) -> IntegrityError:
        """Return this fault as an error to raise."""
        return IntegrityError(f"{self}; extract clip {self.clip_id!r} again, or restore the object")


@dataclass(frozen=True, slots=True, eq=False)
class StoredClip:
    """An opened clip. Pixels are read when indexed."""

    commit: ClipCommit
    """The commit."""
    url: str
    """Path or URL of the Zarr group, for any other reader."""
    frames: zarr.Array[Any] = field(repr=False)
    """RGB pixels, uint8. Shape (n, height, width, 3)."""
    time: zarr.Array[Any] = field(repr=False)
    """Presentation time in seconds, float64. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    pts: NDArray[np.int64] = field(repr=False)
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    positions: NDArray[np.int64] = field(repr=False)
    """Index among the shown frames of the whole stream. Shape (n,)."""
    attributes: Document = field(repr=False)
    """All attributes of the Zarr group."""
    attempt: CommittedObjects = field(repr=False)
    """The objects, for whole reads."""

    def __len__(self) -> int:
        """Return the number of frames, with repeats."""
        return self.commit.num_frames

    def read(self, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Return frames [start, stop) in the order of `frames`, checked against the commit.

        Fetches every shard with one of them whole, to hash it.

        Raises:
            IntegrityError: An object is missing, or differs from the commit.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        return read_clip(
            self.attempt.objects, self.attempt.folder, self.commit, start, max(start, stop)
        )

    def by_position(self, start: int, stop: int) -> FrameBatch:
        """Return the frames at positions [start, stop) of the video's stream."""
        return self._window(self.positions, start, stop)

    def by_pts(self, start: int, stop: int) -> FrameBatch:
        """Return the frames with timestamps in [start, stop), in `time_base` units."""
        return self._window(self.pts, start, stop)

    def by_time(self, start: Seconds, stop: Seconds) -> FrameBatch:
        """Return the frames shown in [start, stop), in seconds of the video's own clock."""
        return self.by_pts(ticks(start, self.time_base), ticks(stop, self.time_base))

    def to_xarray(self) -> xarray.Dataset:
        """Return a lazy dataset of pixels by time, with `pts`, `position` and flags as coordinates.

        Raises:
            ConfigError: xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            message = "xarray is not installed; pip install 'frames-pipeline[xarray]'"
            raise ConfigError(message) from error
        inner = _zarr_store(self.attempt.objects, self.attempt.path)
        store = CommittedStore(inner, self.attempt, whole=True)
        dataset: xarray.Dataset = xarray.open_zarr(
            store, zarr_format=3, consolidated=True, chunks=None
        )
        beside = {"pts": self.pts, "position": self.positions}
        beside |= {name: np.array(self.attributes[name]) for name in ("key_frame", "corrupt")}
        coordinates = {name: ("time", values) for name, values in beside.items()}
        described: xarray.Dataset = dataset.assign_coords(coordinates)
        return described

    def _window(self, of: NDArray[np.int64], start: int, stop: int) -> FrameBatch:
        first, last = np.searchsorted(of, [start, stop]).tolist()
        return self.read(first, max(first, last))


@dataclass(frozen=True, slots=True, eq=False)
class ClipDescription:
    """Shape, times and flags of a clip's frames, without their pixels."""

    shape: tuple[int, ...]
    """Shape of the frames: (n, height, width, 3)."""
    pts: NDArray[np.int64]
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the whole stream. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether the pixels may be damaged. Shape (n,)."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Presentation timestamps in seconds, for people. Shape (n,)."""
        return self.pts * self.time_base.numerator / np.float64(self.time_base.denominator)


@dataclass(frozen=True, slots=True)
class CommittedObjects:
    """The objects of a commit, each checked when it is read."""

    objects: Objects
    """The store."""
    folder: SignatureFolder
    """Folder of the commit."""
    commit: ClipCommit
    """The commit."""

    @property
    def path(self) -> str:
        """The attempt's folder, relative to the store."""
        return f"{self.folder.path}/{self.commit.path}"

    def get(self, name: str) -> bytes:
        """Return the checked bytes of the object `name`, relative to the attempt."""
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """Return the checked bytes of objects by name."""
        keys = {name: f"{self.path}/{name}" for name in names}
        found = self.objects.get_many(keys.values())
        return {name: self.checked(name, found.get(key)) for name, key in keys.items()}

    def has(self, name: str) -> bool:
        """Return whether the commit names an object."""
        return name in self.commit.objects

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Convert errors of Zarr's codecs and stores to this library's.

        Errors about an invalid or out-of-range index pass through, since the caller caused them.
        """
        try:
            with self.objects.faults(self.path):
                yield
        except (EOFError, RuntimeError, ValueError, FileNotFoundError) as error:
            raise _undecodable(self, error) from error

    def faults(self, listing: Mapping[str, ObjectInfo]) -> Iterator[Fault]:
        """Yield the objects that a listing lacks or shows in another size."""
        for name, stored in self.commit.objects.items():
            info = listing.get(f"{self.path}/{name}")
            if info is None:
                yield self.fault(name, "is missing")
            elif info.size != stored.size:
                yield self.fault(name, f"has {info.size} bytes, not the {stored.size} committed")

    def fault(self, name: str, found: str) -> Fault:
        """Return a fault of one of these objects."""
        return Fault(f"{self.path}/{name}", found, clip_id=self.commit.clip_id)

    def checked(self, name: str, data: bytes | None) -> bytes:
        """Return the bytes of the object `name` after checking them against the commit."""
        stored = self.commit.objects.get(name)
        if stored is None:
            raise self.fault(name, "is not in the commit").error()
        if data is None:
            raise self.fault(name, "is missing").error()
        if len(data) != stored.size:
            found = f"has {len(data)} bytes, not the {stored.size} committed"
            raise self.fault(name, found).error()
        if hashlib.sha256(data).hexdigest() != stored.sha256:
            raise self.fault(name, "has other bytes than those committed").error()
        return data


def read_commits(objects: Objects, folder: SignatureFolder) -> dict[str, ClipCommit]:
    """Return every clip's current commit, by clip id."""
    commits = [
        parse_commit(folder, key, data)
        for key, data in objects.get_many(commit_keys(objects, folder)).items()
    ]
    return {commit.clip_id: commit for commit in commits}


def commit_keys(objects: Objects, folder: SignatureFolder) -> list[str]:
    """Return the keys of all commits; unfinished writes have another suffix."""
    return [key for key in objects.list(folder.commits) if key.endswith(".json")]


def find_commit(objects: Objects, folder: SignatureFolder, clip: str) -> ClipCommit:
    """Return a clip's current commit.

    Raises:
        CommitNotFoundError: It has none.
    """
    return find_commits(objects, folder, [clip])[clip]


def find_commits(
    objects: Objects, folder: SignatureFolder, clips: Iterable[str]
) -> dict[str, ClipCommit]:
    """Return the current commits of clips, by clip id.

    Raises:
        CommitNotFoundError: A clip has none.
    """
    keys = {clip: folder.commit(clip_key(clip)) for clip in clips}
    found = objects.get_many(keys.values())
    missing = [clip for clip, key in keys.items() if key not in found]
    if missing:
        more = f" (nor are {len(missing) - 1} more)" if len(missing) > 1 else ""
        message = f"clip {missing[0]!r} is not committed in {folder.path}{more}; extract it first"
        raise CommitNotFoundError(message)
    return {clip: parse_commit(folder, key, found[key]) for clip, key in keys.items()}


def parse_commit(folder: SignatureFolder, key: str, data: bytes) -> ClipCommit:
    """Parse the commit in the object `key`, and check its clip and signature."""

    def make(document: Document) -> ClipCommit:
        commit = ClipCommit.from_document(document)
        place = folder.commit(clip_key(commit.clip_id))
        if (place, folder.signature_key) != (key, commit.signature_key):
            message = (
                f"it belongs to clip {commit.clip_id!r} and signature {commit.signature_key!r}"
            )
            raise ValueError(message)
        return commit

    return parse(data, make, name=key)


def find_manifest(objects: Objects, folder: SignatureFolder) -> Manifest:
    """Return the batch's current manifest.

    Raises:
        CommitNotFoundError: It has none.
    """
    try:
        data = objects.get(folder.manifest)
    except FileNotFoundError as error:
        message = f"{folder.path} has no manifest; commit the batch first"
        raise CommitNotFoundError(message) from error
    return parse_manifest(folder, data)


def parse_manifest(folder: SignatureFolder, data: bytes) -> Manifest:
    """Parse a manifest, and check its batch and signature."""

    def make(document: Document) -> Manifest:
        manifest = Manifest.from_document(document)
        if SignatureFolder(manifest.batch_key, manifest.signature_key) != folder:
            message = f"it belongs to batch {manifest.batch_key!r}, {manifest.signature_key!r}"
            raise ValueError(message)
        return manifest

    return parse(data, make, name=folder.manifest)


def read_clip(
    objects: Objects,
    folder: SignatureFolder,
    commit: ClipCommit,
    start: int = 0,
    stop: int | None = None,
) -> FrameBatch:
    """Return frames [start, stop) of a commit, fetching and checking whole objects.

    The group's document has a copy of the array's metadata and the timestamps. So the arrays' own
    documents and the array of seconds, which serve other readers, are not fetched.
    """
    attempt = CommittedObjects(objects, folder, commit)
    group = attempt.get(METADATA)
    with _decodable(attempt):
        document = json.loads(group)
        described = document["consolidated_metadata"]["metadata"]["frames"]
        array = dump(described)

        def get(key: str) -> bytes:
            return array if key == METADATA else attempt.get(f"frames/{key}")

        frames = decode_frames(get, start, stop)
        crop = described["attributes"].get(CONTAINER_CROP)
        return replace(
            _frame_batch(frames, document["attributes"], slice(start, stop)),
            container_crop=None if crop is None else Crop(*map(int, crop)),
        )


def describe_clips(
    objects: Objects, folder: SignatureFolder, commits: Iterable[ClipCommit]
) -> dict[str, ClipDescription]:
    """Return descriptions of clips, by clip id: one object of each is read and checked."""
    attempts = {
        f"{folder.path}/{commit.path}/{METADATA}": CommittedObjects(objects, folder, commit)
        for commit in commits
    }
    found = objects.get_many(attempts)
    described = {}
    for key, attempt in attempts.items():
        data = attempt.checked(METADATA, found.get(key))
        with _decodable(attempt):
            document = json.loads(data)
            arrays = document["consolidated_metadata"]["metadata"]
            described[attempt.commit.clip_id] = ClipDescription(
                shape=tuple(arrays["frames"]["shape"]),
                pts=np.array(document["attributes"]["pts"], dtype=np.int64),
                time_base=Fraction(*document["attributes"]["time_base"]),
                positions=np.array(document["attributes"]["positions"], dtype=np.int64),
                corrupt=np.array(document["attributes"]["corrupt"], dtype=np.bool_),
            )
    return described


def open_clip(objects: Objects, folder: SignatureFolder, commit: ClipCommit) -> StoredClip:
    """Open the clip of a commit, after a listing showed every object in its size."""
    attempt = CommittedObjects(objects, folder, commit)
    for fault in attempt.faults(objects.list(attempt.path)):
        raise fault.error()
    with _decodable(attempt), objects.faults(attempt.path):
        store = CommittedStore(_zarr_store(objects, attempt.path), attempt)
        group = zarr.open_group(store, mode="r", zarr_format=3)
        described: Document = group.attrs.asdict()
        return StoredClip(
            commit=commit,
            url=f"{objects.url}/{attempt.path}",
            frames=_array(group, "frames", attempt),
            time=_array(group, "time", attempt),
            time_base=Fraction(*described["time_base"]),
            pts=np.array(described["pts"], dtype=np.int64),
            positions=np.array(described["positions"], dtype=np.int64),
            attributes=described,
            attempt=attempt,
        )


def _array(group: zarr.Group, name: str, attempt: CommittedObjects) -> StoredArray:
    found = cast("zarr.Array[Any]", group[name])
    return StoredArray(found.async_array, attempt)


@contextlib.contextmanager
def _decodable(attempt: CommittedObjects) -> Iterator[None]:
    """Convert parsing errors to `IntegrityError`.

    Content can be invalid although its hash matches.
    """
    try:
        yield
    except (*UNREADABLE, FileNotFoundError) as error:
        raise _undecodable(attempt, error) from error


def _undecodable(attempt: CommittedObjects, error: Exception) -> IntegrityError:
    found = f"cannot be decoded ({error!r})"
    return Fault(attempt.path, found, clip_id=attempt.commit.clip_id).error()


def _frame_batch(frames: NDArray[np.uint8], described: Document, part: slice) -> FrameBatch:
    return FrameBatch(
        frames=frames,
        pts=np.array(described["pts"], dtype=np.int64)[part],
        time_base=Fraction(*described["time_base"]),
        positions=np.array(described["positions"], dtype=np.int64)[part],
        key_frame=np.array(described["key_frame"], dtype=np.bool_)[part],
        corrupt=np.array(described["corrupt"], dtype=np.bool_)[part],
        outcome=outcome_from_document(described["outcome"]),
    )


def _zarr_store(objects: Objects, path: str) -> Store:
    if objects.local_path is not None:
        return LocalStore(objects.local_path / path, read_only=True)
    options = dict(objects.storage_options)
    return FsspecStore.from_url(f"{objects.url}/{path}", storage_options=options, read_only=True)
