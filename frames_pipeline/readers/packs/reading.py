"""Read clips of a pack: `open_pack`."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frames_pipeline.encodings.images import EncodedFrames
from frames_pipeline.errors import CodecUnavailableError, IntegrityError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.readers.packs.documents import (
    Part,
    checked,
    damage_in,
    damaged,
    part_file,
    read_document,
)
from frames_pipeline.readers.packs.layout import (
    FRAMES,
    INDEX,
    INDEX_FILE,
    PACK,
    PART_FILE,
    format_of_row,
)
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.codecs import METADATA, Shards
from frames_pipeline.store.commits import Document, outcome_from_document
from frames_pipeline.store.layout import digest_of_clips


def open_pack(
    url: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> PackedFrames:
    """Open a pack to read clips from. Reads one small object, and two per part.

    The result is a snapshot: it keeps its clips when the pack is written again.

    Args:
        url: Path or URL of the pack.
        storage_options: fsspec options of the pack.

    Raises:
        CommitNotFoundError: There is no pack.
        IntegrityError: An object is missing or damaged.
    """
    objects = Objects(url, storage_options)
    document = read_document(objects)
    keys = {f"parts/{key}/{PART_FILE}": key for key in document["parts"]}
    found = objects.get_many(keys)
    parts = []
    for path, key in keys.items():
        data = checked(objects, path, found.get(path), sha256=document["parts"][key])
        parts.append(Part.from_bytes(key, data))
    indexes = objects.get_many(f"{part.path}/{INDEX_FILE}" for part in parts)
    tables = [
        _index_of(objects, part, indexes.get(f"{part.path}/{INDEX_FILE}")).append_column(
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
    """Clips by id: a snapshot that can be pickled, and that torch datasets take.

    Reading a clip takes one request for its chunks, and one for the index of each shard that is
    read for the first time. Every chunk has a checksum; `verify` compares hashes.
    """

    objects: Objects
    """Objects of the pack."""
    document: Document = field(repr=False)
    """Content of `pack.json`."""
    parts: tuple[Part, ...] = field(repr=False)
    """Parts of the pack."""
    index: pa.Table = field(repr=False)
    """A row per clip, with the columns of `INDEX`, and `part`, a number in `parts`."""

    def __getitem__(self, clip_id: str) -> FrameBatch:
        """Return a clip's frames, as they are in the store.

        Raises:
            KeyError: No such clip.
            IntegrityError: A chunk is damaged.
        """
        return self.read(clip_id)

    def __contains__(self, clip_id: object) -> bool:
        """Return whether there is such a clip; read nothing."""
        return clip_id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Clip ids, in the order of their frames."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Number of clips."""
        count: int = self.index.num_rows
        return count

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the caches."""
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
        """Digest of the `StoredFrames` that were packed."""
        return str(self.document["frames_digest"])

    def length(self, clip_id: str) -> int:
        """Return the number of frames of a clip, repeats included."""
        row = self._rows[clip_id]
        start: int = self.index["start"][row].as_py()
        stop: int = self.index["stop"][row].as_py()
        return stop - start

    def url(self, clip_id: str) -> str:
        """Return the URL of the Zarr array with a clip's frames, at [start, stop) of `index`."""
        part = self.parts[self.index["part"][self._rows[clip_id]].as_py()]
        return f"{self.objects.url}/{part.path}/{FRAMES}"

    def read(self, clip_id: str, start: int = 0, stop: int | None = None) -> FrameBatch:
        """Return frames [start, stop) of a clip, counted from its first.

        Raises:
            KeyError: No such clip.
            IntegrityError: A chunk is damaged.
        """
        row = self.index.slice(self._rows[clip_id], 1).to_pylist()[0]
        wanted = slice(start, stop)
        start, stop, _ = wanted.indices(row["stop"] - row["start"])
        frames = self._load(row["part"], row["start"] + start, row["start"] + max(start, stop))
        batch = FrameBatch.of(
            frames,
            pts=np.array(row["pts"], np.int64)[wanted],
            time_base=Fraction(row["time_base_num"], row["time_base_den"]),
            positions=np.array(row["positions"], np.int64)[wanted],
            key_frame=np.array(row["key_frame"], np.bool_)[wanted],
            corrupt=np.array(row["corrupt"], np.bool_)[wanted],
            outcome=outcome_from_document(json.loads(row["outcome"])),
            source=format_of_row(row),
        )
        with self._decoding(f"{self.parts[row['part']].path}/{FRAMES}"):
            return batch.with_pixels()

    def verify(self) -> tuple[str, ...]:
        """Read every object, compare its hash and the digest of every clip; return the faults."""
        faults = []
        for part in self.parts:
            faults += damage_in(self.objects, part)
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
        """Cache of the offset and length of each chunk, by number of part and shard."""
        return {}

    @cached_property
    def _shards(self) -> dict[int, Shards]:
        """Cache of the shard layout, by number of part."""
        return {}

    def _load(self, number: int, start: int, stop: int) -> NDArray[Any] | EncodedFrames:
        """Return frames [start, stop) of a part's array: pixels, or images of an encoding."""
        if number not in self._shards:
            self._shards[number] = _shards_of(self.objects, self.parts[number])
        shards = self._shards[number]
        chunks: list[memoryview] = []
        for shard in range(start // shards.frames, math.ceil(stop / shards.frames)):
            first = shard * shards.frames
            low, high = max(start, first), min(stop, first + shards.frames)
            if low < high:
                chunks += self._chunks(number, shard, slice(low - first, high - first))
        with self._decoding(f"{self.parts[number].path}/{FRAMES}"):
            return shards.load(chunks)

    def _chunks(self, number: int, shard: int, wanted: slice) -> list[memoryview]:
        """Return adjacent chunks of a shard, from one request."""
        part, shards = self.parts[number], self._shards[number]
        name = f"{FRAMES}/c/{shard}/0/0/0"
        key, size = f"{part.path}/{name}", part.files[name][0]
        with self._decoding(key):
            if (number, shard) not in self._chunk_offsets:
                index = self.objects.get_range(key, size - shards.index_bytes, size)
                self._chunk_offsets[number, shard] = shards.offsets(index)
            offsets = self._chunk_offsets[number, shard][wanted]
            begin = offsets[0][0]
            data = memoryview(self.objects.get_range(key, begin, sum(offsets[-1])))
            return [data[at - begin : at - begin + length] for at, length in offsets]

    @contextlib.contextmanager
    def _decoding(self, key: str) -> Iterator[None]:
        """Turn errors of an object into `IntegrityError`."""
        try:
            yield
        except CodecUnavailableError:
            raise
        except (FileNotFoundError, *UNREADABLE) as error:
            raise damaged(f"{self.objects.url}/{key}", error) from error


def _check_document(objects: Objects, document: Document, index: pa.Table) -> None:
    """Compare the totals of `pack.json` with its parts."""
    clips = index["clip_id"].to_pylist(), index["frames_digest"].to_pylist()
    frames = pc.sum(pc.subtract(index["stop"], index["start"])).as_py() or 0
    expected = (document["frames_digest"], document["clips"], document["frames"])
    found = (digest_of_clips(zip(*clips, strict=True)), index.num_rows, frames)
    if expected != found:
        message = f"{objects.url}/{PACK} does not fit the parts that it references; pack again"
        raise IntegrityError(message)


def _index_of(objects: Objects, part: Part, data: bytes | None) -> pa.Table:
    name = f"{objects.url}/{part.path}/{INDEX_FILE}"
    try:
        size, sha256 = part.files[INDEX_FILE]
        content = checked(objects, f"{part.path}/{INDEX_FILE}", data, sha256=sha256, size=size)
        return pq.read_table(pa.BufferReader(content), schema=INDEX)
    except (pa.ArrowException, OSError, *UNREADABLE) as error:
        raise damaged(name, error) from error


def _shards_of(objects: Objects, part: Part) -> Shards:
    document = part_file(objects, part, f"{FRAMES}/{METADATA}")
    shards = Shards.of(json.loads(document))
    if shards is None:
        message = (
            f"{objects.url}/{part.path} has another layout than this version writes; pack again"
        )
        raise IntegrityError(message)
    return shards
