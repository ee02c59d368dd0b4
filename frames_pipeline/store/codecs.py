"""Encode arrays as objects and decode them again, in memory, one shard at a time.

Zarr makes the metadata documents of arrays. Chunks and shards are assembled here, byte for byte
like Zarr's: Zarr itself runs a task per chunk, which takes several times as long for small frames.
So every object is complete before it is written, and is written once.

```
frames    | 0 | 1 | 2 | 3 | 4 | 5 | 6 |      one chunk per frame
shards    |       0       |     1     |      as many frames as 64 MiB hold, at most the clip
objects   c/0/0/0/0       c/1/0/0/0          each written once, whole
```
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from frames_pipeline.encodings.images import EncodedFrames
from frames_pipeline.frames import FrameBatch
from frames_pipeline.store.chunk_codecs import (
    ChunkCodec,
    ZarrCodec,
    codec_of,
    with_checksum,
    without_checksum,
)
from frames_pipeline.store.commits import dump
from frames_pipeline.store.source_format import pixel_attributes

SHARD_BYTES: Final = 64 * 2**20
"""Maximum raw bytes of a shard; a larger frame is a shard of its own. Writing a shard takes up to
four times as much memory."""

_NOWHERE: Final = 2**64 - 1
"""Offset and length of a missing chunk of a shard."""

DIMENSIONS: Final = ("time", "y", "x", "channel")

_DTYPES: Final = ("uint8", "uint16")
"""Types of samples."""

METADATA: Final = "zarr.json"
"""Key of the metadata document of an array or a group."""

Encoded = Iterator[tuple[str, bytes]]
"""Keys relative to the array or group, with the bytes to store there."""


def frames_per_shard(shape: tuple[int, ...], itemsize: int = 1) -> int:
    """Return the number of frames per shard of an (n, height, width, channel) array.

    Args:
        shape: Shape of the array.
        itemsize: Bytes of a sample.

    >>> frames_per_shard((20, 224, 224, 3)), frames_per_shard((600, 1080, 1920, 3))
    (20, 10)
    """
    return min(shape[0], max(1, SHARD_BYTES // (math.prod(shape[1:]) * itemsize)))


def encode_frames(
    frames: NDArray[Any], *, codec: ChunkCodec, attributes: Mapping[str, object] | None = None
) -> Encoded:
    """Yield the objects of the `frames` array; each shard is encoded when it is requested."""
    return encode_stream(
        frames, frames.shape, dtype=str(frames.dtype), codec=codec, attributes=attributes
    )


def encode_batch(
    batch: FrameBatch, *, codec: ChunkCodec, attributes: Mapping[str, object] | None = None
) -> Encoded:
    """Yield the objects of the `frames` array of a batch. Images become chunks as they are."""
    frames = batch.frames if batch.encoded is None else batch.encoded
    return encode_stream(
        frames, batch.shape, dtype=str(batch.dtype), codec=codec, attributes=attributes
    )


def encode_stream(
    frames: Iterable[NDArray[Any] | bytes],
    shape: tuple[int, ...],
    *,
    dtype: str = "uint8",
    codec: ChunkCodec,
    attributes: Mapping[str, object] | None = None,
) -> Encoded:
    """Yield the objects of a `frames` array from a stream of frames. Holds one encoded shard.

    Args:
        frames: The frames, (height, width, channels) each or encoded as the codec's images, as many
            as the shape has.
        shape: Shape of the array: (n, height, width, channels).
        dtype: Type of the samples: `uint8` or `uint16`.
        codec: Codec of the chunks.
        attributes: Attributes of the array, by `pixel_attributes`; default: those of sRGB.
    """
    per_shard = frames_per_shard(shape, np.dtype(dtype).itemsize)
    yield METADATA, frames_document(shape, dtype=dtype, codec=codec, attributes=attributes)
    chunks: list[bytes] = []
    for number, frame in enumerate(frames, start=1):
        if isinstance(frame, bytes):
            chunks.append(with_checksum(frame))
        else:
            chunks.append(codec.encode(frame.astype(dtype, copy=False)))
        if len(chunks) == per_shard or number == shape[0]:
            yield f"c/{(number - 1) // per_shard}/0/0/0", _shard(chunks, per_shard)
            chunks = []


def encode_seconds(seconds: NDArray[np.float64], *, codec: ChunkCodec) -> Encoded:
    """Yield the objects of the `time` array, which is the coordinate of `frames` for xarray.

    Args:
        seconds: The times.
        codec: Codec of the frames beside it.
    """
    yield METADATA, _seconds_document(len(seconds), codec.of_times)
    yield "c/0", codec.of_times.encode(seconds)


def frames_document(
    shape: tuple[int, ...],
    *,
    dtype: str,
    codec: ChunkCodec,
    attributes: Mapping[str, object] | None = None,
) -> bytes:
    """Return Zarr's metadata document of a `frames` array; see `encode_stream`."""
    described = pixel_attributes(shape[-1]) if attributes is None else attributes
    per_shard = frames_per_shard(shape, np.dtype(dtype).itemsize)
    return _frames_document(shape, dtype, per_shard, codec, json.dumps(described))


@lru_cache
def _frames_document(
    shape: tuple[int, ...], dtype: str, per_shard: int, codec: ChunkCodec, attributes: str
) -> bytes:
    return _document(
        [_sharding(shape, codec.zarr_codecs(dtype))],
        shape=shape,
        dtype=dtype,
        chunks=(per_shard, *shape[1:]),
        dimension_names=DIMENSIONS,
        attributes=json.loads(attributes),
    )


@lru_cache
def _seconds_document(length: int, codec: ChunkCodec) -> bytes:
    """Return Zarr's metadata document of a `time` array."""
    return _document(
        codec.zarr_codecs("float64"),
        shape=(length,),
        dtype="float64",
        chunks=(length,),
        dimension_names=DIMENSIONS[:1],
        attributes={"units": "s"},
    )


def _document(codecs: Sequence[ZarrCodec], **described: Any) -> bytes:  # noqa: ANN401 - Zarr's
    """Let Zarr make the metadata document of an empty array, and put in the codecs.

    So a document can be made without the packages that its codecs need.
    """
    objects: dict[str, Buffer] = {}
    zarr.create_array(
        MemoryStore(cast(Any, objects)),
        filters=(),
        compressors=(),
        fill_value=0,
        zarr_format=3,
        **described,
    )
    document = json.loads(objects[METADATA].to_bytes())
    return json.dumps(document | {"codecs": list(codecs)}, indent=2).encode()


def _shard(chunks: Sequence[bytes], places: int) -> bytes:
    """Return the chunks in a row, then their index. The last shard has fewer chunks than places."""
    ends = np.cumsum([len(chunk) for chunk in chunks], dtype="<u8")
    index = np.full((places, 2), _NOWHERE, "<u8")
    index[: len(chunks), 1] = [len(chunk) for chunk in chunks]
    index[: len(chunks), 0] = ends - index[: len(chunks), 1]
    return b"".join([*chunks, with_checksum(index.tobytes())])


def encode_group(arrays: Mapping[str, Encoded], *, attributes: Mapping[str, Any]) -> Encoded:
    """Yield the objects of a group: first its arrays', by name, then its metadata document.

    The group's document repeats the arrays' metadata, which saves readers a request for each.
    """
    metadata = {}
    for name, encoded in arrays.items():
        for key, data in encoded:
            if key == METADATA:
                metadata[name] = json.loads(data)
            yield f"{name}/{key}", data
            del data  # before the next shard is encoded
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": metadata,
        },
    }
    yield METADATA, dump(document)


def decode_frames(
    get: Callable[[str], bytes], start: int = 0, stop: int | None = None
) -> NDArray[Any]:
    """Return the pixels of frames [start, stop) of a `frames` array; see `load_frames`."""
    frames = load_frames(get, start, stop)
    return frames.decode() if isinstance(frames, EncodedFrames) else frames


def load_frames(
    get: Callable[[str], bytes], start: int = 0, stop: int | None = None
) -> NDArray[Any] | EncodedFrames:
    """Return frames [start, stop) of a `frames` array: pixels, or images of a lossy encoding.

    Calls `get` for every shard with such a frame, so `get` can raise for a missing one. Zarr itself
    would return black frames.

    Args:
        get: Returns objects by relative key.
        start: Number of the first frame.
        stop: Number after the last frame; by default all.
    """
    document = get(METADATA)
    shards = Shards.of(json.loads(document))
    if shards is None:
        return _decode_by_zarr(document, get)[start:stop]
    start, stop, _ = slice(start, stop).indices(shards.shape[0])
    chunks: list[memoryview] = []
    for number in range(start // shards.frames, math.ceil(stop / shards.frames)):
        first = number * shards.frames
        wanted = range(max(start, first), min(stop, first + shards.frames))
        if wanted:
            shard = get(f"c/{number}/0/0/0")
            chunks += shards.chunks(shard, [frame - first for frame in wanted])
    return shards.load(chunks)


@dataclass(frozen=True, slots=True)
class Shards:
    """Shards as `encode_frames` writes them, parsed without Zarr's event loop.

    Zarr runs a task per chunk and takes more than twice as long.

        | chunk | chunk | … | offset, length of each chunk, uint64 | crc32c |
    """

    shape: tuple[int, ...]
    """Shape of the array: (n, height, width, channels)."""
    dtype: str
    """Type of the samples: `uint8` or `uint16`."""
    frames: int
    """Frames per shard."""
    codec: ChunkCodec
    """Codec of the chunks."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Shards | None:
        """Return the layout of an array; `None` if other software than `encode_frames` wrote it."""
        shape, dtype = tuple(document["shape"]), document["data_type"]
        [sharding] = document["codecs"]
        chunks = sharding.get("configuration", {}).get("codecs")
        codec = codec_of(chunks, dtype) if dtype in _DTYPES else None
        if codec is None or sharding != _sharding(shape, chunks):
            return None
        per_shard = document["chunk_grid"]["configuration"]["chunk_shape"][0]
        return cls(shape, dtype, per_shard, codec)

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at the end of a shard."""
        return self.frames * 16 + 4

    def offsets(self, index: bytes | memoryview) -> list[tuple[int, int]]:
        """Return offset and length of each chunk, from the last `index_bytes` of a shard."""
        data = without_checksum(memoryview(index))
        found = np.frombuffer(data, "<u8").reshape(self.frames, 2).tolist()
        return [(offset, length) for offset, length in found]

    def chunks(self, shard: bytes, frames: Sequence[int]) -> list[memoryview]:
        """Return the chunks of frames of a shard, by their index in it."""
        data = memoryview(shard)
        offsets = self.offsets(data[max(0, len(data) - self.index_bytes) :])
        return [data[slice(offsets[one][0], sum(offsets[one]))] for one in frames]

    def load(self, chunks: Sequence[memoryview]) -> NDArray[Any] | EncodedFrames:
        """Return frames by their chunks: pixels, or images of a lossy encoding.

        Raises:
            CodecUnavailableError: A package is not installed.
            RuntimeError, ValueError: A chunk is damaged, or has another shape or type.
        """
        shape, encoding = (len(chunks), *self.shape[1:]), self.codec.lossy_encoding
        if encoding is None:
            frames = np.empty(shape, dtype=self.dtype)
            for frame, chunk in zip(frames, chunks, strict=True):
                self.codec.decode(chunk, frame)
            return frames
        images = tuple(without_checksum(chunk).tobytes() for chunk in chunks)
        return EncodedFrames(images, shape, self.dtype, encoding, encoder="")


def _sharding(shape: tuple[int, ...], codecs: Sequence[ZarrCodec]) -> ZarrCodec:
    """Return the codec in Zarr's metadata for an array of frames, whose chunks have these."""
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, *shape[1:]],
            "codecs": list(codecs),
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
            "index_location": "end",
        },
    }


def _decode_by_zarr(document: bytes, get: Callable[[str], bytes]) -> NDArray[Any]:
    objects = {METADATA: Buffer.from_bytes(document)}
    store = MemoryStore(cast(Any, objects), read_only=True)
    array = zarr.open_array(store, mode="r", zarr_format=3)
    frames = np.empty(array.shape, dtype=array.dtype)
    per_shard = (array.shards or array.chunks)[0]
    for index, start in enumerate(range(0, len(frames), per_shard)):
        key = array.metadata.encode_chunk_key((index, 0, 0, 0))
        objects[key] = Buffer.from_bytes(get(key))
        shard = slice(start, start + per_shard)
        frames[shard] = array[shard]
        del objects[key]
    return frames
