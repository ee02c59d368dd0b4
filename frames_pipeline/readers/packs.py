"""Many small clips in few large objects, for training: `pack_frames` and `open_pack`.

    {to}/parts/{part}/frames/zarr.json  frames/c/…    frames of many clips, in a row
    {to}/parts/{part}/index.parquet                   clip -> [start, stop), and its lineage
    {to}/parts/{part}/part.json                       its files with size and hash, after those
    {to}/pack.json                                    which parts are the pack; written last

        | clip a | clip b | clip c  …                 frames
        |       shard 0       |       shard 1  …      objects, 64 MiB of raw frames each

A pack is made from a store and never instead of it. A part is of frames of one size, is named after
what is in it and how, and never changes. So a pack that is made again writes the parts that are not
there: none, where nothing is new. Nobody sees a pack before its last object is put, or parts of a
writer that was killed, which the next one takes up. One writer at a time: of two, the last wins.
`prune_pack` deletes parts that nobody has named for a while.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frames_pipeline.clips import video_key
from frames_pipeline.errors import (
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    IntegrityError,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import ObjectInfo, Objects, is_unfinished
from frames_pipeline.io.sums import UNREADABLE, checked_document, with_sum
from frames_pipeline.readers.stored_frames import ClipLocation, StoredFrames
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import GRACE_SECONDS
from frames_pipeline.store.codecs import METADATA, Shards, checked_codec, encode_stream
from frames_pipeline.store.commits import Document, dump, outcome_document, outcome_from_document
from frames_pipeline.store.layout import digest_of_clips

Progress = Callable[[int, int], None]
"""Called with the number of clips done and of all."""
Listing = Mapping[str, ObjectInfo]
"""Objects by key."""

PACK: Final = "pack.json"
PACK_FORMAT: Final = "frames-pack/1"
PART_FORMAT: Final = "frames-pack-part/1"

_BEFORE: Final = {
    PACK_FORMAT: (),
    PART_FORMAT: ("format", "signature_key", "shape", "clips", "files"),
}
"""Members of documents that version 0.1 wrote without a checksum; `pack.json` always had one."""
_FRAMES: Final = "frames"
_INDEX: Final = "index.parquet"
_PART: Final = "part.json"
_IN_PART: Final = re.compile(r"parts/([0-9a-f]{32})/")


def _field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


INDEX: Final = pa.schema(
    [
        _field("clip_id", pa.string()),
        _field("start", pa.int64()),
        _field("stop", pa.int64()),
        _field("batch", pa.string()),
        _field("video_key", pa.string()),
        _field("fingerprint", pa.string()),
        _field("commit", pa.string()),
        _field("frames_digest", pa.string()),
        _field("time_base_num", pa.int64()),
        _field("time_base_den", pa.int64()),
        _field("pts", pa.list_(pa.int64())),
        _field("positions", pa.list_(pa.int64())),
        _field("key_frame", pa.list_(pa.bool_())),
        _field("corrupt", pa.list_(pa.bool_())),
        _field("outcome", pa.string()),
    ]
)
"""A row per clip: frames [start, stop) of the part's array; `commit` is the attempt in the store
that they were copied from, `frames_digest` is `FrameBatch.digest()`, `outcome` is JSON."""


@dataclass(frozen=True, slots=True)
class Part:
    """One array of many clips, as its document says."""

    key: str
    """Its name: what is in it, and how."""
    shape: tuple[int, ...]
    """Of its frames: (n, height, width, 3)."""
    clips: int
    """Number of clips."""
    files: Mapping[str, tuple[int, str]] = field(repr=False)
    """Size and SHA-256 of every file, by key relative to the part."""
    sha256: str
    """Of the document."""

    @property
    def path(self) -> str:
        """Its folder in the pack."""
        return f"parts/{self.key}"

    @classmethod
    def from_bytes(cls, key: str, data: bytes) -> Part:
        """The part that a stored document is of."""
        name = f"parts/{key}/{_PART}"
        document = _parsed(data, PART_FORMAT, name=name)
        try:
            return cls(
                key=key,
                shape=tuple(document["shape"]),
                clips=document["clips"],
                files={name: (size, sha) for name, (size, sha) in document["files"].items()},
                sha256=hashlib.sha256(data).hexdigest(),
            )
        except UNREADABLE as error:
            raise _damaged_error(name, error) from error

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(size for size, _ in self.files.values())


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a call of `pack_frames` did."""

    url: str
    """Where the pack is."""
    clips: int
    """Clips in it."""
    frames: int
    """Frames in it."""
    parts: int
    """Parts that it consists of."""
    parts_written: int
    """Those of them that were not there before."""
    objects: int
    """Objects that it consists of."""
    bytes: int
    """Their bytes."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Parts that a pack does not name; they were deleted unless this was a dry run."""

    parts: tuple[str, ...]
    """Their keys."""
    objects: int
    """Objects of them."""
    bytes: int
    """Their bytes."""
    dry_run: bool
    """Whether everything was left as it was."""


def pack_frames(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    codec: str = "zstd",
    part_bytes: int = 2**30,
    repair: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Copy the frames of clips into few large objects.

    Each clip to copy is read whole, and compared with its commit and the digest of its frames.
    Clips keep their order. A part with the same clips as before is kept without reading them.

    Args:
        frames: Clips, from `open_frames`.
        to: Path or fsspec URL of the pack, new or existing. A pack has one signature.
        codec: Codec of the chunks: `zstd`, or `none`.
        part_bytes: Raw bytes of frames after which no clip is added to a part.
        repair: Read every object of the pack, and write damaged parts and a damaged `pack.json`
            again.
        storage_options: fsspec options of the pack.
        progress: Called with the number of clips done.

    Raises:
        ConfigError: The codec or `part_bytes` cannot be used.
        ConflictError: A pack of another signature is there.
        IntegrityError: An object of the store differs from its commit, or `pack.json` is damaged.
            The pack stays as it was.
    """
    if part_bytes < 1:
        message = f"part_bytes={part_bytes} must be 1 or above"
        raise ConfigError(message)
    codec = checked_codec(codec)
    objects = Objects(to, storage_options)
    before = _readable_document(objects) if repair else _document_of(objects)
    _check_signature(objects, before, frames.signature_key)
    named: Mapping[str, str] = {} if before is None else before["parts"]
    find_part = _find_whole_part if repair else _find_part
    parts, written, done = [], 0, 0
    for clips in _groups(frames.locations, part_bytes):
        key = _part_key(frames.signature_key, clips, codec)
        part = find_part(objects, key, sha256=named.get(key))
        if part is None:
            part, written = _write_part(objects, key, frames, clips, codec=codec), written + 1
        parts.append(part)
        done += len(clips)
        if progress is not None:
            progress(done, len(frames))
    document = _document_for(frames, parts)
    if before != document:
        objects.put(PACK, with_sum(dump(document)))
    return _report(objects, frames, parts, written=written)


def _check_signature(objects: Objects, document: Document | None, signature_key: str) -> None:
    """Check that a pack in the same place, if any, has the same signature."""
    if document is not None and document["signature_key"] != signature_key:
        message = f"{objects.url} is a pack of {document['signature_key']}, not of "
        raise ConflictError(f"{message}{signature_key}; choose another place")


def _report(
    objects: Objects, frames: StoredFrames, parts: Sequence[Part], *, written: int
) -> PackReport:
    return PackReport(
        url=objects.url,
        clips=len(frames),
        frames=frames.num_frames,
        parts=len(parts),
        parts_written=written,
        objects=1 + sum(1 + len(part.files) for part in parts),
        bytes=sum(part.bytes for part in parts),
    )


def prune_pack(
    url: str | os.PathLike[str],
    *,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> PruneReport:
    """Report, or with `dry_run=False` delete, the parts that `pack.json` does not reference.

    A killed writer or an earlier pack leaves such parts. Parts written within the grace period
    stay; if `pack.json` was, every part stays. Older unfinished writes are deleted everywhere in
    the pack.

    Args:
        url: Path or URL of the pack.
        grace_seconds: Keep anything written within this many seconds. Choose more than a pack takes
            to write, and than a reader keeps an earlier pack open.
        dry_run: Only report.
        storage_options: fsspec options of the pack.

    Raises:
        CommitNotFoundError: There is no pack.
        ConfigError: `grace_seconds` is below zero.
        IntegrityError: `pack.json` is damaged.
    """
    if grace_seconds < 0:
        message = f"grace_seconds={grace_seconds} is below zero; a day is a good choice"
        raise ConfigError(message)
    now = time.time()
    horizon = now - grace_seconds
    objects = Objects(url, storage_options)
    listing = objects.list()
    parts = _files_by_part(listing)
    named = _named_by(objects)["parts"]  # read last: includes parts named since the listing
    is_new = objects.info(PACK).modified > horizon
    garbage = {} if is_new else _unreferenced(parts, named, horizon)
    keys = sorted(_unfinished(listing, horizon).union(*garbage.values()))
    if not dry_run:
        _delete(objects, keys)
        objects.stamp_now(_ahead(objects, parts.values(), now))
    return PruneReport(
        parts=tuple(garbage),
        objects=len(keys),
        bytes=sum(listing[key].size for key in keys),
        dry_run=dry_run,
    )


def _files_by_part(listing: Listing) -> dict[str, dict[str, ObjectInfo]]:
    """Group the listed objects of parts by key of the part."""
    parts: defaultdict[str, dict[str, ObjectInfo]] = defaultdict(dict)
    for key, info in listing.items():
        if within := _IN_PART.match(key):
            parts[within[1]][key] = info
    return parts


def _unreferenced(
    parts: Mapping[str, Listing], named: Collection[str], horizon: float
) -> dict[str, Listing]:
    """Return the parts outside `named`, if all their objects were written by the horizon."""
    return {
        part: files
        for part, files in parts.items()
        if part not in named and max(info.modified for info in files.values()) <= horizon
    }


def _unfinished(listing: Listing, horizon: float) -> set[str]:
    """Return temporary files of killed writers, written by the horizon."""
    return {key for key, info in listing.items() if is_unfinished(key) and info.modified <= horizon}


def _delete(objects: Objects, keys: Sequence[str]) -> None:
    """Delete the documents of parts first, so that no half of a part counts as whole."""
    documents = {key for key in keys if key.endswith(f"/{_PART}")}
    objects.delete(sorted(documents))
    objects.delete([key for key in keys if key not in documents])


def _ahead(objects: Objects, parts: Iterable[Listing], now: float) -> Iterator[str]:
    """Yield objects with a modification time in the future; they count as written now."""
    if objects.info(PACK).modified > now:
        yield PACK
    for files in parts:
        yield from (key for key, info in files.items() if info.modified > now)


def open_pack(
    url: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> PackedFrames:
    """A pack, to read clips from: a snapshot. One small object is read, and two per part.

    Args:
        url: Where it is.
        storage_options: What fsspec needs to reach it.

    Raises:
        CommitNotFoundError: There is none.
        IntegrityError: An object is missing, or is not the one that was packed.
    """
    objects = Objects(url, storage_options)
    document = _named_by(objects)
    keys = {f"parts/{key}/{_PART}": key for key in document["parts"]}
    found = objects.get_many(keys)
    parts = []
    for path, key in keys.items():
        data = _checked(objects, path, found.get(path), sha256=document["parts"][key])
        parts.append(Part.from_bytes(key, data))
    indexes = objects.get_many(f"{part.path}/{_INDEX}" for part in parts)
    tables = [
        _index_of(objects, part, indexes.get(f"{part.path}/{_INDEX}")).append_column(
            "part", pa.array([number] * part.clips, pa.int64())
        )
        for number, part in enumerate(parts)
    ]
    empty = INDEX.append(pa.field("part", pa.int64())).empty_table()
    index = pa.concat_tables(tables) if tables else empty
    _check_document(objects, document, index)
    return PackedFrames(objects=objects, document=document, parts=tuple(parts), index=index)


@dataclass(frozen=True, eq=False)
class PackedFrames(Mapping[str, FrameBatch]):
    """Clips by id: a snapshot that may be pickled to other processes, and that torch datasets take.

    Reading a clip is one request for its chunks, and one for the index of a shard that was not read
    from before. Every chunk has a checksum; `verify` compares hashes.
    """

    objects: Objects
    """Where it is."""
    document: Document = field(repr=False)
    """What `pack.json` says."""
    parts: tuple[Part, ...] = field(repr=False)
    """Its parts."""
    index: pa.Table = field(repr=False)
    """A row per clip, with the columns of `INDEX`, and `part`, a number in `parts`."""

    def __getitem__(self, clip_id: str) -> FrameBatch:
        """A clip's frames, as they are in the store.

        Raises:
            KeyError: No such clip.
            IntegrityError: A chunk is damaged.
        """
        return self.read(clip_id)

    def __contains__(self, clip_id: object) -> bool:
        """Whether there is such a clip; nothing is read."""
        return clip_id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Clip ids, in the order of their frames."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Number of clips."""
        count: int = self.index.num_rows
        return count

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what can be told from the rest."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def signature(self) -> FrameExtractionSignature:
        """The signature.

        Raises:
            ConfigError: Another version of this library made it, with fields unknown here.
        """
        return FrameExtractionSignature.from_mapping(self.document["signature"])

    @property
    def digest(self) -> str:
        """What the frames are: that of the `StoredFrames` that were packed."""
        return str(self.document["frames_digest"])

    def length(self, clip_id: str) -> int:
        """Number of frames of a clip, repeats included."""
        row = self._rows[clip_id]
        start: int = self.index["start"][row].as_py()
        stop: int = self.index["stop"][row].as_py()
        return stop - start

    def url(self, clip_id: str) -> str:
        """Path or URL of the Zarr array that has a clip's frames, at [start, stop) of `index`."""
        part = self.parts[self.index["part"][self._rows[clip_id]].as_py()]
        return f"{self.objects.url}/{part.path}/{_FRAMES}"

    def read(self, clip_id: str, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Frames [start, stop) of a clip, numbered from its first.

        Raises:
            KeyError: No such clip.
            IntegrityError: A chunk is damaged.
        """
        row = self.index.slice(self._rows[clip_id], 1).to_pylist()[0]
        wanted = slice(start, stop)
        start, stop, _ = wanted.indices(row["stop"] - row["start"])
        frames = self._pixels(row["part"], row["start"] + start, row["start"] + max(start, stop))
        return FrameBatch(
            frames=frames,
            pts=np.array(row["pts"], np.int64)[wanted],
            time_base=Fraction(row["time_base_num"], row["time_base_den"]),
            positions=np.array(row["positions"], np.int64)[wanted],
            key_frame=np.array(row["key_frame"], np.bool_)[wanted],
            corrupt=np.array(row["corrupt"], np.bool_)[wanted],
            outcome=outcome_from_document(json.loads(row["outcome"])),
        )

    def verify(self) -> tuple[str, ...]:
        """Read every object, compare its hash, and the digest of every clip; what differs."""
        faults = []
        for part in self.parts:
            faults += _damage(self.objects, part)
        for clip_id, digest in zip(self, self.index["frames_digest"].to_pylist(), strict=True):
            try:
                found = self.read(clip_id).digest()
            except IntegrityError as error:
                faults.append(str(error))
                continue
            if found != digest:
                faults.append(f"{clip_id} holds frames with digest {found}, not {digest}")
        return tuple(faults)

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {clip: row for row, clip in enumerate(self.index["clip_id"].to_pylist())}

    @cached_property
    def _chunk_offsets(self) -> dict[tuple[int, int], Sequence[tuple[int, int]]]:
        """Where the chunks of a shard are, by number of part and shard, as far as was asked."""
        return {}

    @cached_property
    def _shards(self) -> dict[int, Shards]:
        """How the shards of a part are, likewise."""
        return {}

    def _pixels(self, number: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames [start, stop) of a part's array."""
        part = self.parts[number]
        frames = np.empty((stop - start, *part.shape[1:]), np.uint8)
        if start == stop:
            return frames
        if number not in self._shards:
            self._shards[number] = _shards_of(self.objects, part)
        shards = self._shards[number]
        for shard in range(start // shards.frames, (stop - 1) // shards.frames + 1):
            first = shard * shards.frames
            low, high = max(start, first), min(stop, first + shards.frames)
            self._decode(number, shard, slice(low - first, high - first), frames[low - start :])
        return frames

    def _decode(self, number: int, shard: int, chunks: slice, into: NDArray[np.uint8]) -> None:
        """Write some frames of a shard, which lie side by side, from one request."""
        part, shards = self.parts[number], self._shards[number]
        name = f"{_FRAMES}/c/{shard}/0/0/0"
        key, size = f"{part.path}/{name}", part.files[name][0]
        try:
            if (number, shard) not in self._chunk_offsets:
                index = self.objects.get_range(key, size - shards.index_bytes, size)
                self._chunk_offsets[number, shard] = shards.offsets(index)
            offsets = self._chunk_offsets[number, shard][chunks]
            begin = offsets[0][0]
            data = memoryview(self.objects.get_range(key, begin, sum(offsets[-1])))
            for target, (offset, length) in zip(into, offsets, strict=False):
                shards.decode_chunk(data[offset - begin : offset - begin + length], target)
        except (FileNotFoundError, *UNREADABLE) as error:
            raise _damaged_error(f"{self.objects.url}/{key}", error) from error


def _groups(
    locations: Mapping[str, ClipLocation], part_bytes: int
) -> Iterator[list[tuple[str, ClipLocation]]]:
    """Clips of one size, so many that their frames fill a part, in their order."""
    open_groups: dict[tuple[int, int], tuple[int, list[tuple[str, ClipLocation]]]] = {}
    for clip_id, place in locations.items():
        commit = place.commit
        size = (commit.height, commit.width)
        held, clips = open_groups.pop(size, (0, []))
        clips.append((clip_id, place))
        held += 3 * commit.num_frames * commit.height * commit.width
        if held >= part_bytes:
            yield clips
        else:
            open_groups[size] = (held, clips)
    for _, clips in open_groups.values():
        yield clips


def _part_key(signature: str, clips: Iterable[tuple[str, ClipLocation]], codec: str) -> str:
    """The name of a part: which clips with which frames, from which attempts, and how."""
    told = [[clip, place.batch, place.commit.path, place.commit.digest] for clip, place in clips]
    content = json.dumps([PART_FORMAT, signature, codec, told]).encode()
    return hashlib.sha256(content).hexdigest()[:32]


def _find_part(objects: Objects, key: str, *, sha256: str | None) -> Part | None:
    """Return an existing part.

    A part that `pack.json` does not reference gets a new modification time, so that `prune_pack`
    keeps it.

    Args:
        objects: The pack.
        key: Name of the part.
        sha256: SHA-256 of its document, if `pack.json` references the part.
    """
    try:
        data = objects.get(f"parts/{key}/{_PART}")
        part = Part.from_bytes(key, data)
    except (FileNotFoundError, IntegrityError):  # one that cannot be read is written again
        return None
    if sha256 is None:
        objects.put(f"parts/{key}/{_PART}", data)
    return part if sha256 in (None, part.sha256) else None


def _find_whole_part(objects: Objects, key: str, *, sha256: str | None) -> Part | None:
    """Return an existing part if all its files are undamaged; read every one."""
    part = _find_part(objects, key, sha256=sha256)
    return None if part is None or _damage(objects, part) else part


def _damage(objects: Objects, part: Part) -> list[str]:
    """Read every file of a part, and describe each damaged one."""
    faults = []
    for name in part.files:
        try:
            _file(objects, part, name)
        except IntegrityError as error:
            faults.append(str(error))
    return faults


def _write_part(
    objects: Objects,
    key: str,
    frames: StoredFrames,
    clips: Sequence[tuple[str, ClipLocation]],
    *,
    codec: str,
) -> Part:
    """Copy clips into a part; its document is put last."""
    commits = [place.commit for _, place in clips]
    total = sum(commit.num_frames for commit in commits)
    shape = (total, commits[0].height, commits[0].width, 3)
    rows: list[dict[str, Any]] = []
    pixels = _stream(frames, clips, rows)
    files: dict[str, tuple[int, str]] = {}

    def put(name: str, data: bytes) -> None:
        objects.put(f"parts/{key}/{name}", data)
        files[name] = (len(data), hashlib.sha256(data).hexdigest())

    for name, data in encode_stream(pixels, shape, codec=codec):
        put(f"{_FRAMES}/{name}", data)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, INDEX), sink, compression="zstd")
    put(_INDEX, sink.getvalue().to_pybytes())
    document = {
        "format": PART_FORMAT,
        "signature_key": frames.signature_key,
        "shape": shape,
        "clips": len(clips),
        "files": files,
    }
    objects.put(f"parts/{key}/{_PART}", data := with_sum(dump(document)))
    return Part.from_bytes(key, data)


def _stream(
    frames: StoredFrames, clips: Iterable[tuple[str, ClipLocation]], rows: list[dict[str, Any]]
) -> Iterator[NDArray[np.uint8]]:
    """The frames of clips one by one; a row for each clip is added as it comes."""
    start = 0
    for clip_id, place in clips:
        batch = frames.read(clip_id)
        if batch.digest() != place.commit.digest:
            message = f"{clip_id} holds frames with digest {batch.digest()}, not "
            raise IntegrityError(f"{message}{place.commit.digest}; extract it again")
        rows.append(_row(clip_id, place, batch, start))
        start += len(batch)
        yield from batch.frames


def _row(clip_id: str, place: ClipLocation, batch: FrameBatch, start: int) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "start": start,
        "stop": start + len(batch),
        "batch": place.batch,
        "video_key": video_key(clip_id),
        "fingerprint": place.commit.fingerprint,
        "commit": place.commit.path,
        "frames_digest": place.commit.digest,
        "time_base_num": batch.time_base.numerator,
        "time_base_den": batch.time_base.denominator,
        "pts": batch.pts.tolist(),
        "positions": batch.positions.tolist(),
        "key_frame": batch.key_frame.tolist(),
        "corrupt": batch.corrupt.tolist(),
        "outcome": dump(outcome_document(batch.outcome)).decode(),
    }


def _document_for(frames: StoredFrames, parts: Iterable[Part]) -> Document:
    """What `pack.json` is to say."""
    return {
        "format": PACK_FORMAT,
        "signature": frames.signature_document,
        "signature_key": frames.signature_key,
        "frames_digest": frames.digest,
        "clips": len(frames),
        "frames": frames.num_frames,
        "parts": {part.key: part.sha256 for part in parts},
    }


def _document_of(objects: Objects) -> Document | None:
    """What `pack.json` says; `None` where there is no pack."""
    try:
        data = objects.get(PACK)
    except FileNotFoundError:
        return None
    return _parsed(data, PACK_FORMAT, name=f"{objects.url}/{PACK}")


def _readable_document(objects: Objects) -> Document | None:
    """Return the content of `pack.json`; `None` if it is missing or damaged."""
    try:
        return _document_of(objects)
    except IntegrityError:
        return None


def _named_by(objects: Objects) -> Document:
    """What `pack.json` says, of a pack that must be there."""
    document = _document_of(objects)
    if document is None:
        message = f"no pack at {objects.url}; make one with pack_frames"
        raise CommitNotFoundError(message)
    return document


def _check_document(objects: Objects, document: Document, index: pa.Table) -> None:
    """Compare what `pack.json` says with what is in the parts."""
    clips = index["clip_id"].to_pylist(), index["frames_digest"].to_pylist()
    frames = pc.sum(pc.subtract(index["stop"], index["start"])).as_py() or 0
    told = (document["frames_digest"], document["clips"], document["frames"])
    found = (digest_of_clips(zip(*clips, strict=True)), index.num_rows, frames)
    if told != found:
        message = f"{objects.url}/{PACK} is not of the parts that it names; pack again"
        raise IntegrityError(message)


def _parsed(data: bytes, expected: str, *, name: str) -> Document:
    try:
        document: Document = checked_document(data, before=_BEFORE)
        found = document["format"]
    except UNREADABLE as error:
        raise _damaged_error(name, error) from error
    if found != expected:
        message = f"{name} is in format {found!r}, and this version reads {expected}"
        raise IntegrityError(message)
    return document


def _index_of(objects: Objects, part: Part, data: bytes | None) -> pa.Table:
    name = f"{objects.url}/{part.path}/{_INDEX}"
    try:
        size, sha256 = part.files[_INDEX]
        checked = _checked(objects, f"{part.path}/{_INDEX}", data, sha256=sha256, size=size)
        return pq.read_table(pa.BufferReader(checked), schema=INDEX)
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        raise _damaged_error(name, error) from error


def _shards_of(objects: Objects, part: Part) -> Shards:
    document = _file(objects, part, f"{_FRAMES}/{METADATA}")
    shards = Shards.of(json.loads(document))
    if shards is None:
        message = f"{objects.url}/{part.path} is not stored as this version does; pack again"
        raise IntegrityError(message)
    return shards


def _damaged_error(name: str, error: Exception) -> IntegrityError:
    message = f"{name} is damaged ({error!r}); pack again with repair"
    return IntegrityError(message)


def _file(objects: Objects, part: Part, name: str) -> bytes:
    """A file of a part, if it is the one that was packed."""
    key = f"{part.path}/{name}"
    size, sha256 = part.files[name]
    return _checked(objects, key, objects.get_many([key]).get(key), sha256=sha256, size=size)


def _checked(
    objects: Objects, key: str, data: bytes | None, *, sha256: str, size: int | None = None
) -> bytes:
    if data is None:
        message = f"{objects.url}/{key} is missing; pack again with repair"
        raise IntegrityError(message)
    if size not in (None, len(data)) or hashlib.sha256(data).hexdigest() != sha256:
        message = f"{objects.url}/{key} has a wrong size or SHA-256; pack again with repair"
        raise IntegrityError(message)
    return data
