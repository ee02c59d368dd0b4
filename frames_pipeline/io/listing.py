"""Objects as a listing shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object, from a listing."""

    size: int
    """Bytes."""
    modified: float
    """Modification time in seconds since the epoch; 0 if the store has none."""
    etag: str = ""
    """Entity tag of the bytes in an object store; empty if it has none."""


def object_info(info: Mapping[str, Any]) -> ObjectInfo:
    """Return an entry of an fsspec listing, with one spelling for all file systems."""
    names = ("mtime", "LastModified", "last_modified", "updated", "created")
    modified = next((info[name] for name in names if info.get(name)), 0.0)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    return ObjectInfo(size=int(info["size"] or 0), modified=float(modified), etag=etag)
