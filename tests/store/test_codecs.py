"""Arrays as objects: how many, of which size, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from frames_pipeline.errors import ConfigError
from frames_pipeline.store import FrameStore
from frames_pipeline.store.chunk_codecs import COMPRESSIONS, JpegXl
from frames_pipeline.store.codecs import (
    DIMENSIONS,
    SHARD_BYTES,
    decode_frames,
    encode_frames,
    encode_seconds,
    frames_document,
    frames_per_shard,
)
from frames_pipeline.store.zarr_codecs import Jpegxl
from tests.libraries import need_compression

ZARR_TIMES: dict[str, dict[str, Any]] = {
    "zstd": {"compressors": ZstdCodec(level=1, checksum=True)},
    "none": {"compressors": Crc32cCodec()},
    "jpegxl": {"compressors": ZstdCodec(level=1, checksum=True)},
}
ZARR = ZARR_TIMES | {
    "jpegxl": {
        "serializer": Jpegxl.from_dict(JpegXl().zarr_codecs("uint8")[0]),  # type: ignore[arg-type]
        "compressors": Crc32cCodec(),
    }
}
"""Parameters of `zarr.create_array` for the same chunks, of times and of frames."""

sides = st.integers(1, 10_000)


@given(n=st.integers(1, 10**6), height=sides, width=sides)
def test_shards_hold_64_mib(n: int, height: int, width: int) -> None:
    """As many whole frames as fit, at least one, at most the clip."""
    frame = height * width * 3
    count = frames_per_shard((n, height, width, 3))
    assert 1 <= count <= n
    assert count == 1 or count * frame <= SHARD_BYTES
    assert count == n or (count + 1) * frame > SHARD_BYTES


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.usefixtures("small_shards")
def test_shards(n: int, compression: str) -> None:
    """Each shard is one object, written once; black frames are written as others are."""
    need_compression(compression)
    frames = np.zeros((n, 6, 8, 3), dtype=np.uint8)
    encoded = list(encode_frames(frames, codec=COMPRESSIONS[compression]))
    objects = dict(encoded)
    shards = -(-n // 2)
    assert [key for key, _ in encoded] == [
        "zarr.json",
        *(f"c/{index}/0/0/0" for index in range(shards)),
    ]
    assert min(map(len, objects.values())) > 16
    np.testing.assert_array_equal(decode_frames(objects.__getitem__), frames)
    del objects[f"c/{shards - 1}/0/0/0"]
    with pytest.raises(KeyError):
        decode_frames(objects.__getitem__)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.usefixtures("small_shards")
def test_objects_are_those_that_zarr_writes(n: int, compression: str) -> None:
    """Byte for byte, the last shard, which is not full, too; and so is the array of seconds."""
    need_compression(compression)
    frames = np.random.default_rng(n).integers(0, 9, (n, 6, 8, 3), np.uint8)
    seconds = np.arange(n) / 3
    for values, objects in (
        (frames, dict(encode_frames(frames, codec=COMPRESSIONS[compression]))),
        (seconds, dict(encode_seconds(seconds, codec=COMPRESSIONS[compression]))),
    ):
        store = MemoryStore()
        document = json.loads(objects["zarr.json"])
        array = zarr.create_array(
            store,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(1, 6, 8, 3) if values is frames else (n,),
            shards=document["chunk_grid"]["configuration"]["chunk_shape"]
            if values is frames
            else None,
            **(ZARR if values is frames else ZARR_TIMES)[compression],
            filters=(),
            fill_value=0,
            dimension_names=DIMENSIONS[: values.ndim],
            attributes=document["attributes"],
            config={"write_empty_chunks": True},
            zarr_format=3,
        )
        step = (array.shards or array.chunks)[0]
        for start in range(0, n, step):
            array[start : start + step] = values[start : start + step]
        written = {key: data.to_bytes() for key, data in store._store_dict.items()}
        assert objects == written


@pytest.mark.parametrize(
    ("compression", "names"),
    [
        ("zstd", ["bytes", "zstd"]),
        ("none", ["bytes", "crc32c"]),
        ("jpegxl", ["imagecodecs_jpegxl", "crc32c"]),
    ],
)
def test_every_codec_has_a_checksum(compression: str, names: list[str]) -> None:
    """So that lazy readers, which do not hash, notice damage too."""
    document = json.loads(
        frames_document((1, 2, 2, 3), dtype="uint8", codec=COMPRESSIONS[compression])
    )
    [sharding] = document["codecs"]
    assert [entry["name"] for entry in sharding["configuration"]["codecs"]] == names
    if compression == "zstd":
        configuration = sharding["configuration"]["codecs"][1]["configuration"]
        assert configuration == {"level": 1, "checksum": True}


def test_unknown_codec() -> None:
    """A wrong name is refused when the store is named."""
    with pytest.raises(
        ConfigError, match="no compression 'lzma'; choose one of jpegxl, none, zstd"
    ):
        FrameStore("memory://x", compression="lzma")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_own_shards_are_read_without_zarr(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever version of Zarr wrote their metadata: its loop takes twice the time."""
    need_compression(compression)
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    objects = dict(encode_frames(frames, codec=COMPRESSIONS[compression]))
    monkeypatch.delattr("zarr.open_array")
    np.testing.assert_array_equal(decode_frames(objects.__getitem__), frames)


def test_shards_of_others_are_read_by_zarr() -> None:
    """A level of zstd that is not ours, in shards laid out in another way."""
    frames = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    objects: dict[str, Any] = {}
    array = zarr.create_array(
        MemoryStore(objects),
        shape=frames.shape,
        dtype="uint8",
        chunks=(1, 4, 6, 3),
        shards=(2, 4, 6, 3),
        compressors=ZstdCodec(level=3),
    )
    array[:] = frames
    found = {key: data.to_bytes() for key, data in objects.items()}
    np.testing.assert_array_equal(decode_frames(found.__getitem__), frames)
    np.testing.assert_array_equal(decode_frames(found.__getitem__, 1, 3), frames[1:3])
