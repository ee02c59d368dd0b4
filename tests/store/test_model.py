"""Any order of writes, commits, damage, collections and looks: the store against a simple model.

`FRAMES_MODEL_EXAMPLES` sets how many orders are tried.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, FrameStore

CLIPS = st.sampled_from(["a", "b", "c"])
SEEDS = st.integers(0, 3)
SIGNATURE = FrameExtractionSignature(policy="first")
FOLDER = f"frames/x/{SIGNATURE.key}"


def frames(seed: int) -> FrameBatch:
    """Frames that a seed determines; seed 0 is black, as a missing chunk would read."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256 if seed else 1, (2, 4, 6, 3), dtype=np.uint8)
    index, none = np.arange(2, dtype=np.int64), np.zeros(2, np.bool_)
    outcome = Outcome(DecodeReport("test"), candidates=2)
    return FrameBatch(pixels, index, Fraction(1, 25), index, none, none, outcome)


class StoreModel(RuleBasedStateMachine):
    """What was written last, what was published, and which attempts were damaged."""

    @initialize()
    def begin(self) -> None:
        self.store = FrameStore(f"memory://model-{secrets.token_hex(6)}")
        self.current: dict[str, tuple[int, ClipCommit]] = {}
        self.published: dict[str, tuple[int, ClipCommit]] | None = None
        self.faulty: dict[str, set[str]] = {}

    @property
    def damaged(self) -> set[str]:
        """Attempts of which any object is not as it was written."""
        return {path for path, names in self.faulty.items() if names}

    @property
    def unreadable(self) -> set[str]:
        """Those of which it is one that pixels are read from; the others are for other readers."""
        return {
            path
            for path, names in self.faulty.items()
            if any(name == "zarr.json" or name.startswith("frames/c/") for name in names)
        }

    @property
    def named(self) -> dict[str, tuple[int, ClipCommit]]:
        """Every attempt that a commit or the manifest names, by its path."""
        found = [*self.current.values(), *(self.published or {}).values()]
        return {commit.path: (seed, commit) for seed, commit in found}

    @rule(clip=CLIPS, seed=SEEDS)
    def write(self, clip: str, seed: int) -> None:
        commit = self.store.write_clip("x", clip, {SIGNATURE: frames(seed)})[SIGNATURE]
        self.current[clip] = (seed, commit)

    @rule()
    def commit_batch(self) -> None:
        manifest = self.store.commit_batch("x", SIGNATURE)
        self.published = dict(self.current)
        assert manifest.clips == {clip: commit for clip, (_, commit) in self.current.items()}

    @precondition(lambda self: self.current)
    @rule(data=st.data())
    def publish_some_by_their_commits(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sets(st.sampled_from(sorted(self.current)), min_size=1))
        self.published = {clip: self.current[clip] for clip in chosen}
        self.store.commit_batch("x", SIGNATURE, [commit for _, commit in self.published.values()])

    @precondition(lambda self: self.named)
    @rule(data=st.data(), how=st.sampled_from(["remove", "cut", "flip"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        path = data.draw(st.sampled_from(sorted(self.named)))
        name = data.draw(st.sampled_from(sorted(self.named[path][1].objects)))
        key = f"{FOLDER}/{path}/{name}"
        try:
            found = self.store.objects.get(key)
        except FileNotFoundError:
            return
        if how == "remove":
            self.store.objects.delete([key])
        elif how == "cut" and found:
            self.store.objects.put(key, found[: len(found) // 2])
        elif found:
            at = data.draw(st.integers(0, 8 * len(found) - 1))
            flipped = bytearray(found)
            flipped[at // 8] ^= 1 << at % 8
            self.store.objects.put(key, bytes(flipped))
        faulty = self.faulty.setdefault(path, set())
        faulty.add(name)
        if self.is_as_written(path, name):  # a bit that is flipped twice is no damage
            faulty.discard(name)

    def is_as_written(self, path: str, name: str) -> bool:
        try:
            data = self.store.objects.get(f"{FOLDER}/{path}/{name}")
        except FileNotFoundError:
            return False
        return hashlib.sha256(data).hexdigest() == self.named[path][1].objects[name].sha256

    @rule(dry_run=st.booleans())
    def collect(self, dry_run: bool) -> None:
        dry = self.store.collect_garbage(grace_seconds=0)
        report = self.store.collect_garbage(grace_seconds=0, dry_run=dry_run)
        assert (report.attempts, report.objects, report.bytes) == (
            dry.attempts, dry.objects, dry.bytes,
        )  # fmt: skip
        assert not {path.removeprefix(f"{FOLDER}/") for path in report.attempts} & set(self.named)
        if not dry_run:
            left = self.store.objects.list(f"{FOLDER}/clips")
            attempts = {"/".join(key.split("/")[3:6]) for key in left}
            assert attempts <= set(self.named)

    @rule(deep=st.booleans())
    def verify(self, deep: bool) -> None:
        report = self.store.verify("x", deep=deep)
        assert report.attempts == len(self.named)
        wrong = {path for path in self.named if any(path in f.key for f in report.faults)}
        assert wrong <= self.damaged
        if deep:
            assert wrong == self.damaged & set(self.named)

    @invariant()
    def reads_are_right_or_refused(self) -> None:
        if not hasattr(self, "store"):
            return
        assert set(self.store.clips("x", SIGNATURE)) == set(self.current)
        for path, (seed, commit) in self.named.items():
            if path in self.unreadable:
                with pytest.raises(IntegrityError, match=commit.path):
                    self.store.read_commit("x", SIGNATURE, commit)
            else:
                read = self.store.read_commit("x", SIGNATURE, commit)
                assert read.digest() == frames(seed).digest()
        try:
            clips = self.store.manifest("x", SIGNATURE).clips
        except CommitNotFoundError:
            assert self.published is None
        else:
            assert clips == {clip: commit for clip, (_, commit) in (self.published or {}).items()}


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(
    max_examples=int(os.environ.get("FRAMES_MODEL_EXAMPLES", "10")),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
