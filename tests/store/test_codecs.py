"""Arrays as objects: how many, of which size, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from frames_pipeline.errors import ConfigError
from frames_pipeline.store import FrameStore
from frames_pipeline.store.codecs import (
    CODECS,
    DIMENSIONS,
    SHARD_BYTES,
    decode_frames,
    encode_frames,
    encode_seconds,
    frames_per_shard,
)

sides = st.integers(1, 10_000)


@given(n=st.integers(1, 10**6), height=sides, width=sides)
def test_shards_hold_64_mib(n: int, height: int, width: int) -> None:
    """As many whole frames as fit, at least one, at most the clip."""
    frame = height * width * 3
    count = frames_per_shard((n, height, width, 3))
    assert 1 <= count <= n
    assert count == 1 or count * frame <= SHARD_BYTES
    assert count == n or (count + 1) * frame > SHARD_BYTES


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.usefixtures("small_shards")
def test_shards(n: int, codec: str) -> None:
    """Each shard is one object, written once; black frames are written as others are."""
    frames = np.zeros((n, 6, 8, 3), dtype=np.uint8)
    encoded = list(encode_frames(frames, codec=codec))
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


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.usefixtures("small_shards")
def test_objects_are_those_that_zarr_writes(n: int, codec: str) -> None:
    """Byte for byte, the last shard, which is not full, too; and so is the array of seconds."""
    frames = np.random.default_rng(n).integers(0, 9, (n, 6, 8, 3), np.uint8)
    seconds = np.arange(n) / 3
    for values, objects in (
        (frames, dict(encode_frames(frames, codec=codec))),
        (seconds, dict(encode_seconds(seconds, codec=codec))),
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
            compressors=CODECS[codec],
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


@pytest.mark.parametrize(("codec", "inner"), [("zstd", "zstd"), ("none", "crc32c")])
def test_every_codec_has_a_checksum(codec: str, inner: str) -> None:
    """So that lazy readers, which do not hash, notice damage too."""
    document = json.loads(
        dict(encode_frames(np.zeros((1, 2, 2, 3), np.uint8), codec=codec))["zarr.json"]
    )
    [sharding] = document["codecs"]
    assert [entry["name"] for entry in sharding["configuration"]["codecs"]] == ["bytes", inner]
    if codec == "zstd":
        configuration = sharding["configuration"]["codecs"][1]["configuration"]
        assert configuration == {"level": 1, "checksum": True}


def test_unknown_codec() -> None:
    """A wrong name is refused when the store is named."""
    with pytest.raises(ConfigError, match="no codec 'lzma'; choose one of none, zstd"):
        FrameStore("memory://x", codec="lzma")


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_own_shards_are_read_without_zarr(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever version of Zarr wrote their metadata: its loop takes twice the time."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    objects = dict(encode_frames(frames, codec=codec))
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
