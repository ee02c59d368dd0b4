"""Many clips in few objects: the same frames, lineage and all, and nothing that is half there."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow.compute as pc
import pytest
import zarr

from frames_pipeline import (
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    FrameBatch,
    FrameExtractionSignature,
    FrameStore,
    IntegrityError,
    StoredFrames,
    open_frames,
)
from frames_pipeline.frames import PictureFormat
from frames_pipeline.readers.datasets import WindowDataset, Windows, iterable_dataset
from frames_pipeline.readers.packs import INDEX, open_pack, pack_frames, prune_pack, writing
from frames_pipeline.store import codecs
from tests.libraries import need
from tests.s3 import S3
from tests.stored import EVERY_SAMPLES, SIGNATURE, fill, noise, with_samples

FRAME = 6 * 8 * 3
PQ = PictureFormat("bt2020", "smpte2084", bit_depth=10)
OTHER = FrameExtractionSignature(policy="first", target_res=(6, 8))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FrameBatch]:
    """Six clips of 27 frames in two batches; four frames make a shard."""
    monkeypatch.setattr(codecs, "SHARD_BYTES", 4 * FRAME)
    return fill(str(tmp_path / "store"))


def stored(tmp_path: Path, **some: object) -> StoredFrames:
    return open_frames(tmp_path / "store", signature=SIGNATURE, **some)  # type: ignore[arg-type]


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def same(one: FrameBatch, other: FrameBatch) -> bool:
    return one.digest() == other.digest() and one.outcome == other.outcome


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize("part_bytes", [1, 10 * FRAME, 2**30])
def test_the_same_frames(
    tmp_path: Path, store: dict[str, FrameBatch], codec: str, part_bytes: int
) -> None:
    frames, to = stored(tmp_path), tmp_path / "pack"
    report = pack_frames(frames, to, codec=codec, part_bytes=part_bytes)
    assert (report.clips, report.frames, report.parts) == (6, 27, report.parts_written)
    assert report.parts == {1: 6, 10 * FRAME: 2, 2**30: 1}[part_bytes]
    assert report.objects == len(files_in(to))
    packed = open_pack(to)
    assert list(packed) == list(frames)
    assert packed.signature == SIGNATURE
    assert packed.digest == frames.digest
    assert packed.verify() == ()
    for clip, written in store.items():
        assert same(packed[clip], written)
        assert packed.length(clip) == frames.length(clip) == len(written)
        for start, stop in ((0, 1), (1, 3), (2, None), (-1, None), (3, 3), (5, 2), (0, 99)):
            part = packed.read(clip, start, stop)
            assert np.array_equal(part.frames, written.frames[start:stop])
            assert np.array_equal(part.pts, written.pts[start:stop])
    assert same(pickle.loads(pickle.dumps(packed))["b1/v2.mp4#0-8"], store["b1/v2.mp4#0-8"])
    with pytest.raises(KeyError):
        packed["no such clip"]


@pytest.mark.parametrize("samples", EVERY_SAMPLES)
@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: str, codec: str
) -> None:
    """A pack has the type and the channels of its store, for plain Zarr, too."""
    monkeypatch.setattr(codecs, "SHARD_BYTES", 4 * FRAME)
    written = fill(str(tmp_path / "store"), samples=samples)
    frames = open_frames(tmp_path / "store", signature=with_samples(samples))
    pixel_bytes = frames.channels * frames.dtype.itemsize
    report = pack_frames(frames, tmp_path / "pack", codec=codec, part_bytes=10 * 48 * pixel_bytes)
    assert report.parts == 2  # as for rgb8: parts are counted in bytes
    packed = open_pack(tmp_path / "pack")
    assert packed.signature.samples == samples
    assert packed.verify() == ()
    for clip, batch in written.items():
        assert same(packed[clip], batch)
        for start, stop in ((1, 3), (3, 3)):
            part = packed.read(clip, start, stop).frames
            assert part.dtype == batch.frames.dtype
            assert np.array_equal(part, batch.frames[start:stop])
        row = packed.index.filter(pc.equal(packed.index["clip_id"], clip)).to_pylist()[0]
        plain = zarr.open_array(packed.url(clip), mode="r", zarr_format=3)
        assert plain.dtype == batch.frames.dtype
        assert np.array_equal(plain[row["start"] : row["stop"]], batch.frames)


def test_plain_readers(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """Zarr and any reader of Parquet see the same, without this library."""
    pack_frames(stored(tmp_path), tmp_path / "pack", part_bytes=10 * FRAME)
    rows = duckdb.execute(
        f"SELECT filename, clip_id, start, stop, frames_digest, positions "
        f"FROM read_parquet('{tmp_path}/pack/parts/*/index.parquet', filename = true)"
    ).fetchall()
    assert len(rows) == 6
    for file, clip, start, stop, digest, positions in rows:
        pixels = zarr.open_array(Path(file).parent / "frames", mode="r", zarr_format=3)
        assert np.array_equal(pixels[start:stop], store[clip].frames)
        assert digest == store[clip].digest()
        assert positions == store[clip].positions.tolist()
    assert open_pack(tmp_path / "pack").url(clip) == str(Path(file).parent / "frames")


def test_again_and_more(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """Nothing is read or written again; of a store that has grown only what is new."""
    to = tmp_path / "pack"
    first = stored(tmp_path, batches="b1")
    pack_frames(first, to, part_bytes=16 * FRAME)
    before = files_in(to)
    old = open_pack(to)
    for chunk in (tmp_path / "store").glob("frames/b1/*/clips/*/*/frames/c/*"):
        for file in [path for path in chunk.rglob("*") if path.is_file()]:
            file.write_bytes(b"nobody reads it")
    stamps = {name: (to / name).stat().st_mtime_ns for name in before}
    assert pack_frames(first, to, part_bytes=16 * FRAME).parts_written == 0
    assert {name: (to / name).stat().st_mtime_ns for name in before} == stamps

    report = pack_frames(stored(tmp_path), to, part_bytes=16 * FRAME)
    assert (report.parts, report.parts_written) == (2, 1)
    parts = {name: data for name, data in before.items() if name.startswith("parts/")}
    assert parts.items() <= files_in(to).items()
    assert list(open_pack(to)) == list(store)
    assert same(old["b1/v0.mp4#0-5"], store["b1/v0.mp4#0-5"])


def test_a_clip_that_was_extracted_again(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """The pack of before stays readable; the new one has the new frames."""
    to, clip = tmp_path / "pack", "b2/v1.mp4#0-6"
    pack_frames(stored(tmp_path), to, part_bytes=1)
    old = open_pack(to)
    again = FrameStore(tmp_path / "store")
    again.write_clip("b2", clip, {SIGNATURE: noise(4, 99)})
    again.commit_batch("b2", SIGNATURE)
    report = pack_frames(stored(tmp_path), to, part_bytes=1)
    assert (report.parts, report.parts_written, report.frames) == (6, 1, 25)
    assert same(old[clip], store[clip])
    assert same(open_pack(to)[clip], noise(4, 99))


def test_sizes_of_their_own(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """A signature that keeps the aspect gives frames of several sizes: an array for each."""
    wide = noise(3, 7)
    wide = FrameBatch(
        frames=np.repeat(wide.frames, 2, axis=2), pts=wide.pts, time_base=wide.time_base,
        positions=wide.positions, key_frame=wide.key_frame, corrupt=wide.corrupt,
        outcome=wide.outcome,
    )  # fmt: skip
    writer = FrameStore(tmp_path / "store")
    writer.write_clip("b1", "wide", {SIGNATURE: wide})
    writer.commit_batch("b1", SIGNATURE)
    assert pack_frames(stored(tmp_path), tmp_path / "pack").parts == 2
    packed = open_pack(tmp_path / "pack")
    assert same(packed["wide"], wide)
    assert all(same(packed[clip], written) for clip, written in store.items())


def test_damage(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """Bits that flip, and objects that go, are errors or faults, never other pixels."""
    frames, to = stored(tmp_path), tmp_path / "pack"
    pack_frames(frames, to)
    whole = files_in(to)
    for name, data in whole.items():
        middle = len(data) // 2
        for damaged in (b"", data[:-1], data[:middle] + b"?" + data[middle + 1 :]):
            (to / name).write_bytes(damaged)
            assert told_of(to, store)
        (to / name).unlink()
        assert told_of(to, store)
        (to / name).write_bytes(data)
    assert open_pack(to).verify() == ()


def told_of(to: Path, store: dict[str, FrameBatch]) -> bool:
    """Whether damage is seen; until it is, clips are as they were, or refused."""
    try:
        packed = open_pack(to)
    except (IntegrityError, CommitNotFoundError):
        return True
    assert all(same_or_refused(packed, clip, store) for clip in packed)
    return bool(packed.verify())


def same_or_refused(packed: object, clip: str, store: dict[str, FrameBatch]) -> bool:
    try:
        return same(packed[clip], store[clip])  # type: ignore[index]
    except IntegrityError as error:
        return any(
            fault in str(error)
            for fault in ("is damaged", "has a wrong size or SHA-256", "is missing")
        )


def test_what_cannot_be_packed(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    frames, to = stored(tmp_path), tmp_path / "pack"
    with pytest.raises(CommitNotFoundError, match=r"no pack at .*; make one with pack_frames"):
        open_pack(to)
    with pytest.raises(ConfigError, match="part_bytes=0 must be 1 or above"):
        pack_frames(frames, to, part_bytes=0)
    with pytest.raises(ConfigError, match="no codec 'jpeg'"):
        pack_frames(frames, to, codec="jpeg")
    assert not to.exists()
    victim = next((tmp_path / "store").glob("frames/b2/*/clips/*/*/frames/c/0/0/0/0"))
    data = victim.read_bytes()
    victim.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"not the .* committed"):
        pack_frames(frames, to, part_bytes=1)
    assert not (to / "pack.json").exists()
    victim.write_bytes(data)
    pack_frames(frames, to)
    writer = FrameStore(tmp_path / "store")
    writer.write_clip("b3", "c", {OTHER: noise(1, 1)})
    writer.commit_batch("b3", OTHER)
    with pytest.raises(ConflictError, match=r"is a pack of sequence-.*; choose another place"):
        pack_frames(open_frames(tmp_path / "store", signature=OTHER), to)


def test_no_clips(tmp_path: Path) -> None:
    FrameStore(tmp_path / "store").commit_batch("b", SIGNATURE)
    assert pack_frames(stored(tmp_path), tmp_path / "pack").parts == 0
    packed = open_pack(tmp_path / "pack")
    assert (len(packed), list(packed), packed.verify()) == (0, [], ())


RUN = """
import sys
from frames_pipeline import open_frames
from frames_pipeline.readers.packs import pack_frames
from frames_pipeline.io.objects import Objects
put = Objects.put
def slowly(self, key, data):
    put(self, key, data)
    print(key, flush=True)
    sys.stdin.readline()
Objects.put = slowly
pack_frames(open_frames({store!r}, signature={key!r}), {to!r}, part_bytes=1)
"""


@pytest.mark.parametrize("puts", [1, 3, 5, 12])
def test_a_killed_writer(tmp_path: Path, store: dict[str, FrameBatch], puts: int) -> None:
    """What it leaves is not seen, by readers of a pack that was there before or of none."""
    to = tmp_path / "pack"
    had = puts > 3
    if had:
        pack_frames(stored(tmp_path, batches="b2"), to, part_bytes=1)
    script = textwrap.dedent(RUN).format(
        store=str(tmp_path / "store"), key=SIGNATURE.key, to=str(to)
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(puts):
            done = process.stdout.readline()
            if not done or number == puts - 1:
                break
            process.stdin.write("\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGKILL)
    if had and "pack.json" not in done:
        assert list(open_pack(to)) == [clip for clip in store if clip.startswith("b2")]
        assert open_pack(to).verify() == ()
    elif not had:
        with pytest.raises(CommitNotFoundError):
            open_pack(to)
    left = len(list(to.glob("parts/*/part.json")))
    report = pack_frames(stored(tmp_path), to, part_bytes=1)
    assert report.parts_written == 6 - left
    assert open_pack(to).verify() == ()
    assert all(same(open_pack(to)[clip], written) for clip, written in store.items())


def age(folder: Path, *, seconds: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def parts_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("parts/*")}


def test_parts_that_are_no_longer_named_are_pruned(
    tmp_path: Path, store: dict[str, FrameBatch]
) -> None:
    """Those of the pack before, and of a writer that was killed; the pack is as it was."""
    to = tmp_path / "pack"
    pack_frames(stored(tmp_path, batches="b2"), to, part_bytes=1)
    before = parts_in(to)
    pack_frames(stored(tmp_path), to, part_bytes=2**30)
    (to / "parts" / "ab" / "c").mkdir(parents=True)
    (to / "parts" / "ab" / "c" / "mine").touch()
    unfinished = to / "parts" / ("0" * 32) / "frames" / "zarr.json.01234567.tmp"
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    (to / "pack.json.01234567.tmp").write_text("half")
    kept = files_in(to)

    assert prune_pack(to, dry_run=False).objects == 0  # all of it is of today
    age(to, seconds=100_000)
    assert prune_pack(to, grace_seconds=200_000, dry_run=False).objects == 0
    said = prune_pack(to, grace_seconds=50_000)
    assert set(said.parts) == before | {"0" * 32}
    assert files_in(to) == kept
    done = prune_pack(to, grace_seconds=50_000, dry_run=False)
    assert (done.parts, done.objects, done.bytes) == (said.parts, said.objects, said.bytes)
    gone = kept.keys() - files_in(to).keys()
    assert len(gone) == done.objects
    assert sum(len(kept[name]) for name in gone) == done.bytes
    assert not before & parts_in(to)
    assert "pack.json.01234567.tmp" in gone
    assert "parts/ab/c/mine" in files_in(to)
    assert open_pack(to).verify() == ()
    assert all(same(open_pack(to)[clip], written) for clip, written in store.items())


def test_what_was_named_within_the_grace_period_stays(
    tmp_path: Path, store: dict[str, FrameBatch]
) -> None:
    """Readers may hold the pack before, and a writer what it has taken up."""
    to = tmp_path / "pack"
    pack_frames(stored(tmp_path), to, part_bytes=1)
    age(to, seconds=100_000)
    held = open_pack(to)
    pack_frames(stored(tmp_path, batches="b2"), to, part_bytes=2**30)
    assert prune_pack(to, grace_seconds=50_000, dry_run=False).objects == 0
    assert held.verify() == ()

    age(to, seconds=100_000)
    document = (to / "pack.json").read_bytes()
    pack_frames(stored(tmp_path), to, part_bytes=1)  # takes up what is not named
    (to / "pack.json").write_bytes(document)  # but was killed before it could name it
    os.utime(to / "pack.json", (time.time() - 100_000,) * 2)
    assert prune_pack(to, grace_seconds=50_000).objects == 0
    assert prune_pack(to, grace_seconds=0).parts


def test_a_pack_that_is_none_is_not_pruned(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    (tmp_path / "parts" / ("0" * 32)).mkdir(parents=True)
    with pytest.raises(CommitNotFoundError, match="no pack at"):
        prune_pack(tmp_path, grace_seconds=0, dry_run=False)
    with pytest.raises(ConfigError, match="below zero"):
        prune_pack(tmp_path, grace_seconds=-1)


def test_in_a_bucket(s3: S3, tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    """A clip is one request, and one more for a shard that is new."""
    pack_frames(stored(tmp_path), s3.url, storage_options=s3.options)
    s3.count()
    packed = open_pack(s3.url, storage_options=s3.options)
    assert s3.count() == {"GET": 3}
    first, second = list(packed)[:2]
    assert same(packed[first], store[first])
    assert s3.count() == {"GET": 5}  # Zarr's document, and of two shards the index and chunks
    assert same(packed[second], store[second])
    assert s3.count() == {"GET": 1}
    assert pack_frames(stored(tmp_path), s3.url, storage_options=s3.options).parts_written == 0
    assert s3.count() == {"GET": 2}

    pack_frames(stored(tmp_path, batches="b2"), s3.url, storage_options=s3.options)
    pruned = prune_pack(s3.url, grace_seconds=0, dry_run=False, storage_options=s3.options)
    assert len(pruned.parts) == 1
    after = open_pack(s3.url, storage_options=s3.options)
    assert list(after) == [clip for clip in store if clip.startswith("b2")]
    assert after.verify() == ()
    assert packed.verify()


def test_torch_datasets_take_it(tmp_path: Path, store: dict[str, FrameBatch]) -> None:
    need("torch")
    pack_frames(stored(tmp_path), tmp_path / "pack")
    packed, frames = open_pack(tmp_path / "pack"), stored(tmp_path)
    one, other = (WindowDataset(each, Windows(length=2, stride=2)) for each in (packed, frames))
    assert len(one) == len(other) == 12
    for number in range(12):
        mine, theirs = (cast("dict[str, Any]", each[number]) for each in (one, other))
        assert mine["clip_id"] == theirs["clip_id"]
        assert np.array_equal(mine["frames"], theirs["frames"])
    samples = list(iterable_dataset(packed, Windows(length=2, stride=2), seed=None))
    assert [sample["start"] for sample in samples] == [one.window(n).start for n in range(12)]


@pytest.mark.parametrize(
    ("sources", "space"),
    [
        ((None, None), "sRGB"),
        ((PQ, PQ), "bt2020/smpte2084"),
        ((PQ, None), "mixed"),
        ((PQ, PictureFormat("bt709", "bt709")), "mixed"),
    ],
)
def test_a_pack_keeps_the_format_of_each_clip(
    tmp_path: Path, sources: tuple[PictureFormat | None, ...], space: str
) -> None:
    """One array has clips of several sources, and says so if their colours differ."""
    store = FrameStore(tmp_path / "store", durable=False)
    for number, source in enumerate(sources):
        frames = replace(noise(3, number), source=source)
        store.write_clip("b", f"v{number}.mp4#0-3", {SIGNATURE: frames})
    store.commit_batch("b", SIGNATURE)
    pack_frames(stored(tmp_path), tmp_path / "pack")
    packed = open_pack(tmp_path / "pack")
    assert [packed[clip].source for clip in packed] == list(sources)
    (url,) = {packed.url(clip) for clip in packed}
    assert zarr.open_array(url, mode="r").attrs["color_space"] == space
    assert packed.verify() == ()


def test_a_pack_of_the_first_release(
    tmp_path: Path, store: dict[str, FrameBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index lacks the formats."""
    old = INDEX.remove(INDEX.get_field_index("source_format"))
    monkeypatch.setattr(writing, "INDEX", old)
    pack_frames(stored(tmp_path), tmp_path / "pack")
    packed = open_pack(tmp_path / "pack")
    assert packed.verify() == ()
    assert all(same(packed[clip], frames) for clip, frames in store.items())
    assert {packed[clip].source for clip in packed} == {None}
