"""What goes in comes out, and how it becomes visible."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import fsspec
import numpy as np
import pytest

from frames_pipeline.errors import CommitNotFoundError, ConfigError, ConflictError, StoreError
from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore

MakeFrames = Callable[..., FrameBatch]
AssertSame = Callable[[FrameBatch, FrameBatch], None]

OTHER = FrameExtractionSignature(policy="middle")


@pytest.fixture(params=product(["memory", "path", "file"], ["zstd", "none"]))
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> FrameStore:
    """An empty store of each kind."""
    fsspec.filesystem("memory").store.clear()
    kind, codec = request.param
    urls = {"memory": "memory://root", "path": str(tmp_path), "file": f"file://{tmp_path}"}
    return FrameStore(urls[kind], compression=codec)


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 1, 1), (5, 6, 8), (4, 37, 53), (7, 270, 480)])
def test_round_trip(
    any_store: FrameStore,
    shape: tuple[int, int, int],
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Any size, any number of frames, any kind of root, any codec."""
    store, frames = any_store, make_frames(*shape)
    commit = store.write_clip("b", "clip", {signature: frames}, fingerprint="f")[signature]
    assert_same(store.read("b", signature, "clip"), frames)
    assert_same(store.read("b", signature.key, "clip"), frames)
    assert store.clips("b", signature) == {"clip": commit}
    assert (commit.num_frames, commit.height, commit.width) == shape
    assert (commit.digest, commit.fingerprint) == (frames.digest(), "f")
    assert commit.outcome == frames.outcome
    assert store.verify("b", deep=True).ok


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.usefixtures("small_shards")
def test_round_trip_over_shards(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
    n: int,
) -> None:
    """Clips of several shards, the last one whole or not."""
    frames = make_frames(n)
    commit = store.write_clip("b", "clip", {signature: frames})[signature]
    assert len(commit.objects) == 4 + -(-n // 2)
    assert_same(store.read("b", signature, "clip"), frames)
    np.testing.assert_array_equal(store.open("b", signature, "clip").frames[:], frames.frames)


def test_repeated_black_and_partial(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Repeats are kept, black is a picture, and what is missing is remembered."""
    report = DecodeReport("nvdec", device="H200", packets_planned=9, fallback="seek failed")
    frames = make_frames(
        3,
        frames=np.zeros((3, 6, 8, 3), np.uint8),
        positions=np.array([4, 4, 9]),
        pts=np.array([-1001, -1001, 2**40]),
        time_base=Fraction(1001, 30000),
        corrupt=np.array([False, False, True]),
        outcome=Outcome(
            report, candidates=12, missing=(6, 8), corrupt=(9,), timestamps="counted", detail="é\n"
        ),
    )
    store.write_clip("b", "clip", {signature: frames})
    assert_same(store.read("b", signature, "clip"), frames)
    assert store.clips("b", signature)["clip"].outcome.status == "partial"


def test_frames_that_are_not_contiguous(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Views, of other memory order or read-only, are stored as what they show."""
    whole = make_frames(4, 12, 16)
    view = replace(whole, frames=whole.frames[:, ::-2, ::2, ::-1])
    view.frames.setflags(write=False)
    store.write_clip("b", "clip", {signature: view})
    assert_same(store.read("b", signature, "clip"), view)


def test_several_signatures_and_batches(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Each has its own place."""
    first, second, third = (make_frames(seed=seed) for seed in range(3))
    commits = store.write_clip("b", "clip", {signature: first, OTHER: second})
    store.write_clip("b2", "clip", {signature: third})
    assert list(commits) == [signature, OTHER]
    assert commits[OTHER].signature_key == OTHER.key
    assert_same(store.read("b", signature, "clip"), first)
    assert_same(store.read("b", OTHER, "clip"), second)
    assert_same(store.read("b2", signature, "clip"), third)
    assert store.clips("b2", OTHER) == {}


@pytest.mark.parametrize("clip", ["a/../../b", "a\0b", "\udcff.mp4#0", "x" * 3000, "é", "É", "."])
def test_odd_clip_ids(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames, clip: str
) -> None:
    """Ids are told apart by their bytes, and given back as they were."""
    store.write_clip("b", clip, {signature: make_frames()})
    assert list(store.clips("b", signature)) == [clip]
    assert store.open("b", signature, clip).attributes["clip_id"] == clip
    store.commit_batch("b", signature)
    assert list(store.manifest("b", signature).clips) == [clip]


def test_nothing_to_write(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """An empty clip is refused before anything is written, for any signature."""
    with pytest.raises(ConfigError, match=r"clip 'c' has no frames to store: FrameBatch\(0 frames"):
        store.write_clip("b", "c", {OTHER: make_frames(), signature: make_frames(0)})
    with pytest.raises(ConfigError, match="provenance of clip 'c' is not JSON"):
        store.write_clip("b", "c", {OTHER: make_frames()}, provenance={"av": float("nan")})
    with pytest.raises(ConfigError, match="batch key 'b,c' cannot be used"):
        store.write_clip("b,c", "c", {OTHER: make_frames()})
    assert store.objects.list() == {}


def test_signature_conflict(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """A folder that says it holds other frames is not written to."""
    store.write_clip("b", "first", {signature: make_frames()})
    store.write_clip("b", "second", {signature: make_frames()})
    key = f"frames/b/{signature.key}/signature.json"
    assert store.objects.get(key).decode() == signature.canonical_json()
    store.objects.put(key, OTHER.canonical_json().encode())
    with pytest.raises(ConflictError, match=r"signature\.json holds another signature than"):
        FrameStore(store.objects.url).write_clip("b", "third", {signature: make_frames()})
    with pytest.raises(ConflictError, match="move that folder away"):
        store.commit_batch("b", signature)
    assert list(store.clips("b", signature)) == ["first", "second"]


def test_provenance(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """The caller's facts stand beside the versions of the libraries that wrote."""
    store.write_clip("b", "c", {signature: make_frames()}, provenance={"av": "15.1", "run": [1]})
    provenance = store.open("b", signature, "c").attributes["provenance"]
    assert provenance["av"] == "15.1"
    assert provenance["run"] == [1]
    assert {"python", "zarr", "numcodecs", "numpy"} <= provenance.keys()


def test_group_document_is_last_but_for_the_commit(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A writer that stops at any put leaves no new clip, and what was there stays readable."""
    store.write_clip("b", "c", {signature: make_frames(seed=0)})
    old = store.clips("b", signature)
    put = Objects.put
    room: list[None] = []
    done: list[str] = []

    def put_some(self: Objects, key: str, data: bytes) -> None:
        if not room:
            message = "disk full"
            raise StoreError(message)
        room.pop()
        done.append(key)
        put(self, key, data)

    monkeypatch.setattr(Objects, "put", put_some)
    for puts in range(6):
        room[:] = [None] * puts
        with pytest.raises(StoreError, match="disk full"):
            store.write_clip("b", "c", {signature: make_frames(seed=1)})
        assert store.clips("b", signature) == old
        assert store.verify("b", deep=True).ok
    assert [key.split("/", 6)[6] for key in done[-3:]] == [
        "time/zarr.json",
        "time/c/0",
        "zarr.json",
    ]
    room[:] = [None] * 6
    store.write_clip("b", "c", {signature: make_frames(seed=1)})
    assert done[-1].startswith(f"frames/b/{signature.key}/commits/c-")


def test_manifest_is_a_snapshot(
    store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: MakeFrames,
    assert_same: AssertSame,
) -> None:
    """Who holds a manifest reads what it names, whatever is committed afterwards."""
    old, new = make_frames(seed=0), make_frames(seed=1)
    store.write_clip("b", "c", {signature: old})
    manifest = store.commit_batch("b", signature)
    store.write_clip("b", "c", {signature: new})
    store.write_clip("b", "d", {signature: new})
    assert store.manifest("b", signature) == manifest
    assert_same(store.read_commit("b", signature, manifest.clips["c"]), old)
    assert_same(store.read("b", signature, "c"), new)
    store.commit_batch("b", signature)
    assert_same(store.read_commit("b", signature, manifest.clips["c"]), old)
    assert list(store.manifest("b", signature).clips) == ["c", "d"]


def test_digest_ignores_attempts(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """The same frames again are the same data version; other frames, or clips, are another."""
    for clip in ("c", "d"):
        store.write_clip("b", clip, {signature: make_frames()})
    first = store.commit_batch("b", signature)
    FrameStore(store.objects.url, compression="none").write_clip(
        "b", "c", {signature: make_frames()}, fingerprint="touched", provenance={"run": 2}
    )
    again = store.commit_batch("b", signature)
    assert again.clips["c"].path != first.clips["c"].path
    assert again.digest == first.digest
    assert store.commit_batch("b", signature, ["c"]).digest != first.digest
    store.write_clip("b", "c", {signature: make_frames(seed=1)})
    assert store.commit_batch("b", signature).digest != first.digest


def test_unchanged_batch_is_not_written(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """Committing the same again changes nothing, but a damaged manifest is replaced."""
    store.write_clip("b", "c", {signature: make_frames()})
    manifest = store.commit_batch("b", signature)
    assert store.commit_batch("b", signature) == manifest
    store.objects.put(f"frames/b/{signature.key}/manifest.json", b"{}")
    assert store.commit_batch("b", signature).created > manifest.created


def test_commit_of_named_clips(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames
) -> None:
    """Just those, each of which must be there."""
    for clip in ("c", "d", "e"):
        store.write_clip("b", clip, {signature: make_frames()})
    assert list(store.commit_batch("b", signature, ["e", "c"]).clips) == ["c", "e"]
    with pytest.raises(CommitNotFoundError, match=r"clip 'x' is not committed in .* \(nor are 1 m"):
        store.commit_batch("b", signature, ["x", "c", "y"])
    assert list(store.manifest("b", signature).clips) == ["c", "e"]


def test_empty_batch(store: FrameStore, signature: FrameExtractionSignature) -> None:
    """A batch of which no clip came out is a batch."""
    manifest = store.commit_batch("b", signature)
    assert manifest.clips == {}
    assert manifest.signature == json.loads(signature.canonical_json())
    assert store.manifest("b", signature.key) == manifest


def test_nothing_is_committed(store: FrameStore, signature: FrameExtractionSignature) -> None:
    """What is asked for by name must be there."""
    assert store.clips("b", signature) == {}
    with pytest.raises(CommitNotFoundError, match=r"'c' is not committed in frames/b/.*; extr"):
        store.read("b", signature, "c")
    with pytest.raises(CommitNotFoundError, match=r"'c' is not committed in frames/b/.*; extr"):
        store.open("b", signature, "c")
    with pytest.raises(CommitNotFoundError, match="has no manifest; commit the batch first"):
        store.manifest("b", signature)


def test_memory_is_shared(signature: FrameExtractionSignature, make_frames: MakeFrames) -> None:
    """Two stores in one process with one memory:// root are one store."""
    fsspec.filesystem("memory").store.clear()
    FrameStore("memory://shared").write_clip("b", "c", {signature: make_frames()})
    assert list(FrameStore("memory://shared/").clips("b", signature)) == ["c"]
