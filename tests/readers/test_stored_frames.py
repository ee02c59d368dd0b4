"""Stored clips as a mapping, and windows of them."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import zarr

from frames_pipeline import (
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    FrameExtractionSignature,
    FrameStore,
    IntegrityError,
    open_frames,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.store import codecs
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from tests.libraries import need_compression
from tests.s3 import S3
from tests.stored import SIGNATURE, fill, noise

CLIP = "b1/v2.mp4#0-8"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, FrameBatch]]:
    """A store whose shards hold two frames, and what is in it."""
    root = str(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "SHARD_BYTES", 300)
        return root, fill(root)


@pytest.mark.parametrize("signature", [SIGNATURE, SIGNATURE.key, "sequence-2fps-6x8"])
def test_every_clip_comes_back(
    written: tuple[str, dict[str, FrameBatch]], signature: FrameExtractionSignature | str
) -> None:
    root, batches = written
    frames = open_frames(root, signature=signature)
    assert list(frames) == list(batches)
    assert frames.batches == ("b1", "b2")
    assert frames.num_frames == sum(map(len, batches.values()))
    assert frames.signature == SIGNATURE
    for clip_id, batch in batches.items():
        assert frames.read(clip_id).digest() == batch.digest()
        assert np.array_equal(frames[clip_id].frames[:], batch.frames)
        assert len(frames[clip_id]) == len(batch)


def test_of_some_batches(written: tuple[str, dict[str, FrameBatch]]) -> None:
    root, _ = written
    assert open_frames(root, signature=SIGNATURE, batches="b2").batches == ("b2",)
    both = open_frames(root, signature=SIGNATURE, batches=["b2", "b1"])
    assert both.digest == open_frames(root, signature=SIGNATURE).digest


@pytest.mark.parametrize("start", range(-2, 10))
@pytest.mark.parametrize("stop", [-3, 0, 1, 5, 8, 99, None])
def test_parts_are_those_of_the_whole(
    written: tuple[str, dict[str, FrameBatch]], start: int, stop: int | None
) -> None:
    """As NumPy slices, through shards of two frames."""
    root, batches = written
    part = open_frames(root, signature=SIGNATURE)[CLIP].read(start, stop)
    for name in ("frames", "pts", "positions", "key_frame", "corrupt"):
        assert np.array_equal(getattr(part, name), getattr(batches[CLIP], name)[start:stop])


def test_windows_are_half_open(written: tuple[str, dict[str, FrameBatch]]) -> None:
    root, _ = written
    clip = open_frames(root, signature=SIGNATURE)[CLIP]
    assert clip.by_position(31, 34).positions.tolist() == [31, 32, 33]
    assert clip.by_pts(31 * 1001, 34 * 1001).positions.tolist() == [31, 32, 33]
    assert clip.by_pts(31 * 1001 + 1, 34 * 1001 + 1).positions.tolist() == [32, 33, 34]
    exact = Fraction(1001, 30000)
    assert clip.by_time(31 * exact, 34 * exact).positions.tolist() == [31, 32, 33]
    assert clip.by_time(float(31 * exact), float(34 * exact)).positions.tolist() == [31, 32, 33]
    assert clip.by_time(0, 1).positions.size == 0
    assert clip.by_time(2, 1).frames.shape == (0, 6, 8, 3)
    assert clip.by_time(0, 100).digest() == clip.read().digest()


def test_a_window_reads_only_its_shards(
    written: tuple[str, dict[str, FrameBatch]], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "SHARD_BYTES", 300)
        fill(str(tmp_path))
    frames = open_frames(tmp_path, signature=SIGNATURE)
    commit = frames.locations[CLIP].commit
    shard = tmp_path / f"frames/b1/{SIGNATURE.key}/{commit.path}/frames/c/3/0/0/0"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    clip = frames[CLIP]
    assert len(clip.read(0, 6)) == 6
    with pytest.raises(IntegrityError, match="has other bytes than those committed"):
        clip.read(5, 7)
    shard.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        frames[CLIP]


def test_to_xarray(written: tuple[str, dict[str, FrameBatch]]) -> None:
    root, batches = written
    dataset = open_frames(root, signature=SIGNATURE)[CLIP].to_xarray()
    batch = batches[CLIP]
    assert np.array_equal(dataset.frames.values, batch.frames)
    assert np.array_equal(dataset.time.values, batch.pts_seconds)
    for name in ("pts", "key_frame", "corrupt"):
        assert np.array_equal(dataset[name].values, getattr(batch, name))
    assert dataset.position.values.tolist() == batch.positions.tolist()
    assert dataset.frames.sel(time=1.04, method="nearest").position == 31


def test_lineage(written: tuple[str, dict[str, FrameBatch]]) -> None:
    root, batches = written
    frames = open_frames(root, signature=SIGNATURE)
    rows = frames.lineage(CLIP, frames.read(CLIP, 2, 4)).to_pylist()
    assert [row["position"] for row in rows] == [32, 33]
    assert rows[0] == {
        "batch": "b1",
        "clip_id": CLIP,
        "video_key": "b1/v2.mp4",
        "fingerprint": "f",
        "signature": SIGNATURE.key,
        "commit": frames.locations[CLIP].commit.path,
        "frames_digest": batches[CLIP].digest(),
        "position": 32,
        "pts": 32 * 1001,
        "time_base_num": 1,
        "time_base_den": 30000,
        "seconds": 32 * 1001 / 30000,
        "key_frame": False,
        "corrupt": False,
    }


def test_it_is_a_snapshot_that_can_be_pickled(tmp_path: Path) -> None:
    written = fill(str(tmp_path))
    frames = pickle.loads(pickle.dumps(open_frames(tmp_path, signature=SIGNATURE)))
    FrameStore(tmp_path, durable=False).write_clip("b1", CLIP, {SIGNATURE: noise(2, 99)})
    assert frames.read(CLIP).digest() == written[CLIP].digest()


def test_what_is_not_there(written: tuple[str, dict[str, FrameBatch]], tmp_path: Path) -> None:
    root, _ = written
    with pytest.raises(KeyError, match="nobody"):
        open_frames(root, signature=SIGNATURE)["nobody"]
    with pytest.raises(CommitNotFoundError, match=r"no batch under .* is published with"):
        open_frames(root, signature=FrameExtractionSignature())
    with pytest.raises(CommitNotFoundError, match=r"b3.* has no manifest"):
        open_frames(root, signature=SIGNATURE, batches=["b1", "b3"])
    with pytest.raises(
        CommitNotFoundError, match=rf"no signature 'x' .*; there is {SIGNATURE.key}"
    ):
        open_frames(root, signature="x")
    with pytest.raises(CommitNotFoundError, match="there is none at all"):
        open_frames(tmp_path, signature="x")


def test_what_is_ambiguous(tmp_path: Path) -> None:
    store, other = (
        FrameStore(tmp_path, durable=False),
        FrameExtractionSignature(target_fps=2, target_res=(6, 8), interpolation="area"),
    )
    for batch in ("b1", "b2"):
        store.write_clip(batch, "c", {SIGNATURE: noise(2, 1), other: noise(2, 1)})
        store.commit_batch(batch, SIGNATURE)
    with pytest.raises(ConfigError, match="several signatures have the slug 'sequence-2fps-6x8'"):
        open_frames(tmp_path, signature="sequence-2fps-6x8")
    with pytest.raises(ConflictError, match="'b1' and 'b2' both have a clip 'c'; open them one"):
        open_frames(tmp_path, signature=SIGNATURE)


def test_in_a_bucket(s3: S3) -> None:
    batches = fill(s3.url, s3.options)
    frames = open_frames(s3.url, signature="sequence-2fps-6x8", storage_options=s3.options)
    assert frames.read(CLIP, 1, 3).positions.tolist() == [31, 32]
    assert np.array_equal(frames[CLIP].to_xarray().frames.values, batches[CLIP].frames)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_shards_are_read_as_zarr_reads_them(tmp_path: Path, compression: str) -> None:
    """Black frames, noise, and a shard that is not full."""
    need_compression(compression)
    batch = noise(5, 1)
    batch.frames[2] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "SHARD_BYTES", 300)
        store = FrameStore(tmp_path, compression=compression, durable=False)
        store.write_clip("b", "c", {SIGNATURE: batch})
    by_zarr = zarr.open_group(store.open("b", SIGNATURE, "c").url, mode="r")["frames"]
    assert isinstance(by_zarr, zarr.Array)
    assert np.array_equal(store.read("b", SIGNATURE, "c").frames, np.asarray(by_zarr[:]))
