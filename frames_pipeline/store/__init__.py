"""Store frames in plain Zarr v3: one immutable group per attempt, published by one PUT."""

from __future__ import annotations

from frames_pipeline.store.commits import ClipCommit, Manifest, StoredObject
from frames_pipeline.store.frame_store import FrameStore
from frames_pipeline.store.gc import GRACE_SECONDS, GarbageReport
from frames_pipeline.store.reader import ClipDescription, Fault, StoredClip
from frames_pipeline.store.verify import VerifyReport

__all__ = [
    "GRACE_SECONDS",
    "ClipCommit",
    "ClipDescription",
    "Fault",
    "FrameStore",
    "GarbageReport",
    "Manifest",
    "StoredClip",
    "StoredObject",
    "VerifyReport",
]
