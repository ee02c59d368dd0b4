"""A disk that is full, read-only or forbidden, and a clock that goes back."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from frames_pipeline.frames import FrameBatch
from frames_pipeline.io import objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore, writer

MakeFrames = Callable[..., FrameBatch]

PRELUDE = """
import os, resource, signal, sys
from fractions import Fraction
import numpy as np
from frames_pipeline.errors import StoreAccessError
from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore

SIGNATURE = FrameExtractionSignature(policy="first")
index, none = np.arange(2), np.zeros(2, np.bool_)
outcome = Outcome(DecodeReport("test"), candidates=2)

def frames(seed, side=200):
    pixels = np.random.default_rng(seed).integers(0, 256, (2, side, side, 3), np.uint8)
    return FrameBatch(pixels, index, Fraction(1, 25), index, none, none, outcome)

def write(store, seed, side=200):
    store.write_clip("b", f"clip {seed}", {SIGNATURE: frames(seed, side)})

def refused(act):
    try:
        act()
    except StoreAccessError as error:
        return str(error)
    raise SystemExit("it was not refused")

store = FrameStore(sys.argv[1])
"""
FULL = """
for written in range(100):
    try:
        write(store, written)
    except StoreAccessError as error:
        assert "No space left" in str(error), error
        break
else:
    raise SystemExit("the disk was never full")
assert written > 1
assert len(store.clips("b", SIGNATURE)) == written
for seed in range(written):
    assert store.read("b", SIGNATURE, f"clip {seed}").digest() == frames(seed).digest()
assert store.verify("b", deep=True).ok
assert not [key for key in store.objects.list() if key.endswith(".tmp")]
store.collect_garbage(grace_seconds=0, dry_run=False)
write(store, 0, side=20)
store.collect_garbage(grace_seconds=0, dry_run=False)
write(store, written)
assert store.verify("b", deep=True).ok
"""
READ_ONLY = """
assert "Read-only file system" in refused(lambda: write(store, 1))
assert store.read("b", SIGNATURE, "clip 0").digest() == frames(0).digest()
assert store.verify("b", deep=True).ok
"""
TOO_LARGE = """
write(store, 0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
assert "File too large" in refused(lambda: write(store, 0))
assert "File too large" in refused(lambda: write(store, 1))
assert list(store.clips("b", SIGNATURE)) == ["clip 0"]
assert store.verify("b", deep=True).ok
assert not [key for key in store.objects.list() if key.endswith(".tmp")]
"""
FORBIDDEN = """
write(store, 0)
os.chmod(sys.argv[1], 0o700 if os.getuid() == 0 else 0)
if os.getuid() == 0:
    os.setuid(65534)
for act in (lambda: write(store, 1), lambda: store.clips("b", SIGNATURE),
            lambda: store.read("b", SIGNATURE, "clip 0"), lambda: store.collect_garbage(),
            lambda: store.verify("b")):
    assert "not allowed to reach" in refused(act)
"""
MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    """Whether this user may mount in a namespace of their own."""
    if shutil.which("unshare") is None:
        return False
    command = [*MOUNTS, "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mount in a user namespace")


def run(script: str, folder: Path, *around: str) -> None:
    """Run a script on a store in the folder, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(Path(objects.__file__).parents[2])}
    code = PRELUDE + textwrap.dedent(script)
    done = subprocess.run(
        [*around, sys.executable, "-c", code, folder / "store"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@needs_mounts
def test_full_disk(tmp_path: Path) -> None:
    """It is refused, what was committed reads, and after a collection there is room again."""
    mount = f"mount -t tmpfs -o size=1500k none {tmp_path} && exec "
    run(FULL, tmp_path, *MOUNTS, "sh", "-c", mount + '"$@"', "sh")


@needs_mounts
def test_read_only_disk(tmp_path: Path) -> None:
    run("write(store, 0)", tmp_path)
    mount = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path} && exec "
    run(READ_ONLY, tmp_path, *MOUNTS, "sh", "-c", mount + '"$@"', "sh")


def test_file_size_limit(tmp_path: Path) -> None:
    """A write that stops in the middle leaves nothing, and what was there stays."""
    run(TOO_LARGE, tmp_path)


def test_permission_denied(tmp_path: Path) -> None:
    """No folder that may not be read counts as empty."""
    run(FORBIDDEN, tmp_path)


def test_clock_goes_back(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: Callable[[FrameBatch, FrameBatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last commit wins, by order and not by clock; and grace counts by the store's clock."""
    store.write_clip("b", "c", {signature: make_frames(seed=0)})
    held = store.commit_batch("b", signature)
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)
    monkeypatch.setattr(writer, "now", lambda: past)
    monkeypatch.setattr("frames_pipeline.store.layout.time.time_ns", lambda: 10**18)
    store.write_clip("b", "c", {signature: make_frames(seed=1)})
    store.commit_batch("b", signature)
    assert_same(store.read("b", signature, "c"), make_frames(seed=1))
    folder = Path(store.objects.url) / f"frames/b/{signature.key}"
    for file in (folder / held.clips["c"].path).rglob("*"):
        os.utime(file, (0, 0))
    aged = folder / held.clips["c"].path
    aged.rename(aged.with_name("000000000001-00000000"))
    assert store.collect_garbage(dry_run=False).attempts == ()
    assert store.verify("b", deep=True).ok
