"""Frames of every type and number of channels, in stores on disk and back."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from frames_pipeline.errors import ConfigError, IntegrityError
from frames_pipeline.frames import FrameBatch, as_uint8, samples_of
from frames_pipeline.store import FrameStore, codecs
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from frames_pipeline.store.codecs import DIMENSIONS, encode_frames, frames_per_shard
from frames_pipeline.store.zarr_codecs import Jpegxl
from tests.libraries import need_compression
from tests.stored import EVERY_SAMPLES, noise, pixels, with_samples

ZARR: dict[str, dict[str, Any]] = {
    "zstd": {"compressors": ZstdCodec(level=1, checksum=True)},
    "none": {"compressors": Crc32cCodec()},
    "jpegxl": {
        "serializer": Jpegxl.from_dict(
            {
                "name": "imagecodecs_jpegxl",
                "configuration": {"effort": 1, "lossless": True},
            }
        ),
        "compressors": Crc32cCodec(),
    },
}
"""Parameters of `zarr.create_array` for the same chunks."""

every_samples = pytest.mark.parametrize("samples", EVERY_SAMPLES)


@st.composite
def some_frames(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Frames of any type and size, extremes included."""
    channels, dtype = draw(st.sampled_from([1, 3])), draw(st.sampled_from([np.uint8, np.uint16]))
    n, height, width = (draw(st.integers(1, most)) for most in (7, 5, 6))
    return draw(npst.arrays(dtype, (n, height, width, channels)))


def batch_of(frames: np.ndarray[Any, Any]) -> FrameBatch:
    n = len(frames)
    like = noise(n, 0)
    return replace(like, frames=frames)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(
    frames=some_frames(),
    shard_bytes=st.integers(1, 500),
    data=st.data(),
)
def test_frames_come_back_from_disk(
    frames: np.ndarray[Any, Any], compression: str, shard_bytes: int, data: st.DataObject
) -> None:
    """Whole, in part, lazily and through plain Zarr: the same values in the same type."""
    need_compression(compression)
    signature, written = with_samples(samples_of(frames)), batch_of(frames)
    start = data.draw(st.integers(0, len(frames)))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "SHARD_BYTES", shard_bytes)
        store = FrameStore(folder, compression=compression, durable=False)
        store.write_clip("b", "c", {signature: written})
        found = store.read("b", signature, "c")
        clip = store.open("b", signature, "c")
        plain = zarr.open_array(f"{clip.url}/frames", mode="r")
        for read in (found.frames, np.asarray(clip.frames[:]), np.asarray(plain[:])):
            assert read.dtype == frames.dtype
            np.testing.assert_array_equal(read, frames)
        np.testing.assert_array_equal(clip.read(start).frames, frames[start:])
        assert found.digest() == written.digest() == clip.commit.digest
        assert store.verify("b", deep=True).ok


@every_samples
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_objects_are_those_that_zarr_writes(
    n: int, compression: str, samples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, metadata and shards."""
    need_compression(compression)
    frames = pixels(n, n, samples)
    per_shard = 2
    monkeypatch.setattr(codecs, "SHARD_BYTES", per_shard * frames[0].nbytes)
    objects = dict(encode_frames(frames, codec=COMPRESSIONS[compression]))
    document = json.loads(objects["zarr.json"])
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=frames.shape,
        dtype=frames.dtype,
        chunks=(1, *frames.shape[1:]),
        shards=(min(n, per_shard), *frames.shape[1:]),
        **ZARR[compression],
        filters=(),
        fill_value=0,
        dimension_names=DIMENSIONS,
        attributes=document["attributes"],
        config={"write_empty_chunks": True},
        zarr_format=3,
    )
    for start in range(0, n, per_shard):
        array[start : start + per_shard] = frames[start : start + per_shard]
    assert objects == {key: data.to_bytes() for key, data in store._store_dict.items()}


@every_samples
def test_the_array_says_what_its_samples_are(samples: str) -> None:
    document = json.loads(
        dict(encode_frames(pixels(1, 0, samples), codec=COMPRESSIONS["zstd"]))["zarr.json"]
    )
    assert document["attributes"]["channel_order"] == ("RGB" if "rgb" in samples else "gray")
    assert document["data_type"] == with_samples(samples).dtype
    [sharding] = document["codecs"]
    first = sharding["configuration"]["codecs"][0]
    assert first.get("configuration") == ({"endian": "little"} if "16" in samples else None)


@every_samples
def test_own_shards_are_read_without_zarr(samples: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pixels(3, 0, samples)
    objects = dict(encode_frames(frames, codec=COMPRESSIONS["zstd"]))
    monkeypatch.delattr("zarr.open_array")
    found = codecs.decode_frames(objects.__getitem__)
    assert found.dtype == frames.dtype
    np.testing.assert_array_equal(found, frames)


def test_shards_of_big_endian_samples_are_read_by_zarr() -> None:
    """Other software may store samples in the other order of bytes."""
    frames = pixels(3, 0, "gray16")
    objects: dict[str, Any] = {}
    array = zarr.create_array(
        MemoryStore(objects),
        shape=frames.shape,
        dtype="uint16",
        chunks=(1, 6, 8, 1),
        shards=(3, 6, 8, 1),
        serializer=zarr.codecs.BytesCodec(endian="big"),
        compressors=ZstdCodec(level=1, checksum=True),
    )
    array[:] = frames
    found = codecs.decode_frames(lambda key: objects[key].to_bytes())
    np.testing.assert_array_equal(found, frames)


def test_shards_hold_as_many_bytes_of_any_type() -> None:
    shape = (600, 1080, 1920, 3)
    assert [frames_per_shard(shape, itemsize) for itemsize in (1, 2)] == [10, 5]
    assert frames_per_shard((600, 1080, 1920, 1), 2) == 16


def test_digests_tell_types_apart() -> None:
    """Gray bytes and gray 16-bit words of the same values."""
    eight = noise(2, 0, "gray8")
    same_values = replace(eight, frames=eight.frames.astype(np.uint16))
    assert eight.digest() != same_values.digest()
    black = replace(eight, frames=np.zeros((2, 6, 8, 1), np.uint8))
    deep_black = replace(eight, frames=np.zeros((1, 6, 8, 1), np.uint16).repeat(2, 0))
    assert black.digest() != deep_black.digest()


def test_the_digest_of_rgb8_is_that_of_0_1() -> None:
    frames = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    numbers = np.array([0, 1], np.int64)
    batch = replace(
        noise(2, 0),
        frames=frames,
        pts=numbers,
        time_base=Fraction(1, 25),
        positions=numbers,
        key_frame=np.array([True, False]),
        corrupt=np.array([False, False]),
    )
    assert batch.digest() == "0f01a8810993543cc24a5a2de2dbaa418ad735022786eb989d8143e5c9e744f9"


@pytest.mark.parametrize(("given_samples", "asked"), [("gray16", "rgb8"), ("rgb8", "gray8")])
def test_frames_that_do_not_fit_the_signature_are_refused(
    store: FrameStore, given_samples: str, asked: str
) -> None:
    signature = with_samples(asked)
    match = rf"clip 'c' has {given_samples} frames, and {signature.key} says {asked}; store them"
    with pytest.raises(ConfigError, match=match):
        store.write_clip("b", "c", {signature: noise(1, 0, given_samples)})
    assert store.objects.list() == {}


@every_samples
def test_damage_is_found_in_every_type(store: FrameStore, samples: str) -> None:
    signature = with_samples(samples)
    store.write_clip("b", "c", {signature: noise(3, 0, samples)})
    [shard] = Path(store.objects.url).glob("frames/b/*/clips/*/*/frames/c/0/0/0/0")
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    assert not store.verify("b", deep=True).ok
    with pytest.raises(IntegrityError, match="other bytes than those committed"):
        store.read("b", signature, "c")
    clip = store.open("b", signature, "c")
    with pytest.raises(IntegrityError):
        clip.frames[0]


def test_xarray_has_the_type(store: FrameStore) -> None:
    pytest.importorskip("xarray")
    signature, written = with_samples("gray16"), noise(3, 0, "gray16")
    store.write_clip("b", "c", {signature: written})
    dataset = store.open("b", signature, "c").to_xarray()
    assert dataset["frames"].dtype == np.uint16
    np.testing.assert_array_equal(dataset["frames"].values, written.frames)


def test_sixteen_bits_are_shown_by_the_nearest_of_eight() -> None:
    every = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(as_uint8(every), np.round(every.astype(float) * 255 / 65535))
    eight = np.arange(256, dtype=np.uint8)
    assert as_uint8(eight) is eight
    np.testing.assert_array_equal(as_uint8(eight.astype(np.uint16) * 257), eight)
