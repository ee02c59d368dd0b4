"""Frames of a lossy encoding in a store: the images are its chunks, and go through as they are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from frames_pipeline import (
    CodecUnavailableError,
    ConfigError,
    FrameBatch,
    FrameEncoding,
    FrameExtractionSignature,
    FrameStore,
    IntegrityError,
    open_frames,
)
from frames_pipeline.encodings import images as codecs
from frames_pipeline.encodings.encoding import ImageCodec
from frames_pipeline.encodings.images import EncodedFrames, encode_frame, encoder_version
from frames_pipeline.io.objects import Objects
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.readers.windows import Sample, WindowDataset
from frames_pipeline.store import StoredObject
from frames_pipeline.store.chunk_codecs import codec_for, codec_of, with_checksum
from frames_pipeline.store.zarr_codecs import OwnAvif, OwnJpeg, OwnJpegxl, OwnWebp
from tests.libraries import need
from tests.stored import SIGNATURE, noise, with_samples

CODECS = get_args(ImageCodec)
every_codec = pytest.mark.parametrize("codec", CODECS)
OWN = {"jpeg": OwnJpeg, "webp": OwnWebp, "avif": OwnAvif, "jpegxl": OwnJpegxl}
CLIP = "c"


def with_encoding(codec: str, **fields: Any) -> FrameExtractionSignature:
    return replace(SIGNATURE, encoding={"codec": codec, **fields})


JPEG = with_encoding("jpeg")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by an entry for each image that is encoded or decoded."""
    made: list[str] = []
    encode, decode = codecs.encode_image, codecs.decode_image

    def encoding(*arguments: Any, **options: Any) -> bytes:
        made.append("encode")
        return encode(*arguments, **options)

    def decoding(*arguments: Any, **options: Any) -> None:
        made.append("decode")
        decode(*arguments, **options)

    monkeypatch.setattr(codecs, "encode_image", encoding)
    monkeypatch.setattr(codecs, "decode_image", decoding)
    return made


def repeated() -> FrameBatch:
    """Five frames at positions 30, 31, 31, 31 and 32."""
    batch = noise(5, 3)
    at = np.array([0, 1, 1, 1, 2])
    fields = ("frames", "pts", "positions", "key_frame", "corrupt")
    return replace(batch, **{name: getattr(batch, name)[at] for name in fields})


def write(store: FrameStore, codec: str = "jpeg", batch: FrameBatch | None = None) -> FrameBatch:
    """Write a clip in the encoding, and return its frames as they were before."""
    plain = repeated() if batch is None else batch
    store.write_clip("b", CLIP, {with_encoding(codec): plain}, fingerprint="f")
    return plain


@pytest.mark.parametrize(
    ("encoding", "configuration"),
    [
        (FrameEncoding("jpeg"), {"level": 90, "subsampling": "420"}),
        (FrameEncoding("jpeg", 95, "4:4:4"), {"level": 95, "subsampling": "444"}),
        (FrameEncoding("webp", 80), {"level": 80.0, "lossless": False, "method": 4}),
        (FrameEncoding("avif"), {"level": 90, "speed": 8, "pixelformat": "yuv420"}),
        (FrameEncoding("avif", 1, "4:4:4"), {"level": 1, "speed": 8, "pixelformat": "yuv444"}),
        (FrameEncoding("jpegxl", 100), {"level": 100, "effort": 3, "lossless": False}),
    ],
    ids=str,
)
def test_metadata_is_that_of_imagecodecs_zarr(
    encoding: FrameEncoding, configuration: dict[str, Any]
) -> None:
    codec = codec_for(encoding, "zstd")
    written = json.loads(json.dumps(codec.zarr_codecs("uint8")))
    first = {"name": f"imagecodecs_{encoding.codec}", "configuration": configuration}
    assert written == [first, {"name": "crc32c"}]
    assert codec_of(written, "uint8") == codec
    assert OWN[encoding.codec].from_dict(first).to_dict() == first


@pytest.mark.parametrize(
    "changed",
    [
        {"level": 90.5}, {"level": 0}, {"level": "high"}, {"level": None}, {"level": float("inf")},
        {"subsampling": "422"}, {"optimize": True},
    ],
)  # fmt: skip
def test_other_options_are_those_of_other_writers(changed: dict[str, object]) -> None:
    first, checksum = codec_for(FrameEncoding("jpeg"), "zstd").zarr_codecs("uint8")
    other = {**first, "configuration": {**first["configuration"], **changed}}
    assert codec_of([other, checksum], "uint8") is None
    assert codec_of([other], "uint8") is None


@every_codec
def test_a_clip_comes_back(store: FrameStore, small_shards: None, codec: str) -> None:
    """From three shards of two frames, with the digest of its images."""
    need("imagecodecs")
    signature, plain = with_encoding(codec), write(store, codec)
    expected = plain.with_encoding(FrameEncoding(codec))  # type: ignore[arg-type]
    found = store.read("b", signature, CLIP)
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert found.images == expected.images
    commit = store.commit("b", signature, CLIP)
    assert commit.digest == found.digest() == expected.digest() != plain.digest()
    part = store.read_commit("b", signature, commit, start=1, stop=4)
    assert part.digest() == expected.part(1, 4).digest()
    assert store.verify("b", deep=True).ok
    described = store.open("b", signature, CLIP).attributes
    assert described["codec"] == codec
    assert described["provenance"]["encoder"] == encoder_version(codec)
    store.write_clip("b", "again", {signature: found})  # images are written as they are
    assert store.commit("b", signature, "again").digest == commit.digest


@pytest.mark.parametrize("samples", ["rgb16", "gray16", "gray8"])
def test_other_samples_in_jpeg_xl(store: FrameStore, samples: str) -> None:
    need("imagecodecs")
    signature = replace(with_samples(samples), encoding={"codec": "jpegxl"})
    plain = noise(3, 0, samples)
    store.write_clip("b", CLIP, {signature: plain})
    found = store.read("b", signature, CLIP)
    assert (found.samples, found.shape) == (samples, plain.shape)
    array = store.open("b", signature, CLIP).frames
    np.testing.assert_array_equal(np.asarray(array[:]), found.frames)


def test_nothing_is_decoded_to_store_and_nothing_is_encoded_twice(
    store: FrameStore, calls: list[str]
) -> None:
    need("imagecodecs")
    batch = repeated().with_encoding(FrameEncoding("jpeg"))
    assert calls == ["encode"] * 3
    write(store, batch=batch)
    clip = store.open("b", JPEG, CLIP)
    commit = clip.commit
    assert store.read_commit("b", JPEG, commit, decode=False).encoded == batch.encoded
    assert clip.encoded() == batch.encoded
    store.commit_batch("b", JPEG)
    pack_frames(open_frames(store.objects.url, signature=JPEG), f"{store.objects.url}-pack")
    assert calls == ["encode"] * 3
    assert store.read("b", JPEG, CLIP).frames.any()
    assert calls == ["encode"] * 3 + ["decode"] * 3  # repeats are decoded once


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Grows by each range that is requested."""
    made: list[tuple[int, int]] = []
    get_range = Objects.get_range

    def counted(self: Objects, key: str, start: int, stop: int) -> bytes:
        made.append((start, stop))
        return get_range(self, key, start, stop)

    monkeypatch.setattr(Objects, "get_range", counted)
    return made


def test_images_come_by_range_request(
    store: FrameStore, small_shards: None, requests: list[tuple[int, int]]
) -> None:
    """By position in the video's stream: an index per shard, and a range per run of frames."""
    need("imagecodecs")
    write(store)
    clip = store.open("b", JPEG, CLIP)
    images = store.read("b", JPEG, CLIP).encoded
    assert images is not None
    assert clip.encoded([32]) == (images[4],)
    assert len(requests) == 2
    assert requests[1][1] - requests[1][0] == len(images[4]) + 4
    assert clip.encoded([31, 30, 31]) == (images[1], images[0], images[1])
    assert len(requests) == 4
    assert clip.encoded() == images
    assert clip.encoded([]) == ()
    for missing in (29, 33, 10**9):
        with pytest.raises(ConfigError, match=f"no frame at position {missing}; its positions run"):
            clip.encoded([30, missing])
    for image in images:
        found = np.zeros((6, 8, 3), np.uint8)
        codecs.decode_image("jpeg", image, found)
        assert found.any()


def test_lossless_frames_have_no_images(store: FrameStore) -> None:
    store.write_clip("b", CLIP, {SIGNATURE: noise(2, 0)})
    with pytest.raises(ConfigError, match="has no images: its frames are lossless"):
        store.open("b", SIGNATURE, CLIP).encoded()


@every_codec
def test_others_read_it_with_zarr_and_xarray(store: FrameStore, codec: str) -> None:
    need("imagecodecs")
    write(store, codec)
    frames = store.read("b", with_encoding(codec), CLIP).frames
    clip = store.open("b", with_encoding(codec), CLIP)
    np.testing.assert_array_equal(np.asarray(clip.frames[1:4]), frames[1:4])
    np.testing.assert_array_equal(clip.to_xarray()["frames"].to_numpy(), frames)
    group = zarr.open_group(clip.url, mode="r")
    array = group["frames"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(np.asarray(array[:]), frames)
    assert np.asarray(group["time"][:]).shape == (5,)  # type: ignore[index]


@every_codec
def test_zarr_writes_the_same_bytes(store: FrameStore, codec: str) -> None:
    need("imagecodecs")
    plain = write(store, codec)
    encoding = FrameEncoding(codec)  # type: ignore[arg-type]
    [first, _] = codec_for(encoding, "zstd").zarr_codecs("uint8")
    memory: dict[str, Any] = {}
    array = zarr.create_array(
        memory,
        shape=plain.shape,
        dtype="uint8",
        chunks=(1, *plain.shape[1:]),
        serializer=OWN[codec].from_dict(dict(first)),
        compressors=[Crc32cCodec()],
    )
    array[:] = plain.frames
    images = store.read("b", with_encoding(codec), CLIP).encoded
    assert images is not None
    chunks = [memory[f"c/{number}/0/0/0"].to_bytes() for number in range(5)]
    assert chunks == [with_checksum(image) for image in images]


def test_windows_and_packs_have_the_same_frames(store: FrameStore, tmp_path: Any) -> None:
    need("imagecodecs")
    write(store)
    store.write_clip("b", "other", {JPEG: noise(3, 7)})
    store.commit_batch("b", JPEG)
    frames = open_frames(store.objects.url, signature=JPEG)
    assert frames.image_encoding == FrameEncoding("jpeg")
    pack_frames(frames, tmp_path / "pack", compression="none")
    pack = open_pack(tmp_path / "pack")
    for clip in frames:
        stored = frames.read(clip)
        assert pack.read(clip).digest() == stored.digest()
        np.testing.assert_array_equal(pack.read(clip, 1, 3).frames, stored.frames[1:3])
        assert frames[clip].by_position(31, 32).digest() == frames.read(clip, *_at(stored)).digest()
    assert pack.verify() == ()
    sample = cast("Sample", WindowDataset(frames)[0])
    np.testing.assert_array_equal(sample["frames"], frames.read(CLIP).frames)


def _at(stored: FrameBatch) -> tuple[int, int]:
    found = np.flatnonzero(stored.positions == 31)
    return int(found[0]), int(found[-1]) + 1


def damages(data: bytes) -> Iterator[bytes]:
    """A truncated object, and flipped bits all over it."""
    yield data[: len(data) // 2]
    for at in range(0, len(data), max(1, len(data) // 12)):
        flipped = bytearray(data)
        flipped[at] ^= 4
        yield bytes(flipped)


@every_codec
def test_damage_is_an_integrity_error(store: FrameStore, codec: str, tmp_path: Any) -> None:
    """In a whole read, in range requests, through Zarr and in packs: never a gray image."""
    need("imagecodecs")
    signature, _ = with_encoding(codec), write(store, codec)
    store.commit_batch("b", signature)
    pack_frames(open_frames(store.objects.url, signature=signature), tmp_path / "pack")
    clip = store.open("b", signature, CLIP)
    key = f"{clip.attempt.path}/frames/c/0/0/0/0"
    pack = open_pack(tmp_path / "pack")
    in_pack = f"{pack.parts[0].path}/frames/c/0/0/0/0"
    whole, packed = store.objects.get(key), pack.objects.get(in_pack)
    for data in damages(whole):
        store.objects.put(key, data)
        for read in (
            lambda: store.read("b", signature, CLIP),
            clip.encoded,
            lambda: clip.frames[:],
            lambda: store.read_commit("b", signature, clip.commit, decode=False),
        ):
            with pytest.raises(IntegrityError):
                read()
        assert not store.verify("b", deep=True).ok
    for data in damages(packed):
        pack.objects.put(in_pack, data)
        with pytest.raises(IntegrityError):
            open_pack(tmp_path / "pack").read(CLIP)


def forge(store: FrameStore, image: bytes) -> None:
    """Replace the only image of a clip, with sums to fit: the store of a stranger."""
    commit, chunk = store.commit("b", JPEG, CLIP), with_checksum(image)
    key = f"frames/b/{JPEG.key}/{commit.path}/frames/c/0/0/0/0"
    shard = chunk + with_checksum(np.array([0, len(chunk)], "<u8").tobytes())
    store.objects.put(key, shard)
    stored = StoredObject(len(shard), hashlib.sha256(shard).hexdigest())
    store.put_commit("b", replace(commit, objects={**commit.objects, "frames/c/0/0/0/0": stored}))


@pytest.mark.parametrize("found", ["bomb", "another height", "a cut image", "nothing", "a WebP"])
def test_a_stranger_s_image_is_an_integrity_error(store: FrameStore, found: str) -> None:
    """The shape that the array declares decides."""
    need("imagecodecs")
    jpeg = FrameEncoding("jpeg")
    whole = encode_frame(noise(1, 0).frames[0], jpeg)
    image = {
        "bomb": lambda: encode_frame(np.zeros((4000, 4000, 3), np.uint8), jpeg),
        "another height": lambda: encode_frame(np.zeros((7, 8, 3), np.uint8), jpeg),
        "a cut image": lambda: whole[:-30],
        "nothing": lambda: b"",
        "a WebP": lambda: encode_frame(noise(1, 0).frames[0], FrameEncoding("webp")),
    }[found]()
    write(store, batch=noise(1, 0))
    forge(store, image)
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        store.read("b", JPEG, CLIP)
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        store.open("b", JPEG, CLIP).frames[0]
    later = store.read_commit("b", JPEG, store.commit("b", JPEG, CLIP), decode=False)
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        later.frames  # noqa: B018
    assert not store.verify("b", deep=True).ok


MISSING = r"need imagecodecs, which is not installed; install frames-pipeline\[encodings\]"


def test_without_the_package_nothing_is_written(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(CodecUnavailableError, match=MISSING):
        write(store)
    with pytest.raises(CodecUnavailableError, match=MISSING):
        store.claim("b", JPEG)
    assert list(store.objects.list()) == []


STORED = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
"""Bytes of an image, which no decoder needs to know."""
GOLDEN = "e0991754d2863936c361a644f6b30648e0e286baa868ea4b582dc642622ee2b8"


def by_another_machine(store: FrameStore) -> FrameBatch:
    """Write images that come from elsewhere; this needs no package."""
    plain = noise(2, 0)
    images = EncodedFrames((STORED, STORED), plain.shape, "uint8", FrameEncoding("jpeg"), "lib 1")
    others = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    del others["frames"], others["images"]
    batch = FrameBatch.of(images, **others)
    store.write_clip("b", CLIP, {JPEG: batch})
    return batch


def test_digests_that_were_given_out_stand(store: FrameStore) -> None:
    batch = by_another_machine(store)
    assert batch.digest() == GOLDEN
    commit = store.commit("b", JPEG, CLIP)
    assert commit.digest == GOLDEN
    found = store.read_commit("b", JPEG, commit, decode=False)
    assert (found.digest(), found.images) == (GOLDEN, batch.images)


def test_without_the_package_images_are_read_and_pixels_are_not(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_another_machine(store)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert store.open("b", JPEG, CLIP).encoded() == (STORED, STORED)
    commit = store.commit("b", JPEG, CLIP)
    later = store.read_commit("b", JPEG, commit, decode=False)
    for read in (
        lambda: store.read("b", JPEG, CLIP),
        lambda: store.open("b", JPEG, CLIP).frames[0],
        lambda: later.frames,
    ):
        with pytest.raises(CodecUnavailableError, match=MISSING):
            read()


def test_a_codec_of_a_later_version_is_named(store: FrameStore) -> None:
    """Such a store needs another version; it is not damaged."""
    by_another_machine(store)
    commit = store.commit("b", JPEG, CLIP)
    objects = dict(commit.objects)
    for name in ("zarr.json", "frames/zarr.json"):
        key = f"frames/b/{JPEG.key}/{commit.path}/{name}"
        data = store.objects.get(key).replace(b"imagecodecs_jpeg", b"imagecodecs_vvc2")
        store.objects.put(key, data)
        objects[name] = StoredObject(len(data), hashlib.sha256(data).hexdigest())
    store.put_commit("b", replace(commit, objects=objects))
    with pytest.raises(CodecUnavailableError, match="imagecodecs_vvc2"):
        store.read("b", JPEG, CLIP)
    with pytest.raises(CodecUnavailableError, match="imagecodecs_vvc2"):
        store.open("b", JPEG, CLIP)


def test_frames_of_another_encoding_are_refused(store: FrameStore) -> None:
    need("imagecodecs")
    webp = noise(2, 0).with_encoding(FrameEncoding("webp"))
    match = "has frames of encoding webp quality 90, chroma 4:2:0, and .* says jpeg quality 90"
    with pytest.raises(ConfigError, match=match):
        store.write_clip("b", CLIP, {JPEG: webp})
    with pytest.raises(ConfigError, match="says lossless; store them under a signature"):
        store.write_clip("b", CLIP, {SIGNATURE: webp})
    with pytest.raises(ConfigError, match="says jpeg quality 91"):
        store.write_clip("b", CLIP, {with_encoding("jpeg", quality=91): webp})
    assert list(store.objects.list()) == []


def test_frames_beyond_the_codec_are_refused(store: FrameStore) -> None:
    wide = np.zeros((1, 1, 16383, 3), np.uint8)
    with pytest.raises(ConfigError, match="width 16383 is beyond the 16382 pixels that webp can"):
        write(store, "webp", replace(noise(1, 0), frames=wide))
    assert list(store.objects.list()) == []


@pytest.mark.parametrize("option", ["tables", "header", "colorspace_data", "colorspace_jpeg"])
def test_options_that_change_an_image_are_left_to_imagecodecs_zarr(option: str) -> None:
    document = {"name": "imagecodecs_jpeg", "configuration": {"level": 90, option: "x"}}
    with pytest.raises(ValueError, match=f"imagecodecs_jpeg with {option} is read by imagecodecs-"):
        OwnJpeg.from_dict(document)
