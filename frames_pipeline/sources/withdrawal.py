"""The mark of a withdrawn batch: every publisher looks for it after each write.

    withdraw   mark ── delete commits, manifests, tables
    a run              … ── write ── is there a mark? then delete the write, and fail

A write before the deletion is deleted by it; a write after it finds the mark. So no result of a run
survives a withdrawal, in any interleaving.
"""

from __future__ import annotations

import datetime as dt

from frames_pipeline.errors import ConflictError
from frames_pipeline.io.objects import Objects


def mark(objects: Objects, batch: str) -> None:
    """Mark a batch as withdrawn, before any of its results are deleted."""
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    objects.put(_key(batch), moment.encode())


def unmark(objects: Objects, batch: str) -> None:
    """Allow publishing a batch again. Does nothing if it is not marked."""
    objects.delete([_key(batch)])


def is_withdrawn(objects: Objects, batch: str) -> bool:
    """Return whether a batch is marked, with one request."""
    return bool(objects.get_many([_key(batch)]))


def error(batch: str) -> ConflictError:
    """Return the error to raise instead of publishing results of a withdrawn batch."""
    message = f"batch {batch!r} was withdrawn, so its results are not published; "
    return ConflictError(message + "restore it with `frames-pipeline retire ROOT BATCH --undo`")


def _key(batch: str) -> str:
    return f"batches/{batch}.withdrawn"
