"""Codecs of chunks: every value comes back, and a chunk with a fault is refused."""

from __future__ import annotations

import hashlib
import json
import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from frames_pipeline import (
    CodecUnavailableError,
    ConfigError,
    FrameStore,
    IntegrityError,
    InternalError,
)
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.readers.stored_frames import open_frames
from frames_pipeline.store import StoredObject
from frames_pipeline.store.chunk_codecs import (
    COMPRESSIONS,
    JpegXl,
    Raw,
    codec_of,
    with_checksum,
    without_checksum,
)
from frames_pipeline.store.codecs import decode_frames, encode_frames
from frames_pipeline.store.writer import ClipWrite
from frames_pipeline.store.zarr_codecs import Jpegxl, OwnJpegxl
from tests.libraries import need, need_compression
from tests.stored import EVERY_SAMPLES, SIGNATURE, fill, noise, pixels, with_samples

Frame = np.ndarray[Any, Any]

every_codec = pytest.mark.parametrize("name", COMPRESSIONS)
SIDES = st.integers(1, 40)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """A frame of any samples and size: noise, flat, or with extremes."""
    channels, bits = draw(st.sampled_from([1, 3])), draw(st.sampled_from([8, 16]))
    dtype, top = np.dtype(f"uint{bits}"), 2**bits - 1
    shape = (draw(SIDES), draw(SIDES), channels)
    if draw(st.booleans()):
        return draw(npst.arrays(dtype, shape))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.integers(0, draw(st.sampled_from([0, 1, top])), shape, dtype, endpoint=True)


@every_codec
@given(frame=frames())
def test_every_value_comes_back(name: str, frame: Frame) -> None:
    need_compression(name)
    codec = COMPRESSIONS[name]
    chunk = codec.encode(frame)
    found = np.empty_like(frame)
    codec.decode(memoryview(chunk), found)
    np.testing.assert_array_equal(found, frame)
    wide = np.empty((frame.shape[0], 2 * frame.shape[1], frame.shape[2]), frame.dtype)
    codec.decode(memoryview(chunk), wide[:, ::2])  # an array with gaps
    np.testing.assert_array_equal(wide[:, ::2], frame)
    assert codec.encode(np.asfortranarray(frame)) == chunk


@every_codec
@given(frame=frames(), data=st.data())
def test_damaged_chunks_are_refused(name: str, frame: Frame, data: st.DataObject) -> None:
    """Any bit, and any number of bytes that are missing."""
    need_compression(name)
    codec = COMPRESSIONS[name]
    chunk = bytearray(codec.encode(frame))
    cut = data.draw(st.integers(0, len(chunk) - 1))
    at = data.draw(st.integers(0, 8 * len(chunk) - 1))
    with pytest.raises((RuntimeError, ValueError)):
        codec.decode(memoryview(bytes(chunk[:cut])), np.empty_like(frame))
    chunk[at // 8] ^= 1 << at % 8
    found = np.zeros_like(frame)
    try:
        codec.decode(memoryview(bytes(chunk)), found)
    except (RuntimeError, ValueError):
        return
    assert name == "zstd"  # some bits of its header mean nothing
    np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("seed", [85, 293, 533, 631, 910])
def test_noise_that_libjxl_before_0_12_encodes_wrongly(seed: int) -> None:
    """At effort 1, seven of a thousand such pictures came back with other pixels."""
    need("imagecodecs")
    frame = np.random.default_rng(seed).integers(0, 255, (41, 42, 3), np.uint8, endpoint=True)
    found = np.empty_like(frame)
    JpegXl().decode(memoryview(JpegXl().encode(frame)), found)
    np.testing.assert_array_equal(found, frame)
    array = zarr.create_array(
        {},
        shape=(1, *frame.shape),
        dtype="uint8",
        chunks=(1, *frame.shape),
        serializer=OwnJpegxl({"effort": 1, "lossless": True}),
        compressors=(),
    )
    array[0] = frame
    np.testing.assert_array_equal(np.asarray(array[0]), frame)


def test_an_encoder_that_is_never_exact_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    encode, efforts = imagecodecs.jpegxl_encode, list[int]()

    def wrong(image: Frame, *, effort: int, **options: Any) -> object:
        efforts.append(effort)
        return encode(image ^ 1, effort=effort, **options)

    monkeypatch.setattr(imagecodecs, "jpegxl_encode", wrong)
    with pytest.raises(InternalError, match=r"libjxl .* gives other pixels .* efforts 1 to 3"):
        JpegXl().encode(pixels(1, 0)[0])
    assert efforts == [1, 2, 3]


class Eight(Raw):
    """A codec of bytes alone."""

    name = "eight"
    samples = frozenset({"rgb8", "gray8"})


def test_samples_that_a_codec_cannot_hold_are_refused() -> None:
    frames, signature = noise(1, 0, "gray16"), with_samples("gray16")
    with pytest.raises(
        ConfigError, match=r"eight cannot hold gray16 frames; choose .* gray8, rgb8"
    ):
        ClipWrite("c", signature, frames, codec=Eight(), fingerprint="", provenance={})


@every_codec
def test_metadata_names_one_codec(name: str) -> None:
    codec = COMPRESSIONS[name]
    for dtype in ("uint8", "uint16"):
        written = json.loads(json.dumps(codec.zarr_codecs(dtype)))
        assert codec_of(written, dtype) == codec
    assert codec_of([{"name": "bytes"}], "uint8") is None


IMAGES: dict[str, Frame] = {
    "another height": np.zeros((7, 8, 3), np.uint8),
    "width and height swapped": np.zeros((8, 6, 3), np.uint8),
    "gray": np.zeros((6, 8), np.uint8),
    "an alpha channel": np.zeros((6, 8, 4), np.uint8),
    "16 bits": np.zeros((6, 8, 3), np.uint16),
    "a bomb": np.zeros((4000, 4000), np.uint8),
    "three frames": np.zeros((3, 6, 8, 3), np.uint8),
}


def image_of(values: Frame) -> bytes:
    imagecodecs = pytest.importorskip("imagecodecs")
    encoded: bytes = imagecodecs.jpegxl_encode(values, effort=1, lossless=True)
    return encoded


@pytest.mark.parametrize("found", IMAGES)
def test_images_of_another_kind_are_refused_by_their_header(found: str) -> None:
    """With a checksum that fits; the pixels of a bomb get no memory."""
    chunk = with_checksum(image_of(IMAGES[found]))
    into = np.full((6, 8, 3), 7, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="invalid out"):
            JpegXl().decode(memoryview(chunk), into)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**6
    assert (into == 7).all()


@pytest.mark.parametrize("size", [0, 1, 143, 145, 255, 256, 65_791, 65_792, 10**9])
def test_zstd_of_another_size_is_refused_by_its_header(size: int) -> None:
    """However many bytes it holds: a gigabyte of zeros takes 30 kB."""
    from numcodecs.zstd import Zstd

    chunk = bytes(Zstd(level=1, checksum=True).encode(np.zeros(size, np.uint8)))
    into = np.full((6, 8, 3), 7, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"a chunk of {size} bytes, where the array has 144"):
            COMPRESSIONS["zstd"].decode(memoryview(chunk), into)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**6
    assert (into == 7).all()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_cut_images_with_a_checksum_that_fits_are_refused(part: float) -> None:
    image = image_of(pixels(1, 0)[0])
    chunk = with_checksum(image[: int(len(image) * part)])
    with pytest.raises((RuntimeError, ValueError)):
        JpegXl().decode(memoryview(chunk), np.empty((6, 8, 3), np.uint8))


def forge(store: FrameStore, chunk: bytes) -> None:
    """Replace the only chunk of a clip, with a commit to fit: the store of a stranger."""
    commit = store.commit("b", SIGNATURE, "c")
    key = f"frames/b/{SIGNATURE.key}/{commit.path}/frames/c/0/0/0/0"
    index = np.array([0, len(chunk)], "<u8").tobytes()
    shard = chunk + with_checksum(index)
    store.objects.put(key, shard)
    stored = StoredObject(len(shard), hashlib.sha256(shard).hexdigest())
    store.put_commit("b", replace(commit, objects={**commit.objects, "frames/c/0/0/0/0": stored}))


@pytest.mark.parametrize("found", ["another height", "a bomb", "16 bits"])
def test_a_store_with_other_images_is_an_integrity_error(store: FrameStore, found: str) -> None:
    need("imagecodecs")
    store = FrameStore(store.objects.url, compression="jpegxl", durable=False)
    store.write_clip("b", "c", {SIGNATURE: noise(1, 0)})
    forge(store, with_checksum(image_of(IMAGES[found])))
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        store.read("b", SIGNATURE, "c")
    clip = store.open("b", SIGNATURE, "c")
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        clip.frames[0]
    assert not store.verify("b", deep=True).ok


@pytest.mark.parametrize("samples", EVERY_SAMPLES)
def test_plain_zarr_reads_them(store: FrameStore, samples: str) -> None:
    """By the entry point of this package, or by that of imagecodecs-zarr."""
    need("imagecodecs")
    signature, written = with_samples(samples), noise(3, 0, samples)
    store = FrameStore(store.objects.url, compression="jpegxl", durable=False)
    store.write_clip("b", "c", {signature: written})
    group = zarr.open_group(store.open("b", signature, "c").url, mode="r")
    array, times = group["frames"], group["time"]
    assert isinstance(array, zarr.Array)
    assert isinstance(times, zarr.Array)
    np.testing.assert_array_equal(np.asarray(array[:]), written.frames)
    np.testing.assert_array_equal(np.asarray(array[1]), written.frames[1])
    np.testing.assert_array_equal(np.asarray(times[:]), written.pts_seconds)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 1, 5, 1), (1, 5, 1, 3), (1, 6, 8, 1), (6, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_zarr_writes_and_reads_by_our_class(shape: tuple[int, ...], dtype: str) -> None:
    """Chunks of one frame, and of the pictures of others."""
    need("imagecodecs")
    values = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    array = zarr.create_array(
        {},
        shape=shape,
        dtype=dtype,
        chunks=shape,
        serializer=OwnJpegxl({"effort": 1, "lossless": True, "numthreads": 1, "index": 0}),
        compressors=(),
    )
    array[:] = values
    np.testing.assert_array_equal(np.asarray(array[:]), values)


def test_our_class_describes_itself_as_that_of_imagecodecs_zarr() -> None:
    for document in (
        {"name": "imagecodecs_jpegxl"},
        {"name": "imagecodecs_jpegxl", "configuration": {"effort": 1, "lossless": True}},
    ):
        for kind in (OwnJpegxl, Jpegxl):
            assert kind.from_dict(document).to_dict() == document  # type: ignore[arg-type]


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)


MISSING = "need imagecodecs, which is not installed; install frames-pipeline\\[encodings\\]"


@pytest.mark.usefixtures("without_imagecodecs")
def test_writing_without_the_package(store: FrameStore) -> None:
    """Refused before anything is written, and when the store is claimed, before any decode."""
    jpegxl = FrameStore(store.objects.url, compression="jpegxl", durable=False)
    with pytest.raises(CodecUnavailableError, match=MISSING):
        jpegxl.claim("b", SIGNATURE)
    with pytest.raises(CodecUnavailableError, match=MISSING):
        jpegxl.write_clip("b", "c", {SIGNATURE: noise(1, 0)})
    assert store.objects.list() == {}
    fill(store.objects.url)
    frames = open_frames(store.objects.url, signature=SIGNATURE)
    with pytest.raises(CodecUnavailableError, match=MISSING):
        pack_frames(frames, f"{store.objects.url}/pack", compression="jpegxl")


def test_reading_without_the_package(store: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install: the frames are not damaged."""
    need("imagecodecs")
    root = store.objects.url
    fill(root, compression="jpegxl")
    frames = open_frames(root, signature=SIGNATURE)
    pack_frames(frames, f"{root}/pack", compression="jpegxl")
    packed = open_pack(f"{root}/pack")
    [clip, *_] = frames
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for look in (
        frames[clip].read,
        lambda: frames.read(clip, 0, 1),
        lambda: packed[clip],
        lambda: store.verify("b1", deep=True),
    ):
        with pytest.raises(CodecUnavailableError, match=MISSING):
            look()


def test_an_unknown_codec(store: FrameStore) -> None:
    """Frames of a later version: the error names the codec."""
    commit = store.write_clip("b", "c", {SIGNATURE: noise(1, 0)})[SIGNATURE]
    objects = dict(commit.objects)
    for name in ("zarr.json", "frames/zarr.json"):
        key = f"frames/b/{SIGNATURE.key}/{commit.path}/{name}"
        data = store.objects.get(key).replace(b'"zstd"', b'"imagecodecs_next"')
        store.objects.put(key, data)
        objects[name] = StoredObject(len(data), hashlib.sha256(data).hexdigest())
    store.put_commit("b", replace(commit, objects=objects))
    for look in (store.read, store.open):
        with pytest.raises(CodecUnavailableError, match="imagecodecs_next"):
            look("b", SIGNATURE, "c")


def test_chunks_of_two_machines_are_the_same() -> None:
    """No time, no threads: the same library gives the same bytes."""
    need("imagecodecs")
    frame = pixels(1, 0)
    first, second = (dict(encode_frames(frame, codec=JpegXl())) for _ in range(2))
    assert first == second
    found = decode_frames(first.__getitem__)
    np.testing.assert_array_equal(found, frame)


def test_checksums() -> None:
    assert bytes(without_checksum(memoryview(with_checksum(b"abc")))) == b"abc"
    for damaged in (b"", b"abc", with_checksum(b"abc")[:-1], b"x" + with_checksum(b"bc")):
        with pytest.raises(ValueError, match="checksum"):
            without_checksum(memoryview(damaged))
