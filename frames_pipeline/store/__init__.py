"""Store frames in plain Zarr v3: one immutable group per attempt, published by one PUT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_names

if TYPE_CHECKING:
    from frames_pipeline.store.commits import ClipCommit, Manifest, StoredObject
    from frames_pipeline.store.committed import Fault
    from frames_pipeline.store.frame_store import FrameStore
    from frames_pipeline.store.gc import GarbageReport
    from frames_pipeline.store.layout import GRACE_SECONDS
    from frames_pipeline.store.reader import ClipDescription, StoredClip
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

_HOMES: Final = {
    "commits": (
        "ClipCommit",
        "Manifest",
        "StoredObject",
    ),
    "committed": ("Fault",),
    "frame_store": ("FrameStore",),
    "gc": ("GarbageReport",),
    "layout": ("GRACE_SECONDS",),
    "reader": (
        "ClipDescription",
        "StoredClip",
    ),
    "verify": ("VerifyReport",),
}

__getattr__ = lazy_names(__name__, _HOMES)
