"""The mark of a withdrawn batch: every publisher looks for it after each write.

    withdraw   mark ── delete commits, manifests, tables
    a run              … ── write ── is there a mark? then take it back, and fail

A write before the deletion is deleted by it; one after it finds the mark. So nothing that a run
publishes outlives a withdrawal, however the two interleave.
"""

from __future__ import annotations

import datetime as dt

from frames_pipeline.errors import ConflictError
from frames_pipeline.io.objects import Objects


def mark(objects: Objects, batch: str) -> None:
    """Mark a batch as withdrawn, before anything of it is deleted."""
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    objects.put(_key(batch), moment.encode())


def unmark(objects: Objects, batch: str) -> None:
    """Let a batch be published again. Does nothing if it is not marked."""
    objects.delete([_key(batch)])


def is_withdrawn(objects: Objects, batch: str) -> bool:
    """Whether a batch is marked: one request."""
    return bool(objects.get_many([_key(batch)]))


def error(batch: str) -> ConflictError:
    """The error to raise where something of a withdrawn batch was to be published."""
    message = f"batch {batch!r} was withdrawn: nothing of it is published; "
    return ConflictError(message + "bring it back with `frames-pipeline retire ROOT BATCH --undo`")


def _key(batch: str) -> str:
    return f"batches/{batch}.withdrawn"
