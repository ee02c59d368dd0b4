"""Read clips, and compare every object with its commit.

Zarr reads a missing chunk as black pixels. So a whole read fetches and compares every object that
the commit references, and a lazy read compares a listing first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.errors import UnknownCodecError
from zarr.storage import FsspecStore, LocalStore

from frames_pipeline._renamed import old_names
from frames_pipeline.clips import Seconds, ticks
from frames_pipeline.encodings.images import EncodedFrames
from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch, in_seconds
from frames_pipeline.io.objects import Objects
from frames_pipeline.store.chunk_codecs import without_checksum
from frames_pipeline.store.codecs import METADATA, Shards, load_frames
from frames_pipeline.store.commits import (
    ENCODER,
    ClipCommit,
    Document,
    dump,
    outcome_from_document,
)
from frames_pipeline.store.committed import CommittedObjects, decodable
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.store.lazy import CommittedStore, StoredArray
from frames_pipeline.store.source_format import crop_in, format_in

if TYPE_CHECKING:
    import xarray

PIXELS: Final = "frames/c/"
"""Start of the names of shards."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredClip:
    """One attempt at a clip, opened: indexing reads the pixels."""

    commit: ClipCommit
    """The commit of the attempt."""
    url: str
    """Path or URL of the Zarr group, for any other reader."""
    frames: zarr.Array[Any] = field(repr=False)
    """RGB or gray pixels, uint8 or uint16. Shape (n, height, width, channels)."""
    time: zarr.Array[Any] = field(repr=False)
    """Presentation time in seconds, float64. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    pts: NDArray[np.int64] = field(repr=False)
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    positions: NDArray[np.int64] = field(repr=False)
    """Index among the shown frames of the whole stream. Shape (n,)."""
    attributes: Document = field(repr=False)
    """Attributes of the group."""
    attempt: CommittedObjects = field(repr=False)
    """The objects, for whole reads."""

    def __len__(self) -> int:
        """Return the number of frames, with repeats."""
        return self.commit.num_frames

    def read(self, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Return frames [start, stop), numbered as in `frames`, compared with the commit.

        Fetches the shards of these frames whole, to hash them.

        Raises:
            IntegrityError: An object is missing, or differs from the commit.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        return read_clip(
            self.attempt.objects, self.attempt.folder, self.commit, start, max(start, stop)
        )

    def encoded(self, positions: Iterable[int] | None = None) -> tuple[bytes, ...]:
        """Return the images of frames as they are stored, by range requests. Decodes nothing.

        Args:
            positions: Positions in the video's stream; by default every stored frame, with repeats.

        Raises:
            ConfigError: A position is not stored, or the frames are lossless.
            IntegrityError: An image is damaged.
        """
        if positions is None:
            return read_images(self.attempt, range(len(self)))
        wanted = np.fromiter(positions, np.int64)
        found = np.searchsorted(self.positions, wanted)
        at = self.positions[np.minimum(found, len(self) - 1)]
        if (missing := wanted[at != wanted]).size:
            message = f"clip {self.commit.clip_id!r} has no frame at position {missing[0]}; its "
            message += f"positions run from {self.positions[0]} to {self.positions[-1]}; see "
            raise ConfigError(f"{message}`positions`")
        return read_images(self.attempt, found.tolist())

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
        """Return the pixels by time, loaded lazily, with `pts`, `position` and flags.

        Raises:
            ConfigError: xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            message = "xarray is not installed; install frames-pipeline[xarray]"
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
    """A clip's frames as its Zarr group describes them, without pixels."""

    shape: tuple[int, ...]
    """Shape of the frames: (n, height, width, channels)."""
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
        return in_seconds(self.pts, self.time_base)


def read_clip(
    objects: Objects,
    folder: SignatureFolder,
    commit: ClipCommit,
    start: int = 0,
    stop: int | None = None,
    *,
    decode: bool = True,
) -> FrameBatch:
    """Return frames [start, stop) of a commit; fetch and compare every object with such frames.

    The group's document has the timestamps and a copy of the array's document, so this reads
    neither the documents of the arrays nor the array of seconds, which serve other readers.

    Args:
        objects: The store.
        folder: Folder of the commit.
        commit: The commit.
        start: Index of the first frame.
        stop: Index after the last frame; by default all.
        decode: Decode images of a lossy encoding now, or else when `frames` is first read.
    """
    attempt = CommittedObjects(objects, folder, commit)
    group = attempt.get(METADATA)
    with decodable(attempt):
        document = json.loads(group)
        described = document["consolidated_metadata"]["metadata"]["frames"]
        array = dump(described)

        def get(key: str) -> bytes:
            return array if key == METADATA else attempt.get(f"frames/{key}")

        frames = load_frames(get, start, stop)
        if isinstance(frames, EncodedFrames):
            encoder = document["attributes"]["provenance"].get(ENCODER, "")
            frames = replace(frames, encoder=encoder)
        of_array = described["attributes"]
        part = slice(start, stop)
        batch = _frame_batch(frames, document["attributes"], part, of_array=of_array)
        return batch.with_pixels() if decode else batch


def read_images(attempt: CommittedObjects, indexes: Sequence[int]) -> tuple[bytes, ...]:
    """Return the images of frames, by their index among the stored ones.

    Raises:
        ConfigError: The frames are lossless.
        IntegrityError: An object is missing, or an image is damaged.
    """
    group = attempt.get(METADATA)
    found: dict[int, bytes] = {}
    with decodable(attempt):
        array = json.loads(group)["consolidated_metadata"]["metadata"]["frames"]
        shards = Shards.of(array)
        if shards is not None and shards.codec.lossy_encoding is not None:
            for shard, wanted in groupby(sorted(set(indexes)), lambda one: one // shards.frames):
                found |= _images_of_shard(attempt, shards, shard, list(wanted))
            return tuple(found[index] for index in indexes)
    message = f"clip {attempt.commit.clip_id!r} has no images: its frames are lossless; read them, "
    raise ConfigError(f"{message}or extract a signature with a lossy encoding")


def _images_of_shard(
    attempt: CommittedObjects, shards: Shards, number: int, wanted: Sequence[int]
) -> dict[int, bytes]:
    """Return images of a shard by index in the clip: a request for each run of frames."""
    name, first = f"frames/c/{number}/0/0/0", number * shards.frames
    key, size = f"{attempt.path}/{name}", attempt.commit.objects[name].size
    offsets = shards.offsets(attempt.objects.get_range(key, size - shards.index_bytes, size))
    images: dict[int, bytes] = {}
    for _, run in groupby(enumerate(wanted), lambda one: one[1] - one[0]):
        indexes = [index for _, index in run]
        begin, end = offsets[indexes[0] - first][0], sum(offsets[indexes[-1] - first])
        data = memoryview(attempt.objects.get_range(key, begin, end))
        for index in indexes:
            offset, length = offsets[index - first]
            chunk = data[offset - begin : offset - begin + length]
            images[index] = without_checksum(chunk).tobytes()
    return images


def describe_clips(
    objects: Objects, folder: SignatureFolder, commits: Iterable[ClipCommit]
) -> dict[str, ClipDescription]:
    """Return descriptions of clips by clip id; read and compare one object of each."""
    attempts = {
        f"{folder.path}/{commit.path}/{METADATA}": CommittedObjects(objects, folder, commit)
        for commit in commits
    }
    found = objects.get_many(attempts)
    described = {}
    for key, attempt in attempts.items():
        data = attempt.checked(METADATA, found.get(key))
        with decodable(attempt):
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
    """Open a clip, after one listing has shown every object of its commit."""
    attempt = CommittedObjects(objects, folder, commit)
    for fault in attempt.faults(objects.list(attempt.path)):
        raise fault.error()
    with decodable(attempt), objects.faults(attempt.path):
        store = CommittedStore(_zarr_store(objects, attempt.path), attempt)
        group = _opened(store)
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


def _opened(store: Store) -> zarr.Group:
    try:
        return zarr.open_group(store, mode="r", zarr_format=3)
    except UnknownCodecError:
        from frames_pipeline.store import zarr_codecs  # noqa: PLC0415 - imports imagecodecs

        zarr_codecs.register()
        return zarr.open_group(store, mode="r", zarr_format=3)


def _array(group: zarr.Group, name: str, attempt: CommittedObjects) -> StoredArray:
    found = cast("zarr.Array[Any]", group[name])
    return StoredArray(found.async_array, attempt)


def _frame_batch(
    frames: NDArray[Any] | EncodedFrames, described: Document, part: slice, *, of_array: Document
) -> FrameBatch:
    return FrameBatch.of(
        frames,
        pts=np.array(described["pts"], dtype=np.int64)[part],
        time_base=Fraction(*described["time_base"]),
        positions=np.array(described["positions"], dtype=np.int64)[part],
        key_frame=np.array(described["key_frame"], dtype=np.bool_)[part],
        corrupt=np.array(described["corrupt"], dtype=np.bool_)[part],
        outcome=outcome_from_document(described["outcome"]),
        container_crop=crop_in(of_array),
        source=format_in(of_array),
    )


def _zarr_store(objects: Objects, path: str) -> Store:
    if objects.local_path is not None:
        return LocalStore(objects.local_path / path, read_only=True)
    options = dict(objects.storage_options)
    return FsspecStore.from_url(f"{objects.url}/{path}", storage_options=options, read_only=True)


_LOOKUP: Final = (
    "commit_keys", "find_commit", "find_commits", "find_manifest", "parse_commit",
    "parse_manifest", "read_commits",
)  # fmt: skip
"""Names of version 0.1 that moved to `lookup`."""

__getattr__ = old_names(
    __name__,
    {
        "Fault": "frames_pipeline.store.committed:Fault",
        **{name: f"frames_pipeline.store.lookup:{name}" for name in _LOOKUP},
    },
)
