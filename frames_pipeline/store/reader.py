"""Read commits, manifests and clips; believe no object before it is the one committed.

Zarr takes a missing chunk for black pixels. So whole reads fetch every object that the commit
names and compare it, and lazy ones compare a listing first.
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
"""What the names of shards begin with."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it was committed."""

    key: str
    """The object, relative to the store."""
    found: str
    """What is wrong with it."""
    clip_id: str = ""
    """The clip it belongs to; empty if it is not about one."""

    def __str__(self) -> str:
        """The object and what is wrong with it."""
        return f"{self.key} {self.found}"

    def error(self) -> IntegrityError:
        """This fault, to be raised."""
        return IntegrityError(f"{self}; extract clip {self.clip_id!r} again, or restore the object")


@dataclass(frozen=True, slots=True, eq=False)
class StoredClip:
    """One attempt at a clip, opened: pixels are read where they are indexed."""

    commit: ClipCommit
    """What is stored."""
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
    """Everything that the group says about itself."""
    attempt: CommittedObjects = field(repr=False)
    """The objects, to be read whole."""

    def __len__(self) -> int:
        """Number of frames, repeats included."""
        return self.commit.num_frames

    def read(self, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Frames [start, stop) as they are numbered in `frames`, compared with the commit.

        A shard in which one of them lies is fetched whole, to be hashed.

        Raises:
            IntegrityError: An object is missing, or is not the one committed.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        return read_clip(
            self.attempt.objects, self.attempt.folder, self.commit, start, max(start, stop)
        )

    def by_position(self, start: int, stop: int) -> FrameBatch:
        """The frames at positions [start, stop) of the video's stream."""
        return self._window(self.positions, start, stop)

    def by_pts(self, start: int, stop: int) -> FrameBatch:
        """The frames with timestamps in [start, stop), in `time_base` units."""
        return self._window(self.pts, start, stop)

    def by_time(self, start: Seconds, stop: Seconds) -> FrameBatch:
        """The frames shown in [start, stop), in seconds of the video's own clock."""
        return self.by_pts(ticks(start, self.time_base), ticks(stop, self.time_base))

    def to_xarray(self) -> xarray.Dataset:
        """Pixels, read where they are used, by time; `pts`, `position` and flags beside it.

        Raises:
            ConfigError: There is no xarray.
        """
        try:
            import xarray
        except ImportError as error:
            message = "there is no xarray; install frames-pipeline[xarray]"
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
    """What a clip's Zarr group says of its frames, without their pixels."""

    shape: tuple[int, ...]
    """Of the frames: (n, height, width, 3)."""
    pts: NDArray[np.int64]
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the whole stream. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether damage may have touched the pixels. Shape (n,)."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Presentation timestamps in seconds, for people. Shape (n,)."""
        return self.pts * self.time_base.numerator / np.float64(self.time_base.denominator)


@dataclass(frozen=True, slots=True)
class CommittedObjects:
    """The objects that a commit names, each compared with it when it is read."""

    objects: Objects
    """The store."""
    folder: SignatureFolder
    """Where the commit is."""
    commit: ClipCommit
    """What was written."""

    @property
    def path(self) -> str:
        """The attempt's folder, relative to the store."""
        return f"{self.folder.path}/{self.commit.path}"

    def get(self, name: str) -> bytes:
        """The bytes of the object `name`, relative to the attempt."""
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """The bytes of objects by name."""
        keys = {name: f"{self.path}/{name}" for name in names}
        found = self.objects.get_many(keys.values())
        return {name: self.checked(name, found.get(key)) for name, key in keys.items()}

    def has(self, name: str) -> bool:
        """Whether the commit names an object."""
        return name in self.commit.objects

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let errors of Zarr's codecs and stores come out as this library's.

        Errors about an invalid or out-of-range index pass through: they are the caller's.
        """
        try:
            with self.objects.faults(self.path):
                yield
        except (EOFError, RuntimeError, ValueError, FileNotFoundError) as error:
            raise _undecodable(self, error) from error

    def faults(self, listing: Mapping[str, ObjectInfo]) -> Iterator[Fault]:
        """What a listing shows to be missing, or not of the size committed."""
        for name, stored in self.commit.objects.items():
            info = listing.get(f"{self.path}/{name}")
            if info is None:
                yield self.fault(name, "is missing")
            elif info.size != stored.size:
                yield self.fault(name, f"has {info.size} bytes, not the {stored.size} committed")

    def fault(self, name: str, found: str) -> Fault:
        """A fault of one of these objects."""
        return Fault(f"{self.path}/{name}", found, clip_id=self.commit.clip_id)

    def checked(self, name: str, data: bytes | None) -> bytes:
        """These bytes, if they are those of the object `name`, which was committed."""
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
    """Every clip's current commit, by clip id."""
    commits = [
        parse_commit(folder, key, data)
        for key, data in objects.get_many(commit_keys(objects, folder)).items()
    ]
    return {commit.clip_id: commit for commit in commits}


def commit_keys(objects: Objects, folder: SignatureFolder) -> list[str]:
    """The commits that there are; unfinished ones have another suffix."""
    return [key for key in objects.list(folder.commits) if key.endswith(".json")]


def find_commit(objects: Objects, folder: SignatureFolder, clip: str) -> ClipCommit:
    """A clip's current commit.

    Raises:
        CommitNotFoundError: It has none.
    """
    return find_commits(objects, folder, [clip])[clip]


def find_commits(
    objects: Objects, folder: SignatureFolder, clips: Iterable[str]
) -> dict[str, ClipCommit]:
    """The current commits of clips, by clip id.

    Raises:
        CommitNotFoundError: One of them has none.
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
    """The commit that the object `key` holds, which must be there for that clip and signature."""

    def make(document: Document) -> ClipCommit:
        commit = ClipCommit.from_document(document)
        place = folder.commit(clip_key(commit.clip_id))
        if (place, folder.signature_key) != (key, commit.signature_key):
            message = f"it is of clip {commit.clip_id!r} and signature {commit.signature_key!r}"
            raise ValueError(message)
        return commit

    return parse(data, make, name=key)


def find_manifest(objects: Objects, folder: SignatureFolder) -> Manifest:
    """The batch's current manifest.

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
    """The manifest that bytes hold, which must be of that batch and signature."""

    def make(document: Document) -> Manifest:
        manifest = Manifest.from_document(document)
        if SignatureFolder(manifest.batch_key, manifest.signature_key) != folder:
            message = f"it is of batch {manifest.batch_key!r}, {manifest.signature_key!r}"
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
    """Frames [start, stop) of a commit; every object they lie in is fetched whole and compared.

    The group's document has a copy of the array's, and the timestamps: Zarr's documents of the
    arrays and the array of seconds, which it has for other readers, are not asked for.
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
    """What clips say of themselves, by clip id: one object of each is read and compared."""
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
    """The clip that a commit names, opened after one listing showed every object to be there."""
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
    """What the objects hold must make sense too, though their sizes or hashes agree."""
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
