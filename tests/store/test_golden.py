"""What is stored, to the letter: data in the field is read by it, so a change here is a new format.

What differs from one write to the next (attempts, times, versions, and the hashes of documents
that hold them) is masked, and Zarr's own documents are compared in what decides how they are read.
`FRAMES_WRITE_GOLDEN=1` writes the file anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore

GOLDEN = Path(__file__).with_name("golden.json")

ZARR = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
ZARR_MORE = ("attributes", "dimension_names", "node_type", "zarr_format")


@pytest.fixture
def stored(
    store: FrameStore, make_frames: Callable[..., FrameBatch], small_shards: None
) -> FrameStore:
    """One batch of one clip of two shards, without compression: its bytes are the same anywhere."""
    signature = FrameExtractionSignature(target_fps="30000/1001", target_res=(6, 8))
    report = DecodeReport("pyav", packets_planned=8, packets_fed=9, frames_decoded=7)
    frames = make_frames(
        3,
        frames=np.arange(3 * 6 * 8 * 3, dtype=np.uint8).reshape(3, 6, 8, 3),
        corrupt=np.array([False, True, False]),
        outcome=Outcome(report, candidates=4, missing=(3,), corrupt=(1,), detail="damaged"),
    )
    store = FrameStore(store.objects.url, compression="none", durable=False)
    store.write_clip(
        "2024-05",
        "trips/day 1.mp4#0",
        {signature: frames},
        fingerprint="sha256:00",
        provenance={"av": "1"},
    )
    store.commit_batch("2024-05", signature)
    return store


def described(store: FrameStore) -> dict[str, Any]:
    """Every key, and what is said there."""
    shown = {}
    for key in store.objects.list():
        data = store.objects.get(key)
        shown[masked(key)] = shown_document(json.loads(data)) if key.endswith("json") else len(data)
    return shown


def shown_document(document: Any) -> Any:
    """A document without what differs between writes."""
    if isinstance(document, str):
        return masked(document)
    if isinstance(document, list):
        return [shown_document(value) for value in document]
    if not isinstance(document, Mapping):
        return document
    if document.get("node_type") == "array":
        document = {name: document[name] for name in (*ZARR, *ZARR_MORE)}
    shown = {name: shown_document(value) for name, value in document.items()}
    for name, value in shown.items():
        if name == "created":
            shown[name] = "CREATED"
        elif name == "provenance":
            shown[name] = {key: "VERSION" if key != "av" else value[key] for key in sorted(value)}
            shown[name].pop("frames-pipeline", None)
        elif name == "objects":
            shown[name] = {key: "OBJECT" if key.endswith("json") else value[key] for key in value}
        elif name == "bytes":
            shown[name] = "BYTES"
    shown.pop("sha256", None)
    return shown


def masked(text: str) -> str:
    """A string without its attempt."""
    return re.sub(r"[0-9a-f]{12}-[0-9a-f]{8}(?![0-9a-f])", "ATTEMPT", text)


def test_documents_of_0_1_have_no_sum_and_are_read(stored: FrameStore) -> None:
    """Documents of 0.1 have the same members except the last one, byte for byte."""
    [signature] = stored.signatures("2024-05")
    before = stored.clips("2024-05", signature), stored.manifest("2024-05", signature)
    old = [
        key for key in stored.objects.list() if key.endswith("manifest.json") or "/commits/" in key
    ]
    for key in old:
        document = json.loads(stored.objects.get(key))
        assert list(document)[-1] == "sha256"
        del document["sha256"]
        stored.objects.put(key, json.dumps(document, separators=(",", ":")).encode())
    assert len(old) == 2
    assert (stored.clips("2024-05", signature), stored.manifest("2024-05", signature)) == before
    assert stored.verify("2024-05", deep=True).ok


def test_golden(stored: FrameStore) -> None:
    """If this fails on purpose, raise the format's number, and keep reading the old one."""
    if os.environ.get("FRAMES_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(described(stored), indent=1) + "\n")
    assert described(stored) == json.loads(GOLDEN.read_text())
