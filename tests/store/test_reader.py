"""Reading with and without the library, and refusing what is not what was committed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.core.metadata import ArrayV3Metadata

from frames_pipeline.errors import FramesPipelineError, IntegrityError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, FrameStore, StoredObject
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from tests.libraries import need, need_compression

MakeFrames = Callable[..., FrameBatch]
AssertSame = Callable[[FrameBatch, FrameBatch], None]


@pytest.fixture
def commit(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    small_shards: None,
) -> ClipCommit:
    """A clip of three shards."""
    return store.write_clip("b", "c", {signature: make_frames(5)})[signature]


def key_of(commit: ClipCommit, name: str) -> str:
    """Where an object of the commit is."""
    return f"frames/b/{commit.signature_key}/{commit.path}/{name}"


def names_of(shards: int) -> list[str]:
    """The objects of a clip."""
    pixels = [f"frames/c/{shard}/0/0/0" for shard in range(shards)]
    return ["frames/zarr.json", *pixels, "time/zarr.json", "time/c/0", "zarr.json"]


def is_read(name: str) -> bool:
    """Whether pixels and timestamps are made from it; the others are Zarr's, for other readers."""
    return name == "zarr.json" or name.startswith("frames/c/")


def test_commit_names_every_object(store: FrameStore, commit: ClipCommit) -> None:
    """All that is in the attempt's folder, with size and hash."""
    assert list(commit.objects) == names_of(3)
    prefix = key_of(commit, "")
    listing = store.objects.list(prefix.rstrip("/"))
    assert {key.removeprefix(prefix): info.size for key, info in listing.items()} == {
        name: stored.size for name, stored in commit.objects.items()
    }


@pytest.mark.parametrize("name", names_of(3))
def test_deleted_object(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit, name: str
) -> None:
    """Zarr alone would give black frames."""
    store.objects.delete([key_of(commit, name)])
    for look in (store.read, store.open) if is_read(name) else (store.open,):
        with pytest.raises(
            IntegrityError, match=f"{name} is missing; extract clip 'c' again, or restore"
        ):
            look("b", signature, "c")


@pytest.mark.parametrize("name", names_of(3))
def test_truncated_object(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit, name: str
) -> None:
    """The message says what was found and what was committed."""
    key = key_of(commit, name)
    store.objects.put(key, store.objects.get(key)[:-1])
    size = commit.objects[name].size
    for look in (store.read, store.open) if is_read(name) else (store.open,):
        with pytest.raises(
            IntegrityError, match=f"{name} has {size - 1} bytes, not the {size} committed; extract"
        ):
            look("b", signature, "c")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", names_of(1))
def test_flipped_bit(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    name: str,
    compression: str,
) -> None:
    """Each object that is read is compared by all of its bytes; `verify` reads every one."""
    need_compression(compression)
    writer, frames = FrameStore(store.objects.url, compression=compression), make_frames(5)
    commit = writer.write_clip("b", "c", {signature: frames})[signature]
    key = key_of(commit, name)
    data = bytearray(store.objects.get(key))
    data[len(data) // 2] ^= 1
    store.objects.put(key, bytes(data))
    (fault,) = store.verify("b", signature, deep=True).faults
    assert f"{name} has other bytes than those committed" in str(fault)
    if not is_read(name):
        assert store.read("b", signature, "c").digest() == frames.digest()
        return
    with pytest.raises(IntegrityError, match=f"{name} has other bytes than those committed"):
        store.read("b", signature, "c")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_flipped_bit_in_a_lazy_read(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    compression: str,
) -> None:
    """The chunk's own checksum refuses it: no reader at all gets wrong pixels."""
    need_compression(compression)
    writer = FrameStore(store.objects.url, compression=compression)
    commit = writer.write_clip("b", "c", {signature: make_frames(2)})[signature]
    key = key_of(commit, "frames/c/0/0/0/0")
    data = bytearray(store.objects.get(key))
    data[30] ^= 1
    store.objects.put(key, bytes(data))
    clip = store.open("b", signature, "c")
    with pytest.raises(IntegrityError, match=r"(?i)checksum|corrupt|decompress"):
        clip.frames[0]


SELECTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "basic": (lambda array: array[1:4], lambda frames: frames[1:4]),
    "orthogonal": (lambda array: array.oindex[[0, 2, 4]], lambda frames: frames[[0, 2, 4]]),
    "coordinates": (
        lambda array: array.vindex[[0, 2], [0, 1], [2, 0], [0, 2]],
        lambda frames: frames[[0, 2], [0, 1], [2, 0], [0, 2]],
    ),
    "mask": (
        lambda array: array.vindex[every_third(array.shape)],
        lambda frames: frames[every_third(frames.shape)],
    ),
    "blocks": (lambda array: array.blocks[1], lambda frames: frames[2:4]),
}
"""Selections of a lazy array, and of the same frames in NumPy. A block is a shard of two frames."""


def every_third(shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.arange(np.prod(shape)).reshape(shape) % 3 == 0)


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_every_selection_of_a_lazy_array(
    store: FrameStore,
    signature: FrameExtractionSignature,
    commit: ClipCommit,
    make_frames: MakeFrames,
    selection: tuple[Callable[[Any], Any], Callable[[Any], Any]],
) -> None:
    """It gives the values of the frames; if the shards are damaged, the error is typed."""
    select, expected = selection
    found = select(store.open("b", signature, "c").frames)
    assert np.array_equal(found, expected(make_frames(5).frames))
    for shard in range(3):
        key = key_of(commit, f"frames/c/{shard}/0/0/0")
        data = bytearray(store.objects.get(key))
        data[30] ^= 1
        store.objects.put(key, bytes(data))
    with pytest.raises(IntegrityError):
        select(store.open("b", signature, "c").frames)


def test_objects_that_do_not_decode(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """Damage that the commit vouches for is still not let through."""
    name = "frames/c/1/0/0/0"
    data = bytearray(store.objects.get(key_of(commit, name)))
    data[-1] ^= 1
    store.objects.put(key_of(commit, name), bytes(data))
    stored = StoredObject(len(data), hashlib.sha256(data).hexdigest())
    forged = replace(commit, objects={**commit.objects, name: stored})
    with pytest.raises(IntegrityError, match=f"{commit.path} cannot be decoded .*; extract clip"):
        store.read_commit("b", signature, forged)


def test_open_of_another_document(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """A document of the right size with other bytes is refused on opening."""
    for document in (b"[]", b'{"zarr_format":3,"node_type":"group"}'):
        data = document.ljust(commit.objects["zarr.json"].size)
        store.objects.put(key_of(commit, "zarr.json"), data)
        with pytest.raises(
            IntegrityError, match=f"{commit.path}/zarr.json has other bytes .*; extract"
        ):
            store.open("b", signature, "c")


@pytest.mark.parametrize("name", ["frames/c/1/0/0/0", "zarr.json"])
def test_commit_that_forgets_an_object(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit, name: str
) -> None:
    """What the commit does not name is not believed, even if it is there."""
    objects = {key: stored for key, stored in commit.objects.items() if key != name}
    with pytest.raises(IntegrityError, match=r"is not in the commit|cannot be decoded"):
        store.read_commit("b", signature, replace(commit, objects=objects))


def test_misplaced_documents(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """A commit or manifest that was copied from elsewhere is not taken for what it is not."""
    folder = f"frames/b/{signature.key}"
    manifest = store.commit_batch("b", signature)
    [key] = store.objects.list(f"{folder}/commits")
    store.objects.put(
        f"frames/b2/{signature.key}/manifest.json", store.objects.get(f"{folder}/manifest.json")
    )
    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged or is another document"):
        store.manifest("b2", signature)
    store.objects.put(f"{folder}/commits/other.json", store.objects.get(key))
    with pytest.raises(IntegrityError, match=r"other\.json is damaged or is another document"):
        store.clips("b", signature)
    assert store.manifest("b", signature) == manifest


@pytest.mark.parametrize("root", ["path", "file", "memory"])
def test_open(
    tmp_path: Path, signature: FrameExtractionSignature, make_frames: MakeFrames, root: str
) -> None:
    """Pixels by index, time by frame, and everything that is known about them."""
    urls = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": "memory://open"}
    frames = make_frames(5, time_base=Fraction(1001, 30000))
    store = FrameStore(urls[root], durable=False)
    commit = store.write_clip("b", "c", {signature: frames})[signature]
    clip = store.open("b", signature, "c")
    assert isinstance(clip.frames, zarr.Array)
    assert clip.commit == commit
    assert clip.frames.shape == (5, 6, 8, 3)
    assert isinstance(clip.frames.metadata, ArrayV3Metadata)
    assert clip.frames.metadata.dimension_names == ("time", "y", "x", "channel")
    np.testing.assert_array_equal(clip.frames[3], frames.frames[3])
    np.testing.assert_array_equal(clip.frames[1:3, 2:4], frames.frames[1:3, 2:4])
    np.testing.assert_array_equal(clip.time[:], frames.pts_seconds)
    np.testing.assert_array_equal(clip.pts, frames.pts)
    np.testing.assert_array_equal(clip.positions, frames.positions)
    assert clip.time_base == frames.time_base
    assert clip.attributes["signature_key"] == signature.key
    assert repr(clip).count("\n") == 0


def test_plain_zarr(
    store: FrameStore,
    signature: FrameExtractionSignature,
    commit: ClipCommit,
    make_frames: MakeFrames,
) -> None:
    """Nothing of this library is needed to read what it wrote, with or without child metadata."""
    path = store.open("b", signature, "c").url
    for consolidated in (None, False):
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=consolidated)
        assert sorted(group.array_keys()) == ["frames", "time"]
        array = group["frames"]
        assert isinstance(array, zarr.Array)
        np.testing.assert_array_equal(np.asarray(array[:]), make_frames(5).frames)
        assert group["frames"].attrs.asdict() == {"channel_order": "RGB", "color_space": "sRGB"}
        assert group["time"].attrs.asdict() == {"units": "s"}
        assert array.chunks == (1, 6, 8, 3)


@pytest.mark.parametrize("consolidated", [None, False])
def test_xarray(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    consolidated: bool | None,
) -> None:
    """Frames by time."""
    xarray = pytest.importorskip("xarray")
    frames = make_frames(5)
    store.write_clip("b", "c", {signature: frames})
    path = store.open("b", signature, "c").url
    with xarray.open_zarr(path, consolidated=consolidated, chunks=None) as dataset:
        assert dataset.frames.dims == ("time", "y", "x", "channel")
        assert dataset.time.dtype == np.float64
        assert dataset.attrs["pts"] == frames.pts.tolist()
        nearest = dataset.frames.sel(time=2.2 * 1001 / 30000, method="nearest")
        np.testing.assert_array_equal(nearest.values, frames.frames[2])
        np.testing.assert_array_equal(dataset.frames.values, frames.frames)


def test_faults_are_of_the_family(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """Whatever one byte of the commit becomes, the reader gets its frames or a StoreError."""
    [key] = store.objects.list(f"frames/b/{signature.key}/commits")
    data = store.objects.get(key)
    expected = store.read("b", signature, "c").digest()
    for index in range(0, len(data), 7):
        store.objects.put(key, data[:index] + b"0" + data[index + 1 :])
        try:
            assert store.read("b", signature, "c").digest() == expected
        except FramesPipelineError:
            continue


def test_a_shard_that_goes_after_the_clip_was_opened_is_not_black(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """Zarr reads a missing chunk as zeros."""
    clip = store.open("b", signature, "c")
    store.objects.delete([key_of(commit, name) for name in commit.objects if "/c/" in name])
    for array in (clip.frames, clip.time):
        with pytest.raises(IntegrityError, match="is missing; extract clip 'c' again"):
            array[:]


@pytest.mark.parametrize("name", ["frames/c/1/0/0/0", "time/c/0"])
def test_xarray_reads_nothing_that_was_not_committed(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit, name: str
) -> None:
    """Objects are fetched whole and hashed, so damage raises errors of this library."""
    need("xarray")
    data = bytearray(store.objects.get(key_of(commit, name)))
    data[-1] ^= 1
    store.objects.put(key_of(commit, name), bytes(data))
    with pytest.raises(IntegrityError, match=f"{name} has other bytes than those committed"):
        store.open("b", signature, "c").to_xarray().load()


def test_an_index_that_is_out_of_range_is_no_damage(
    store: FrameStore, signature: FrameExtractionSignature, commit: ClipCommit
) -> None:
    """It is an error of the caller."""
    clip = store.open("b", signature, "c")
    with pytest.raises(IndexError, match="out of bounds"):
        clip.frames[commit.num_frames]
