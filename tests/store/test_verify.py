"""The report says everything that is wrong, and where."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from frames_pipeline.frames import FrameBatch
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore

MakeFrames = Callable[..., FrameBatch]

OTHER = FrameExtractionSignature(policy="middle")


@pytest.fixture
def folder(store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames) -> str:
    """A batch of two clips, one of them extracted again after it was committed."""
    for clip in ("c", "d"):
        store.write_clip("b", clip, {signature: make_frames()})
    store.commit_batch("b", signature)
    store.write_clip("b", "d", {signature: make_frames(seed=1)})
    return f"frames/b/{signature.key}"


def attempt(store: FrameStore, signature: FrameExtractionSignature, clip: str) -> str:
    """The folder of a clip's current attempt."""
    return f"frames/b/{signature.key}/{store.clips('b', signature)[clip].path}"


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.usefixtures("folder")
def test_nothing_wrong(
    store: FrameStore, signature: FrameExtractionSignature, make_frames: MakeFrames, deep: bool
) -> None:
    """Counts cover what commits and the manifest name, of one signature or of all."""
    report = store.verify("b", signature, deep=deep)
    assert report.ok
    assert (report.attempts, report.objects) == (3, 15)
    assert report.bytes == sum(
        info.size for info in store.objects.list(f"frames/b/{signature.key}/clips").values()
    )
    store.write_clip("b", "c", {OTHER: make_frames()})
    assert store.verify("b", signature, deep=deep).attempts == 3
    assert store.verify("b", deep=deep).attempts == 4
    assert store.verify("none", deep=deep).attempts == 0


@pytest.mark.usefixtures("folder")
def test_missing_and_short(store: FrameStore, signature: FrameExtractionSignature) -> None:
    """Every object is listed, not only the first."""
    path = attempt(store, signature, "c")
    store.objects.delete([f"{path}/time/c/0"])
    store.objects.put(f"{path}/frames/c/0/0/0/0", b"")
    report = store.verify("b", signature)
    assert not report.ok
    assert {(fault.key, fault.clip_id) for fault in report.faults} == {
        (f"{path}/time/c/0", "c"),
        (f"{path}/frames/c/0/0/0/0", "c"),
    }
    assert any(str(fault) == f"{path}/time/c/0 is missing" for fault in report.faults)


@pytest.mark.usefixtures("folder")
def test_flipped_bit_is_found_deep(store: FrameStore, signature: FrameExtractionSignature) -> None:
    """Sizes do not show it, hashes do."""
    path = attempt(store, signature, "c")
    data = bytearray(store.objects.get(f"{path}/time/c/0"))
    data[3] ^= 1
    store.objects.put(f"{path}/time/c/0", bytes(data))
    assert store.verify("b", signature).ok
    [fault] = store.verify("b", signature, deep=True).faults
    assert (fault.key, fault.clip_id) == (path, "c")
    assert "time/c/0 has other bytes than those committed" in str(fault)


def test_attempt_of_the_manifest_is_looked_at(
    store: FrameStore, signature: FrameExtractionSignature, folder: str
) -> None:
    """It is current for those who read the batch."""
    manifest = store.manifest("b", signature)
    store.objects.delete([f"{folder}/{manifest.clips['d'].path}/zarr.json"])
    [fault] = store.verify("b").faults
    assert fault.found == "is missing"


def test_wrong_frames_digest(
    store: FrameStore, signature: FrameExtractionSignature, folder: str
) -> None:
    """Objects that agree with their commit, whose frames do not."""
    [key] = [key for key in store.objects.list(f"{folder}/commits") if "/c-" in key]
    document = json.loads(store.objects.get(key))
    store.objects.delete([f"{folder}/manifest.json"])
    del document["sha256"]  # as version 0.1 wrote it
    store.objects.put(key, json.dumps(document | {"digest": "0"}).encode())
    assert store.verify("b").ok
    [fault] = store.verify("b", deep=True).faults
    assert "holds frames with digest" in fault.found


def test_unreadable_documents(
    store: FrameStore, signature: FrameExtractionSignature, folder: str
) -> None:
    """One bad document does not hide what else is wrong."""
    keys = [*store.objects.list(f"{folder}/commits"), f"{folder}/manifest.json"]
    for key in keys:
        store.objects.put(key, b"{}")
    store.objects.put(f"{folder}/signature.json", b"{}")
    faults = store.verify("b", signature).faults
    assert {fault.key for fault in faults} == {*keys, f"{folder}/signature.json"}
    store.objects.delete([f"{folder}/signature.json"])
    assert store.verify("b", signature).faults[0].found == "is missing"
