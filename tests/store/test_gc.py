"""What is garbage, what is not, and what is not ours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from frames_pipeline.errors import ConfigError, IntegrityError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, FrameStore, writer

MakeFrames = Callable[..., FrameBatch]
AssertSame = Callable[[FrameBatch, FrameBatch], None]

DAY = 86400


@pytest.fixture
def write(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> Callable[[str, int], ClipCommit]:
    """Write a clip to batch b."""

    def write_clip(clip: str, seed: int) -> ClipCommit:
        frames = make_frames(seed=seed)
        return store.write_clip("b", clip, {signature: frames})[signature]

    return write_clip


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the collector's clock run ahead."""
    clock = time.time

    def shift(seconds: float) -> None:
        monkeypatch.setattr("frames_pipeline.store.gc.time.time", lambda: clock() + seconds)

    return shift


def folders(store: FrameStore, signature: FrameExtractionSignature) -> set[str]:
    """The attempts that there are, relative to the signature's folder."""
    found = store.objects.list(f"frames/b/{signature.key}/clips")
    return {"/".join(key.split("/")[3:6]) for key in found}


def test_dry_run_then_real(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """A replaced attempt goes, in just the way that the dry run said."""
    old, new, other = write("c", 0), write("c", 1), write("d", 2)
    before = store.objects.list()
    dry = store.collect_garbage(grace_seconds=0)
    assert dry.dry_run
    assert store.objects.list() == before
    assert dry.attempts == (f"frames/b/{signature.key}/{old.path}",)
    assert (dry.objects, dry.bytes) == (5, old.bytes)
    real = store.collect_garbage("b", grace_seconds=0, dry_run=False)
    assert (real.attempts, real.objects, real.dry_run) == (dry.attempts, dry.objects, False)
    assert folders(store, signature) == {new.path, other.path}
    assert_same(store.read("b", signature, "c"), make_frames(seed=1))
    assert_same(store.read("b", signature, "d"), make_frames(seed=2))
    with pytest.raises(IntegrityError, match="is missing; extract clip 'c' again"):
        store.read_commit("b", signature, old)
    assert store.collect_garbage(grace_seconds=0, dry_run=False).objects == 0


def test_manifest_keeps_its_attempts(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """As long as it is the current one, whatever was committed since."""
    old = write("c", 0)
    store.commit_batch("b", signature)
    middle, new = write("c", 1), write("c", 2)
    report = store.collect_garbage(grace_seconds=0, dry_run=False)
    assert [path.endswith(middle.path) for path in report.attempts] == [True]
    commit = store.manifest("b", signature).clips["c"]
    assert commit == old
    assert_same(store.read_commit("b", signature, commit), make_frames(seed=0))
    store.commit_batch("b", signature)
    store.collect_garbage(grace_seconds=0, dry_run=False)
    assert folders(store, signature) == {new.path}


def test_grace_protects_writers(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    later: Callable[[float], None],
) -> None:
    """An attempt without a commit may be one that is being written."""
    commit = write("c", 0)
    [key] = store.objects.list(f"frames/b/{signature.key}/commits")
    store.objects.delete([key])
    assert store.collect_garbage(dry_run=False).objects == 0
    later(DAY - 60)
    assert store.collect_garbage(dry_run=False).objects == 0
    later(DAY + 60)
    assert store.collect_garbage(dry_run=False).attempts[0].endswith(commit.path)
    assert folders(store, signature) == set()


def test_grace_counts_from_the_last_object(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    later: Callable[[float], None],
) -> None:
    """A clip may take longer to write than the grace period, as long as it is written to."""
    write("c", 0)
    commit = write("c", 1)
    store.objects.delete(store.objects.list(f"frames/b/{signature.key}/commits"))
    later(DAY + 60)
    newest = Path(store.objects.url) / f"frames/b/{signature.key}/{commit.path}/zarr.json"
    os.utime(newest, (time.time() + DAY, time.time() + DAY))
    assert len(store.collect_garbage().attempts) == 1


def test_grace_protects_readers(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    later: Callable[[float], None],
) -> None:
    """An old attempt that was replaced a moment ago may still be read by who held its commit."""
    old = write("c", 0)
    path = Path(store.objects.url) / f"frames/b/{signature.key}/{old.path}"
    long_ago = time.time() - 10 * DAY
    for file in path.rglob("*"):
        os.utime(file, (long_ago, long_ago))
    aged = path.with_name(f"{int(long_ago * 1000):012x}-00000000")
    path.rename(aged)
    write("c", 1)
    assert store.collect_garbage().attempts == ()
    later(DAY + 60)
    assert store.collect_garbage().attempts == (
        f"frames/b/{signature.key}/{aged.relative_to(path.parents[2])}",
    )


def test_grace_protects_readers_of_the_last_manifest(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    later: Callable[[float], None],
) -> None:
    """A batch that was published again a moment ago may still be read as it was."""
    write("c", 0)
    store.commit_batch("b", signature)
    write("c", 1)
    write("d", 0)
    later(DAY + 60)
    assert store.collect_garbage().attempts == ()
    later(0)
    store.commit_batch("b", signature)
    later(DAY - 60)
    assert store.collect_garbage().attempts == ()
    later(DAY + 60)
    assert len(store.collect_garbage().attempts) == 1


def test_commit_between_listing_and_reading(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[float], None],
) -> None:
    """A clip that is replaced while garbage is looked for loses nothing that a reader may hold."""
    long_ago = time.time() - 10 * DAY
    with monkeypatch.context() as patched:
        patched.setattr("frames_pipeline.store.layout.time.time_ns", lambda: int(long_ago * 1e9))
        patched.setattr(writer, "now", lambda: datetime.fromtimestamp(long_ago, UTC))
        old = write("c", 0)
    for path in Path(store.objects.url).rglob("*"):
        os.utime(path, (long_ago, long_ago))
    listing = store.objects.list

    def list_then_replace(prefix: str) -> object:
        found = listing(prefix)
        write("c", 1)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(store.objects, "list", list_then_replace)
        assert store.collect_garbage("b", dry_run=False).objects == 0
    later(DAY + 60)
    [collected] = store.collect_garbage("b", dry_run=False).attempts
    assert collected.endswith(old.path)


def test_stray_temporary_files(
    store: FrameStore,
    signature: FrameExtractionSignature,
    write: Callable[[str, int], ClipCommit],
    later: Callable[[float], None],
) -> None:
    """What killed writers left goes, but only what has a temporary file's name."""
    write("c", 0)
    old = write("c", 1)
    write("c", 2)
    folder = f"frames/b/{signature.key}"
    strays = [
        f"{folder}/commits/c.json.0123abcd.tmp",
        f"{folder}/manifest.json.0123abcd.tmp",
        "tables/clips/b/part-0.parquet.0123abcd.tmp",
        "batches/b.json.0123abcd.tmp",
        "origins/ab/abcd.json.0123abcd.tmp",
        "adhoc/frames/b/s/manifest.json.0123abcd.tmp",
    ]
    inside = f"{folder}/{old.path}/frames/c/0/0/0/0.0123abcd.tmp"
    foreign = [
        f"{folder}/notes.tmp",
        f"{folder}/clips/readme.txt",
        f"{folder}/clips/c-1/attempt/zarr.json",
        "frames/b/notes/clips/x/0198c3a4b5c6-89abcdef/zarr.json",
        "frames/notes.txt",
        "notes/of-somebody.txt.0123abcd.tmp",
    ]
    for key in (*strays, inside, *foreign):
        store.objects.put(key, b"12")
    assert store.collect_garbage(dry_run=False).objects == 0
    later(DAY + 60)
    report = store.collect_garbage(dry_run=False)
    assert set(report.temporary) == set(strays)
    assert len(report.attempts) == 2
    assert report.objects == 2 * 5 + 1 + len(strays)
    left = store.objects.list()
    assert set(foreign) <= left.keys()
    assert not left.keys() & {*strays, inside}
    assert store.verify("b", deep=True).ok


WRITER = """
import sys
from frames_pipeline.io.objects import Objects
while True:
    Objects(sys.argv[1]).put(sys.argv[2], bytes(64 << 20))
"""


@pytest.mark.parametrize(
    "key", ["tables/clips/b/part-00000.parquet", "batches/b.json", "origins/ab/cd.json"]
)
def test_what_a_killed_writer_leaves_is_collected(
    store: FrameStore, key: str, later: Callable[[float], None]
) -> None:
    """Its files go after the grace period, under any prefix; the replaced objects stay."""
    url = store.objects.url
    store.objects.put(key, b"whole")
    for _ in range(100):
        with subprocess.Popen([sys.executable, "-c", WRITER, url, key]) as writer:
            while not (left := list(Path(url).rglob("*.tmp"))):
                assert writer.poll() is None
                time.sleep(0.001)
            writer.kill()
        if left := [path for path in left if path.exists()]:
            break
    assert len(left) == 1
    assert store.collect_garbage(dry_run=False).objects == 0
    later(DAY + 60)
    dry = store.collect_garbage()
    assert [str(Path(url, name)) for name in dry.temporary] == [str(left[0])]
    assert left[0].exists()
    assert store.collect_garbage(dry_run=False).temporary == dry.temporary
    assert not left[0].exists()
    assert list(store.objects.list()) == [key]


def test_unreadable_commit_keeps_the_attempts_of_its_clip(
    store: FrameStore, signature: FrameExtractionSignature, write: Callable[[str, int], ClipCommit]
) -> None:
    """The attempts of the unreadable commit are unknown, unlike those of other commits."""
    kept, old, new = write("c", 0), write("d", 0), write("d", 1)
    [key] = [key for key in store.objects.list(f"frames/b/{signature.key}/commits") if "/c-" in key]
    store.objects.put(key, b"{")
    report = store.collect_garbage(grace_seconds=0, dry_run=False)
    assert report.unreadable == (key,)
    assert report.attempts == (f"frames/b/{signature.key}/{old.path}",)
    assert folders(store, signature) == {kept.path, new.path}


def test_unreadable_manifest_keeps_its_batch_and_no_other(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """A damaged manifest of one batch never stops the collection of others."""
    for batch, seed in product(("b", "b2"), range(2)):
        store.write_clip(batch, "c", {signature: make_frames(seed=seed)})
        store.commit_batch(batch, signature)
    before = folders(store, signature)
    manifest = f"frames/b/{signature.key}/manifest.json"
    data = bytearray(store.objects.get(manifest))
    data[len(data) // 2] ^= 1
    store.objects.put(manifest, bytes(data))
    report = store.collect_garbage(grace_seconds=0, dry_run=False)
    assert report.unreadable == (manifest,)
    assert [path.split("/")[1] for path in report.attempts] == ["b2"]
    assert folders(store, signature) == before


@pytest.mark.parametrize("ahead", ["names and documents", "files", "everything"])
def test_a_writer_in_2099_neither_stops_it_nor_loses_anything(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[float], None],
    ahead: str,
) -> None:
    """Objects with a future timestamp are kept for one grace period from the first deletion."""
    future = datetime(2099, 1, 1, tzinfo=UTC)
    with monkeypatch.context() as patched:
        if ahead != "files":
            patched.setattr(
                "frames_pipeline.store.layout.time.time_ns", lambda: int(future.timestamp() * 1e9)
            )
            patched.setattr(writer, "now", lambda: future)
        for seed in range(3):  # the first is published and replaced, the second replaced
            store.write_clip("b", "c", {signature: make_frames(seed=seed)})
            if not seed:
                store.commit_batch("b", signature)
        unfinished = store.write_clip("b", "d", {signature: make_frames(seed=3)})[signature]
    root = store.objects.local_path
    assert root is not None
    [lost] = (root / f"frames/b/{signature.key}/commits").glob("d-*")
    lost.unlink()  # the writer of d is at work
    if ahead != "names and documents":
        for path in root.rglob("*"):
            if path.is_file():
                os.utime(path, (future.timestamp(), future.timestamp()))

    dry = store.collect_garbage()
    assert (dry.attempts, bool(dry.ahead)) == ((), ahead != "names and documents")
    assert store.collect_garbage(dry_run=False).attempts == ()
    assert unfinished.path in folders(store, signature)
    assert store.collect_garbage(dry_run=False).ahead == ()  # their timestamps are set to now
    later(DAY + 60)
    assert len(store.collect_garbage(dry_run=False).attempts) == 2  # the replaced attempt, and d
    assert store.verify("b", deep=True).ok
    assert_same(store.read("b", signature, "c"), make_frames(seed=2))
    commit = store.manifest("b", signature).clips["c"]
    assert_same(store.read_commit("b", signature, commit), make_frames(seed=0))


def test_only_the_batch_that_is_named(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """Others are not even listed."""
    for batch in ("b", "b2"):
        for seed in range(2):
            store.write_clip(batch, "c", {signature: make_frames(seed=seed)})
    assert len(store.collect_garbage("b", grace_seconds=0, dry_run=False).attempts) == 1
    [left] = store.collect_garbage(grace_seconds=0, dry_run=False).attempts
    assert left.startswith("frames/b2/")


def test_negative_grace(store: FrameStore) -> None:
    """It would put the horizon into the future."""
    with pytest.raises(
        ConfigError, match="grace_seconds=-1 must not be below zero; a day is a good choice"
    ):
        store.collect_garbage(grace_seconds=-1)
