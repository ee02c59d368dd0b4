"""Writers, readers and a collector for test_kill, each a forked process.

Started with the store's path or URL and the folder for totals. Then each line of stdin is an order,
answered by one line of JSON: `write BATCH SEED DURABLE`, `recompress BATCH`, `read NAME`,
`collect NAME`, `wait PID`, `check BATCH`. The pixels of a clip follow from its id and its
fingerprint. So any process can check them, and a mix of two writes shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np

from frames_pipeline.errors import CommitNotFoundError, FramesPipelineError
from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, FrameStore, codecs
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.store.recompression import recompress_clip, republish

CLIPS = ("one", "two", "three", "four")
SIGNATURES = (FrameExtractionSignature(), FrameExtractionSignature(policy="first"))
OPTIONS = json.loads(os.environ.get("FRAMES_KILL_OPTIONS", "{}"))
"""fsspec options of the store."""
TARGETS = [
    codec
    for codec in COMPRESSIONS.values()
    if not codec.package or importlib.util.find_spec(codec.package)
]
"""Compressions that are installed here."""
ACKNOWLEDGED = os.environ.get("FRAMES_KILL_ACKNOWLEDGED", "")
"""File that writers append to after a commit: batch, clip, writer, turn."""
GRACE_SECONDS = float(os.environ.get("FRAMES_KILL_GRACE", "20"))
"""Far above what a clip here takes to be written or read, even on a busy machine."""


def frames_of(clip: str, signature: FrameExtractionSignature, fingerprint: str) -> FrameBatch:
    """Return the frames of a clip, determined by its names; several shards of two frames each."""
    rng = np.random.default_rng([*f"{clip} {signature.key} {fingerprint}".encode()])
    n, height, width = (int(side) for side in rng.integers((3, 30, 40), (9, 50, 60)))
    frames = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    index = np.arange(n, dtype=np.int64)
    none = np.zeros(n, dtype=np.bool_)
    outcome = Outcome(DecodeReport("test"), candidates=n)
    setattr(codecs, "SHARD_BYTES", 2 * 50 * 60 * 3)  # noqa: B010 - it is final for others
    return FrameBatch(frames, index, Fraction(1, 25), index, none, none, outcome)


def write(store: FrameStore, batch: str, seed: int) -> None:
    """Write every clip repeatedly, until killed."""
    order = random.Random(seed)
    acknowledged = os.open(ACKNOWLEDGED, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    parent = os.getppid()
    for turn in count():
        for clip in order.sample(CLIPS, len(CLIPS)):
            fingerprint = f"{seed}-{turn}"
            if os.getppid() != parent:
                return  # the test is gone
            frames = {s: frames_of(clip, s, fingerprint) for s in SIGNATURES}
            store.write_clip(batch, clip, frames, fingerprint=fingerprint)
            os.write(acknowledged, f"{batch} {clip} {seed} {turn}\n".encode())
        for signature in SIGNATURES:
            store.commit_batch(batch, signature)


def recompress(store: FrameStore, batch: str) -> None:
    """Move every clip to each compression in turn, until killed."""
    parent = os.getppid()
    for turn in count():
        codec = TARGETS[turn % len(TARGETS)]
        for signature in SIGNATURES:
            folder = SignatureFolder(batch, signature.key)
            for commit in store.clips(batch, signature).values():
                if os.getppid() != parent:
                    return  # the test is gone
                recompress_clip(store.objects, folder, commit, codec)
            republish(store.objects, folder, store.clips(batch, signature))


def read(store: FrameStore, totals: Path) -> None:
    """Compare all visible clips, until told to stop."""
    seen: dict[str, Any] = {"looks": 0, "bad": []}
    for _ in until_stopped():
        look(store, seen)
    totals.write_text(json.dumps(seen))


def collect(store: FrameStore, totals: Path) -> None:
    """Collect garbage until told to stop."""
    collected = 0
    for _ in until_stopped():
        report = store.collect_garbage(grace_seconds=GRACE_SECONDS, dry_run=False)
        collected += len(report.attempts)
    totals.write_text(json.dumps(collected))


def until_stopped() -> Iterator[None]:
    """Go on, once at least, until this process gets a SIGTERM, or the test is gone."""
    stopped: list[int] = []
    parent = os.getppid()
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    while True:
        yield
        if stopped or os.getppid() != parent:
            return
        time.sleep(0.5 if OPTIONS else 0.02)


def check(store: FrameStore, batch: str) -> dict[str, Any]:
    """Compare every pixel of all visible clips of a batch; return the totals."""
    seen: dict[str, Any] = {"looks": 0, "bad": []}
    look(store, seen, batch=batch)
    seen["bad"] += [str(fault) for fault in store.verify(batch).faults]
    seen["lost"] = lost(store)
    return seen


def lost(store: FrameStore) -> list[str]:
    """Return acknowledged clips that are missing or older than their last acknowledged write."""
    last: dict[tuple[str, str], dict[int, int]] = {}
    if Path(ACKNOWLEDGED).exists():
        for line in Path(ACKNOWLEDGED).read_text().splitlines():
            batch, clip, seed, turn = line.split()
            last.setdefault((batch, clip), {})[int(seed)] = int(turn)
    found = []
    for batch, signature in product({batch for batch, _ in last}, SIGNATURES):
        current = store.clips(batch, signature)
        for clip in {clip for named, clip in last if named == batch}:
            if clip not in current:
                found.append(f"{batch} {clip} is gone")
                continue
            writer, at = map(int, current[clip].fingerprint.split("-"))
            if at < last[batch, clip].get(writer, -1):
                found.append(f"{batch} {clip} is of turn {at} of writer {writer}")
    return found


def look(store: FrameStore, seen: dict[str, Any], *, batch: str | None = None) -> None:
    """Compare current clips as a whole and lazily, and those of the manifest."""
    looked_at = batches(store) if batch is None else [batch]
    for name, signature in product(looked_at, SIGNATURES):
        for clip, commit in store.clips(name, signature).items():
            seen["bad"] += compare(store, name, signature, commit)
            seen["bad"] += lazily(store, name, signature, clip)
            seen["looks"] += 2
        try:
            manifest = store.manifest(name, signature)
        except CommitNotFoundError:
            continue
        for commit in manifest.clips.values():
            seen["bad"] += compare(store, name, signature, commit)
            seen["looks"] += 1


def batches(store: FrameStore) -> list[str]:
    """Return the keys of batches with any object."""
    return list(store.objects.folders("frames"))


def compare(
    store: FrameStore, batch: str, signature: FrameExtractionSignature, commit: ClipCommit
) -> list[str]:
    """Return the faults of a commit, read as a whole."""
    expected = frames_of(commit.clip_id, signature, commit.fingerprint)
    try:
        found = store.read_commit(batch, signature, commit)
    except FramesPipelineError as error:
        return [repr(error)]
    same = np.array_equal(found.frames, expected.frames)
    same &= found.digest() == expected.digest() == commit.digest
    return [] if same else [f"other frames in {commit.path}"]


def lazily(
    store: FrameStore, batch: str, signature: FrameExtractionSignature, clip: str
) -> list[str]:
    """Return the faults of a clip, opened and then read by Zarr."""
    try:
        stored = store.open(batch, signature, clip)
    except FramesPipelineError as error:
        return [repr(error)]
    expected = frames_of(clip, signature, stored.commit.fingerprint)
    same = np.array_equal(stored.frames[:], expected.frames)
    return [] if same else [f"other frames in {stored.url}"]


def fork(work: Any, *arguments: Any) -> int:
    """Run the work in a child process. This process stays without threads, so that it can fork."""
    child = os.fork()
    if child:
        return child
    os.close(0)
    try:
        work(*arguments)
    finally:
        os._exit(0)


def main(root: str, totals: str) -> None:
    """Execute the orders from stdin."""
    if OPTIONS:
        import s3fs  # noqa: F401  (children then need not)
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "write":
            batch, seed, durable = arguments
            store = FrameStore(root, OPTIONS, durable=durable == "True")
            answer = fork(write, store, batch, int(seed))
        elif order == "recompress":
            answer = fork(recompress, FrameStore(root, OPTIONS), *arguments)
        elif order in ("read", "collect"):
            work = {"read": read, "collect": collect}[order]
            answer = fork(work, FrameStore(root, OPTIONS), Path(totals, arguments[0]))
        elif order == "wait":
            os.waitpid(int(arguments[0]), 0)
            answer = 0
        else:
            os.waitpid(fork(say_checked, root, arguments[0]), 0)
            continue
        say(answer)


def say_checked(root: str, batch: str) -> None:
    """Check with a new store, and print the answer."""
    say(check(FrameStore(root, OPTIONS), batch))


def say(answer: Any) -> None:
    """Print an answer in one line."""
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
