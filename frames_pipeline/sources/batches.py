"""Batches: sealed lists of videos, each one partition.

A sealed batch never changes. It names videos by key. If a file's bytes change, the file stays in
its batch, and only that batch's results become stale. A retired batch gets a mark beside it; its
videos stay sealed in it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import (
    FOOTER_KEY,
    FOOTER_VALUE,
    UNREADABLE,
    check_footer_sum,
    check_members,
    checked_document,
    with_footer_sum,
    with_sum,
)
from frames_pipeline.sources import withdrawal
from frames_pipeline.sources.batching import Batching as Batching  # noqa: PLC0414 - public here
from frames_pipeline.text.keys import as_text

_FORMAT: Final = "video-batch/1"
NUMBERED: Final = re.compile(r"batch-\d+")
"""Pattern of the keys that `BatchRegistry.seal` makes."""
_PREFIX: Final = "batches/"
_SUFFIX: Final = ".json"
_RETIRED: Final = ".retired"
_MEMBERS: Final = {"format": str, "key": str, "sealed": str, "source": str, "videos": list}
"""Members of a batch's document, and their types."""
_INDEX: Final = f"{_PREFIX}index.parquet"
"""A copy of all batches up to some time, in one object, so that a new process need not read each
batch. The batch documents stay the source of truth."""
_INDEX_SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("sealed", pa.string()),
        ("videos", pa.list_(pa.string())),
    ],
    metadata={"format": _FORMAT, FOOTER_KEY: FOOTER_VALUE},
)
_WORTH_AN_INDEX: Final = 500
"""A small index is rewritten once this many batches are missing from it."""
_INDEX_GROWTH: Final = 16
"""A large index is rewritten once it would grow by 1/16. The number of rewrites per batch then
stays about constant, and few batches are read one by one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed list of videos."""

    key: str
    """Name of the batch and of its partition."""
    videos: tuple[str, ...]
    """Keys of the videos, sorted."""
    source: str = ""
    """URL of the source."""
    sealed: str = ""
    """Time of sealing, ISO 8601, UTC."""

    def to_json(self) -> bytes:
        """Return the document to store."""
        document = {
            "format": _FORMAT,
            "key": self.key,
            "sealed": self.sealed,
            "source": self.source,
            "videos": list(self.videos),
        }
        return with_sum(json.dumps(document, indent=1).encode())

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Batch:
        """Parse the stored document of the batch with that name.

        Raises:
            IntegrityError: It is not such a document, or is damaged.
        """
        try:
            document = checked_document(data, before={_FORMAT: _MEMBERS})
            found = document["format"]
            if found == _FORMAT:
                check_members(document, _MEMBERS)
                return cls._of(document, name)
        except UNREADABLE as error:
            message = f"batch {name} cannot be read ({error!r}); mend it with "
            message += "`frames-pipeline repair`, or restore it from a backup"
            raise IntegrityError(message) from error
        message = f"batch {name} is in format {found!r}, and this version reads {_FORMAT}; upgrade"
        raise IntegrityError(message)

    @classmethod
    def _of(cls, document: Mapping[str, Any], name: str) -> Batch:
        if document["key"] != name or not all(isinstance(key, str) for key in document["videos"]):
            message = f"it belongs to batch {document['key']!r}, or a video is not a name"
            raise ValueError(message)
        videos = tuple(map(as_text, document["videos"]))
        return cls(name, videos, document["source"], document["sealed"])


class BatchRegistry:
    """The sealed batches under a root.

    A batch is `batches/{key}.json`; a file `batches/{key}.retired` marks it as retired.

    Batches never change, so an instance reads each once. Reuse the instance if there are many.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Set the root. Opens no connection."""
        self._objects = Objects(url, storage_options)
        self._known: dict[str, Batch] = {}
        self._members: dict[str, str] = {}
        self._sealed: set[str] = set()
        self._retired: set[str] = set()
        self._last_number = 0
        self._indexed: int | None = None
        """Number of batches in the index; `None` before it is first read."""

    def keys(self) -> list[str]:
        """Return the keys of sealed batches that are not retired, in the order of sealing."""
        self._look()
        return self.seen()

    def seen(self) -> list[str]:
        """Return these keys as of the last listing, with batches that this instance sealed since.

        `sealed_videos` also lists, so one listing serves both.
        """
        return sorted(self._sealed - self._retired)

    def retired(self) -> list[str]:
        """Return the keys of retired batches, in the order of sealing."""
        self._look()
        return sorted(self._retired)

    def retire(self, key: str) -> None:
        """Stop observing and materialising a batch. Deletes nothing.

        Raises:
            CommitNotFoundError: No batch has that key.
        """
        self.read(key)
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        self._objects.put_new(f"{_PREFIX}{key}{_RETIRED}", moment.encode())

    def mark_withdrawn(self, key: str) -> None:
        """Stop all runs, including ones in progress, from publishing results of a batch."""
        withdrawal.mark(self._objects, key)

    def is_withdrawn(self, key: str) -> bool:
        """Return whether a batch is marked as withdrawn, with one request."""
        return withdrawal.is_withdrawn(self._objects, key)

    def restore(self, key: str) -> None:
        """Undo `retire` and `mark_withdrawn`. Does nothing to a batch in use."""
        withdrawal.unmark(self._objects, key)
        self._objects.delete([f"{_PREFIX}{key}{_RETIRED}"])

    def rebuild(self, batch: Batch) -> None:
        """Write the document of a sealed batch again, to replace a damaged one."""
        self._objects.put(f"{_PREFIX}{batch.key}{_SUFFIX}", batch.to_json())
        self._know(batch)

    def indexed(self) -> Mapping[str, Batch]:
        """Return the batches in the index, by key; none if it cannot be read."""
        return {batch.key: batch for batch in self._index()}

    def _look(self) -> None:
        """List the sealed and the retired batches."""
        names = [name.removeprefix(_PREFIX) for name in self._objects.names(_PREFIX.rstrip("/"))]
        self._sealed = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
        marks = {name.removesuffix(_RETIRED) for name in names if name.endswith(_RETIRED)}
        self._retired = marks & self._sealed

    def read(self, key: str) -> Batch:
        """Return a sealed batch.

        Raises:
            CommitNotFoundError: No batch has that key.
        """
        self._read([key])
        if key not in self._known:
            message = f"no batch {key!r} under {self._objects.url}; seal it first"
            raise CommitNotFoundError(message)
        return self._known[key]

    def sealed_videos(self) -> Mapping[str, str]:
        """Return the batch key of every sealed video, by video key."""
        self._look()
        if self._indexed is None and len(self._sealed) > _WORTH_AN_INDEX:
            self._take_index()
        self._read(sorted(self._sealed - self._known.keys()))
        self._keep_index()
        return MappingProxyType(self._members)

    def batch_of(self, video: str) -> str | None:
        """Return the batch key of a video; `None` if it is in no batch.

        Raises:
            IntegrityError: No readable batch has it, and a batch is damaged.
        """
        try:
            return self.sealed_videos().get(video)
        except IntegrityError:
            if video not in self._members:
                raise
            return self._members[video]

    def seal(self, videos: Collection[str], *, source: str = "") -> Batch | None:
        """Seal the videos that are in no batch into a new one; return `None` if there are none.

        If two processes seal at once, the second seals the videos that the first left.
        """
        while left := _missing(videos, self.sealed_videos()):
            batch = self._seal_next(left, source)
            if batch is not None:
                return batch
        return None

    def seal_all(self, groups: Iterable[Collection[str]], *, source: str = "") -> list[Batch]:
        """Seal one batch per group, as `seal` does, with at most one listing of sealed batches.

        An instance that has listed them before does not list again. Batch numbers are consecutive,
        so a batch that another process sealed meanwhile shows up as a taken number.
        """
        known = self._members if self._last_number else self.sealed_videos()
        sealed = []
        for group in groups:
            left = _missing(group, known)
            batch = self._seal_next(left, source) if left else None
            if left and batch is None:  # another process sealed at the same time
                batch = self.seal(left, source=source)
            if batch is not None:
                sealed.append(batch)
        self._keep_index()
        return sealed

    def _seal_next(self, videos: Collection[str], source: str) -> Batch | None:
        """Seal videos under the next number; return `None` if another process took it."""
        number = self._last_number + 1
        sealed = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        batch = Batch(f"batch-{number:06d}", tuple(sorted(videos)), as_text(source), sealed)
        if not self._put(batch):
            return None
        self._know(batch)
        self._sealed.add(batch.key)
        return batch

    def _put(self, batch: Batch) -> bool:
        """Return whether this call sealed the batch, even if the store's answer was lost.

        After a lost answer the client tries again and finds the name taken by this very document.
        """
        name, document = f"{_PREFIX}{batch.key}{_SUFFIX}", batch.to_json()
        return self._objects.put_new(name, document) or self._objects.get(name) == document

    def _read(self, keys: Iterable[str]) -> None:
        """Read the batches that are not in memory yet; missing ones are left out.

        Raises:
            IntegrityError: A batch is damaged. The others were read.
        """
        names = {f"{_PREFIX}{key}{_SUFFIX}": key for key in keys if key not in self._known}
        damaged = []
        for name, data in self._objects.get_many(names).items():
            try:
                self._know(Batch.from_json(data, name=names[name]))
            except IntegrityError as error:
                damaged.append(error)
        if damaged:
            raise damaged[0]

    def _know(self, batch: Batch) -> None:
        self._known[batch.key] = batch
        self._members |= dict.fromkeys(batch.videos, batch.key)
        if NUMBERED.fullmatch(batch.key):
            self._last_number = max(self._last_number, int(batch.key[6:]))

    def _take_index(self) -> None:
        """Read the index, if possible."""
        batches = self._index()
        for batch in batches:
            self._know(batch)
        self._indexed = len(batches)

    def index_damage(self) -> str:
        """Describe the damage of the index; empty if it is sound or missing."""
        try:
            data = self._objects.get(_INDEX)
            check_footer_sum(data)
            pq.read_table(pa.BufferReader(data))
        except FileNotFoundError:
            return ""
        except (pa.ArrowException, OSError, *UNREADABLE) as error:
            return f"is damaged ({error})"
        return ""

    def _index(self) -> list[Batch]:
        """Return the batches in the index; none if it is damaged or has no checksum, as in 0.1."""
        try:
            data = self._objects.get(_INDEX)
            if not check_footer_sum(data):
                return []
            table = pq.read_table(pa.BufferReader(data))
        except (FileNotFoundError, pa.ArrowException, OSError, *UNREADABLE):
            return []
        same = table.schema.metadata == _INDEX_SCHEMA.metadata
        if not same or not table.schema.equals(_INDEX_SCHEMA):  # the names of list items may differ
            return []
        columns = zip(*table.to_pydict().values(), strict=True)
        return [
            Batch(key, tuple(videos), source, sealed) for key, source, sealed, videos in columns
        ]

    def _keep_index(self) -> None:
        """Rewrite the index if many batches are missing from it."""
        indexed = self._indexed or 0
        if len(self._known) - indexed > max(_WORTH_AN_INDEX, indexed // _INDEX_GROWTH):
            self._put_index()

    def _put_index(self) -> None:
        batches = [self._known[key] for key in sorted(self._known)]
        rows = [
            {
                "key": one.key,
                "source": as_text(one.source),
                "sealed": one.sealed,
                "videos": one.videos,
            }
            for one in batches
        ]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, _INDEX_SCHEMA), sink, compression="zstd")
        self._objects.put(_INDEX, with_footer_sum(sink.getvalue().to_pybytes()))
        self._indexed = len(batches)


def _missing(videos: Iterable[str], known: Mapping[str, str]) -> set[str]:
    """Return the videos that are in no batch.

    A set minus a dict's keys would iterate over the whole dict.
    """
    return {video for video in videos if video not in known}
