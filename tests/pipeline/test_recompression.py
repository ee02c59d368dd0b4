"""`recompress` moves frames to another compression; pixels, digests and tables stay as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from frames_pipeline.cli import main
from frames_pipeline.errors import ConfigError, ConflictError, StoreAccessError
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline import (
    Workspace,
    estimate_changes,
    recompress_store,
    retire_batch,
    sheet_of_batch,
)
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.readers.stored_frames import open_frames
from frames_pipeline.store import ClipCommit, FrameStore
from frames_pipeline.store.chunk_codecs import COMPRESSIONS, ChunkCodec
from frames_pipeline.store.layout import SignatureFolder, clip_key
from frames_pipeline.store.recompression import codecs_of, recompress_clip, republish
from tests.libraries import need_compression
from tests.pipeline.test_damage import DAMAGED, ONE, OTHER, TWO, make_batch, make_store, tables
from tests.stored import LENGTHS, SIGNATURE, fill, noise

every_target = pytest.mark.parametrize("to", ["none", "jpegxl"])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_store(tmp_path_factory.mktemp("original"))


@pytest.fixture
def here(original: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy to change."""
    shutil.copytree(original.store.objects.url, tmp_path / "root")
    return Workspace.at(original.source.url, str(tmp_path / "root"))


def codecs(store: FrameStore, batch: str, key: str) -> set[str]:
    """Return the codecs of a batch's current clips."""
    found = codecs_of(store.objects, SignatureFolder(batch, key), store.clips(batch, key).values())
    return {codec.name for codec in found.values() if isinstance(codec, ChunkCodec)}


def everything(workspace: Workspace) -> object:
    """Return all data that others read, without the location of frames."""
    store = workspace.store
    return [
        (
            store.manifest(batch, TWO).digest,
            {clip: one.digest for clip, one in store.clips(batch, TWO).items()},
            [store.read(batch, TWO, clip).outcome for clip in store.clips(batch, TWO)],
            tables(workspace, batch),
            sheet_of_batch(store.manifest(batch, TWO), TWO, workspace),
        )
        for batch in store.batches()
    ]


@every_target
def test_the_same_frames_and_data_versions(here: Workspace, to: str) -> None:
    """Nothing is decoded, no table is written, and nothing is to be done afterwards."""
    need_compression(to)
    before, store = everything(here), here.store
    bytes_before = sum(one.bytes for one in clips_of(store))
    steps: list[tuple[int, int]] = []
    nowhere = Workspace.at("/nowhere", store.objects.url)
    report = recompress_store(
        nowhere, to=to, workers=ONE, progress=lambda *step: steps.append(step)
    )
    assert (report.moved, report.passed_over, report.outrun, report.faults) == (4, 0, 0, ())
    assert report.bytes_before == bytes_before
    assert report.bytes_after == sum(one.bytes for one in clips_of(store))
    assert steps[-1] == (4, 4)
    assert {name for batch in (DAMAGED, OTHER) for name in codecs(store, batch, TWO.key)} == {to}
    assert everything(here) == before
    assert all(store.verify(batch, deep=True).ok for batch in store.batches())
    assert [one.to_do for one in estimate_changes(DAMAGED, [TWO], here)] == [()]
    moved = clips_of(store)
    make_batch(DAMAGED, here)
    assert clips_of(store) == moved  # nothing was extracted
    assert {one.path for one in clips_of(store)} == {
        one.path for batch in (DAMAGED, OTHER) for one in store.manifest(batch, TWO).clips.values()
    }


def clips_of(store: FrameStore) -> list[ClipCommit]:
    return [one for batch in (DAMAGED, OTHER) for one in store.clips(batch, TWO).values()]


@every_target
def test_a_second_call_passes_over_and_there_is_a_way_back(here: Workspace, to: str) -> None:
    """Back in zstd, the chunks have the bytes that they had."""
    need_compression(to)
    store = here.store
    before = {one.clip_id: one.objects["frames/c/0/0/0/0"] for one in clips_of(store)}
    recompress_store(here, to=to, workers=ONE)
    moved = clips_of(store)
    again = recompress_store(here, to=to, workers=ONE)
    assert (again.moved, again.passed_over, again.bytes_after) == (0, 4, 0)
    assert clips_of(store) == moved
    back = recompress_store(here, to="zstd", workers=ONE)
    assert back.moved == 4
    assert {one.clip_id: one.objects["frames/c/0/0/0/0"] for one in clips_of(store)} == before


@every_target
def test_a_store_of_both_kinds(here: Workspace, tmp_path: Path, to: str) -> None:
    """Readers, packs and garbage collection take each clip as it is."""
    need_compression(to)
    store = here.store
    written = {one.clip_id: store.read_commit(DAMAGED, TWO, one) for one in clips(store, DAMAGED)}
    report = recompress_store(here, [DAMAGED], to=to, signatures=[TWO.key], workers=ONE)
    assert report.moved == 2
    assert (codecs(store, DAMAGED, TWO.key), codecs(store, OTHER, TWO.key)) == ({to}, {"zstd"})
    frames = open_frames(store.objects.url, signature=TWO)
    pack_frames(frames, tmp_path / "pack", compression=to)
    packed = open_pack(tmp_path / "pack")
    assert packed.verify() == ()
    for clip, batch in written.items():
        assert frames.read(clip).digest() == packed[clip].digest() == batch.digest()
        np.testing.assert_array_equal(frames.read(clip, 1, 2).frames, batch.frames[1:2])
    garbage = store.collect_garbage(grace_seconds=0, dry_run=False)
    assert len(garbage.attempts) == 2
    assert all(store.verify(batch, deep=True).ok for batch in store.batches())
    for clip, batch in written.items():
        assert store.read(DAMAGED, TWO, clip).digest() == batch.digest()


def clips(store: FrameStore, batch: str) -> list[ClipCommit]:
    return list(store.clips(batch, TWO).values())


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Return a store of six clips in two batches, with the frames of version 0.1's fields."""
    fill(str(tmp_path / "noise"))
    return str(tmp_path / "noise")


def one_step(store: FrameStore, batch: str) -> None:
    """Move the first batch in this process, as its worker processes do."""
    folder = SignatureFolder(batch, SIGNATURE.key)
    for commit in store.clips(batch, SIGNATURE).values():
        recompress_clip(store.objects, folder, commit, COMPRESSIONS["none"])
    republish(store.objects, folder, store.clips(batch, SIGNATURE))


def test_stopped_after_any_object(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All clips are whole at every point, the data version stays, and the next call finishes."""
    put = Objects.put
    store = FrameStore(root, durable=False)
    digests = {clip: one.digest for clip, one in store.clips("b1", SIGNATURE).items()}
    version = store.manifest("b1", SIGNATURE).digest
    for steps in range(1000):
        left = [steps]

        def put_some(self: Objects, key: str, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise StoreAccessError(key)
            left[0] -= 1
            put(self, key, data)

        shutil.rmtree(f"{root}-copy", ignore_errors=True)
        shutil.copytree(root, f"{root}-copy")
        copy = FrameStore(f"{root}-copy", durable=False)
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "put", put_some)
            try:
                one_step(copy, "b1")
            except StoreAccessError:
                is_done = False
            else:
                is_done = True
        for _ in range(2):
            assert {c: copy.read("b1", SIGNATURE, c).digest() for c in digests} == digests
            assert copy.manifest("b1", SIGNATURE).digest == version
            assert copy.verify("b1", deep=True).ok
            copy.collect_garbage("b1", grace_seconds=0, dry_run=False)
        workspace = Workspace.at(".", copy.objects.url)
        one_step(copy, "b1")
        assert codecs(copy, "b1", SIGNATURE.key) == {"none"}
        published = copy.manifest("b1", SIGNATURE).clips
        assert published == copy.clips("b1", SIGNATURE)
        assert workspace.store.manifest("b1", SIGNATURE).digest == version
        if is_done:
            assert steps > 3 * 6
            return
    pytest.fail("it never ended")


def extract_again(store: FrameStore, seed: int = 99) -> ClipCommit:
    """Commit other frames of the first clip, as a run does for other bytes."""
    clip = next(iter(store.clips("b1", SIGNATURE)))
    return store.write_clip("b1", clip, {SIGNATURE: noise(5, seed)}, fingerprint="new")[SIGNATURE]


@pytest.mark.parametrize("before", ["attempt", "frames", "commits"])
def test_an_extraction_meanwhile_wins(
    root: str, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """It commits before the attempt is written, during that, or between the look and the PUT."""
    store = FrameStore(root, durable=False)
    folder = SignatureFolder("b1", SIGNATURE.key)
    former = next(iter(store.clips("b1", SIGNATURE).values()))
    put, newer = Objects.put, list[ClipCommit]()

    def put_late(self: Objects, key: str, data: bytes) -> None:
        part = {"attempt": "/time/c/0", "frames": "/frames/c/", "commits": "/commits/"}[before]
        if not newer and part in key:
            monkeypatch.setattr(Objects, "put", put)
            newer.append(extract_again(store))
        put(self, key, data)

    monkeypatch.setattr(Objects, "put", put_late)
    assert recompress_clip(store.objects, folder, former, COMPRESSIONS["none"]) is None
    [newest] = newer
    now = store.commit("b1", SIGNATURE, former.clip_id)
    assert (now.path, now.digest, now.objects) == (newest.path, newest.digest, newest.objects)
    assert (now.fingerprint, now.outcome) == (newest.fingerprint, newest.outcome)
    published = store.manifest("b1", SIGNATURE)
    after = republish(store.objects, folder, store.clips("b1", SIGNATURE))
    assert after == published  # the run that extracted them publishes them
    store.commit_batch("b1", SIGNATURE)
    assert store.verify("b1", deep=True).ok
    again = recompress_store(Workspace.at(".", root), ["b1"], to="none", workers=ONE)
    assert (again.moved, again.outrun) == (len(LENGTHS["b1"]), 0)
    assert store.read("b1", SIGNATURE, former.clip_id).digest() == newest.digest


def test_a_clip_that_was_withdrawn_or_rolled_back_meanwhile(root: str) -> None:
    """The commit that is there stays, also one of an older attempt; a missing one stays missing."""
    store, folder = FrameStore(root, durable=False), SignatureFolder("b1", SIGNATURE.key)
    [first, second, _] = store.clips("b1", SIGNATURE).values()
    former = store.commit("b1", SIGNATURE, first.clip_id)
    newest = extract_again(store)
    store.put_commit("b1", former)  # restored from a backup
    assert recompress_clip(store.objects, folder, newest, COMPRESSIONS["none"]) is None
    assert store.commit("b1", SIGNATURE, first.clip_id) == former
    store.objects.delete([folder.commit(clip_key(second.clip_id))])
    assert recompress_clip(store.objects, folder, second, COMPRESSIONS["none"]) is None
    assert second.clip_id not in store.clips("b1", SIGNATURE)


def test_frames_that_differ_from_their_digest_stay(root: str) -> None:
    """Their objects fit the commit: another library, or a bug, wrote other pixels."""
    store = FrameStore(root, durable=False)
    clip = next(iter(store.clips("b1", SIGNATURE).values()))
    store.put_commit("b1", replace(clip, digest="0" * 64))
    report = recompress_store(Workspace.at(".", root), ["b1"], to="none", workers=ONE)
    assert (report.moved, [fault.clip_id for fault in report.faults]) == (2, [clip.clip_id])
    assert f"not {'0' * 64}" in report.faults[0].found
    assert store.commit("b1", SIGNATURE, clip.clip_id).path == clip.path


def test_a_newer_commit_of_the_same_frames_is_published(root: str) -> None:
    """A run that was killed before it published, or a former `recompress`."""
    store = FrameStore(root, durable=False)
    version = store.manifest("b1", SIGNATURE).digest
    clip = next(iter(store.clips("b1", SIGNATURE)))
    frames = store.read("b1", SIGNATURE, clip)
    store.write_clip("b1", clip, {SIGNATURE: frames}, fingerprint="f")
    recompress_store(Workspace.at(".", root), to="zstd", workers=ONE)
    manifest = store.manifest("b1", SIGNATURE)
    assert manifest.clips == store.clips("b1", SIGNATURE)
    assert manifest.digest == version


def test_a_batch_that_was_never_published_stays_so(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, durable=False)
    store.write_clip("b", "c", {SIGNATURE: noise(2, 0)})
    report = recompress_store(Workspace.at(".", str(tmp_path)), to="none", workers=ONE)
    assert report.moved == 1
    assert store.published("b", SIGNATURE) == {}


def test_attributes_stay(root: str) -> None:
    """Except those that describe the writing."""
    store = FrameStore(root, durable=False)
    clip = next(iter(store.clips("b1", SIGNATURE)))
    before, array = attributes(store, clip)
    recompress_store(Workspace.at(".", root), ["b1"], to="none", workers=ONE)
    recompress_store(Workspace.at(".", root), ["b1"], to="zstd", workers=ONE)
    after, array_after = attributes(store, clip)
    assert array_after == array
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"created", "recompressed_from"}
    [extracted] = Path(root).glob(f"frames/*/*/{after['recompressed_from']}/zarr.json")
    assert json.loads(extracted.read_text())["attributes"] == before


def attributes(store: FrameStore, clip: str) -> tuple[dict[str, Any], dict[str, Any]]:
    commit = store.commit("b1", SIGNATURE, clip)
    key = f"frames/b1/{SIGNATURE.key}/{commit.path}/zarr.json"
    group = json.loads(store.objects.get(key))
    array: dict[str, Any] = group["consolidated_metadata"]["metadata"]["frames"]["attributes"]
    return group["attributes"], array


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "moved"),
    [
        ("frames/b1/*/clips/b1-v0*/*/frames/c/0/0/0/0", 5),
        ("frames/b1/*/clips/b1-v0*/*/zarr.json", 5),
        ("frames/b1/*/commits/b1-v0*.json", 5),
        ("frames/b1/*/manifest.json", 6),
    ],
)
def test_damaged_clips_stay_as_they_are_and_are_reported(
    root: str, pattern: str, moved: int
) -> None:
    [path] = Path(root).glob(pattern)
    flip(path)
    before = path.read_bytes()
    report = recompress_store(Workspace.at(".", root), to="none", workers=ONE)
    assert (report.moved, len(report.faults)) == (moved, 1)
    assert path.read_bytes() == before
    command = ["recompress", root, "--to", "none", "--processes", "1", "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["moved"], found["passed_over"], len(found["faults"])) == (0, moved, 1)


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"to": "lzma"}, "no compression 'lzma'"),
        ({"to": "none", "batches": ["b9"]}, "no frames of batch 'b9'"),
        ({"to": "none", "signatures": ["x-0123456789abcdef"]}, "no frames of signature 'x-0123"),
    ],
)
def test_wrong_requests(root: str, choice: dict[str, Any], match: str) -> None:
    before = Objects(root).list()
    with pytest.raises(ConfigError, match=match):
        recompress_store(Workspace.at(".", root), workers=ONE, **choice)
    assert Objects(root).list() == before


def test_a_withdrawn_batch_stays_withdrawn(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is withdrawn while its clips are moved."""
    put: Callable[[Objects, str, bytes], None] = Objects.put

    def put_late(self: Objects, key: str, data: bytes) -> None:
        if key.endswith("manifest.json"):
            monkeypatch.setattr(Objects, "put", put)
            retire_batch(DAMAGED, here, withdraw=True)
        put(self, key, data)

    monkeypatch.setattr(Objects, "put", put_late)
    with pytest.raises(ConflictError, match=DAMAGED):
        recompress_store(here, [DAMAGED], to="none", workers=ONE)
    assert here.store.clips(DAMAGED, TWO) == {}
    assert here.store.published(DAMAGED, TWO) == {}


def test_the_command(root: str) -> None:
    command = ["recompress", root, "--to", "none", "--batch", "b1", "--processes", "1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    said = {name.strip(): text.strip() for name, _, text in map(halves, done.stdout.splitlines())}
    assert (said["moved"], said["faults"]) == ("3", "0")


def halves(line: str) -> tuple[str, str, str]:
    return line.partition("  ")
