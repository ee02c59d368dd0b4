"""One store in many processes: pickled, forked, spawned, and racing."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from frames_pipeline.frames import FrameBatch
from frames_pipeline.io import objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore
from tests.suites import live_from

MakeFrames = Callable[..., FrameBatch]
AssertSame = Callable[[FrameBatch, FrameBatch], None]

FORK = """
import os, sys
from frames_pipeline.store import FrameStore
store, key = FrameStore(sys.argv[1]), sys.argv[2]
before = store.read("b", key, "c")
clip = store.open("b", key, "c")
clip.frames[0]
child = os.fork()
if child == 0:
    same = store.read("b", key, "c").digest() == before.digest()
    same &= (store.open("b", key, "c").frames[:] == before.frames).all()
    same &= (clip.frames[1] == before.frames[1]).all()
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_pickle(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """A store that was used can be sent to another process, with its choices."""
    frames = make_frames()
    store = FrameStore(store.objects.url, compression="none", durable=False)
    store.write_clip("b", "c", {signature: frames})
    copy = pickle.loads(pickle.dumps(store))
    assert_same(copy.read("b", signature, "c"), frames)
    assert (copy.compression, copy.objects.durable) == ("none", False)
    commit = store.clips("b", signature)["c"]
    assert pickle.loads(pickle.dumps(commit)) == commit


def test_spawn(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Writing here and reading there, and the other way round."""
    here, there = make_frames(seed=0), make_frames(seed=1)
    store.write_clip("b", "here", {signature: here})
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(store.write_clip, "b", "there", {signature: there}).result()
        assert_same(pool.submit(store.read, "b", signature, "here").result(), here)
    assert_same(store.read("b", signature, "there"), there)


def test_fork(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """A child uses the store, and an open clip, that its parent has used."""
    store.write_clip("b", "c", {signature: make_frames()})
    environment = os.environ | {"PYTHONPATH": str(Path(objects.__file__).parents[2])}
    command = [sys.executable, "-c", FORK, store.objects.url, signature.key]
    subprocess.run(command, env=environment, check=True)


@pytest.mark.parametrize("writes", live_from(1, [1, 8]))
def test_racing_writers(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    writes: int,
) -> None:
    """The last commit wins, and every look in between shows one write as a whole."""
    batches = [make_frames(3 + seed, 6 + seed, 8, seed=seed) for seed in range(4)]
    expected = {batch.digest(): batch for batch in batches}
    store.write_clip("b", "c", {signature: batches[0]})
    writing = threading.Event()
    writing.set()

    def write(batch: FrameBatch) -> list[str]:
        return [
            store.write_clip("b", "c", {signature: batch})[signature].path for _ in range(writes)
        ]

    def read() -> int:
        looks = 0
        while writing.is_set():
            found = store.read("b", signature, "c")
            np.testing.assert_array_equal(found.frames, expected[found.digest()].frames)
            looks += 1
        return looks

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        paths = [path for written in pool.map(write, batches) for path in written]
        writing.clear()
        assert reader.result() > 0
    assert len(set(paths)) == 4 * writes
    assert store.clips("b", signature)["c"].path in paths
    report = store.collect_garbage(grace_seconds=0)
    assert len(report.attempts) == 4 * writes
    assert report.objects == 4 * writes * 5
