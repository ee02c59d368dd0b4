"""Batches: sealed lists of videos, each one partition.

A batch never changes once it is sealed. It names videos by key, so a file whose bytes change
stays in its batch, and what was made from it becomes stale there and nowhere else. One that is no
longer wanted is retired: a mark beside it says so, and its videos stay sealed in it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
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
from frames_pipeline.sources.videos import Video
from frames_pipeline.text.keys import as_text

_FORMAT: Final = "video-batch/1"
NUMBERED: Final = re.compile(r"batch-\d+")
"""Keys that `BatchRegistry.seal` gives."""
_PREFIX: Final = "batches/"
_SUFFIX: Final = ".json"
_RETIRED: Final = ".retired"
_MEMBERS: Final = {"format": str, "key": str, "sealed": str, "source": str, "videos": list}
"""Members of a batch's document, and their types."""
_INDEX: Final = f"{_PREFIX}index.parquet"
"""A copy of every batch sealed up to some time, in one object, so that a new process does not read
each batch. The batches themselves stay the source of truth."""
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
"""While the index is small, write it again once this many batches are outside it."""
_INDEX_GROWTH: Final = 16
"""Write a large index again once it would grow by 1/16. The number of rewrites per batch then stays
about constant, and few batches are read one by one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed list of videos."""

    key: str
    """Its name, and the partition's."""
    videos: tuple[str, ...]
    """Keys of its videos, sorted."""
    source: str = ""
    """Where they were found."""
    sealed: str = ""
    """When it was sealed, ISO 8601, UTC."""

    def to_json(self) -> bytes:
        """The document that is stored."""
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
        """Read a stored document, which must be of the batch of that name.

        Raises:
            IntegrityError: It is none, or not as it was written.
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
        message = f"batch {name} is in format {found!r}, and this version reads {_FORMAT}"
        raise IntegrityError(message)

    @classmethod
    def _of(cls, document: Mapping[str, Any], name: str) -> Batch:
        if document["key"] != name or not all(isinstance(key, str) for key in document["videos"]):
            message = f"it is of batch {document['key']!r}, or its videos are no names"
            raise ValueError(message)
        videos = tuple(map(as_text, document["videos"]))
        return cls(name, videos, document["source"], document["sealed"])


@dataclass(frozen=True, slots=True)
class Batching:
    """When found videos become a batch."""

    batch_size: int = 32
    """Videos in a full batch, which is sealed at once."""
    min_batch_size: int = 1
    """Videos below which nothing is sealed, however long they wait."""
    max_wait_s: float = 60.0
    """Seconds after its last change at which the newest of a batch that is not full has waited
    long enough: until then more may come, and it may still be being written. A time that lies more
    than an hour ahead counts for nothing: see `Video.last_change`."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be met."""
        if not 1 <= self.min_batch_size <= self.batch_size:
            message = f"min_batch_size={self.min_batch_size} must be between 1 and batch_size="
            raise ConfigError(f"{message}{self.batch_size}")
        if self.max_wait_s < 0:
            message = f"max_wait_s={self.max_wait_s} must not be below zero"
            raise ConfigError(message)

    def groups(self, waiting: Sequence[Video], *, now: float) -> list[tuple[str, ...]]:
        """Keys of the videos that make up each batch to seal now.

        Args:
            waiting: Videos that are in no batch.
            now: Seconds since the epoch.
        """
        settled = sorted((video for video in waiting), key=lambda video: video.key)
        chunks = [
            settled[start : start + self.batch_size]
            for start in range(0, len(settled), self.batch_size)
        ]
        return [tuple(video.key for video in chunk) for chunk in chunks if self._is_due(chunk, now)]

    def _is_due(self, videos: Sequence[Video], now: float) -> bool:
        if len(videos) == self.batch_size:
            return True
        newest = max(video.last_change(now) for video in videos)
        return len(videos) >= self.min_batch_size and now - newest >= self.max_wait_s


class BatchRegistry:
    """The sealed batches under a root, at `batches/{key}.json`; `batches/{key}.retired` marks some.

    Batches never change, so each is read once per instance: keep the instance where there are many.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Name the root; nothing is touched yet."""
        self._objects = Objects(url, storage_options)
        self._known: dict[str, Batch] = {}
        self._members: dict[str, str] = {}
        self._sealed: set[str] = set()
        self._retired: set[str] = set()
        self._last_number = 0
        self._indexed: int | None = None
        """Number of batches in the index; `None` before it is first read."""

    def keys(self) -> list[str]:
        """Keys of the sealed batches that are not retired, in the order of sealing."""
        self._look()
        return self.seen()

    def seen(self) -> list[str]:
        """Return these keys as of the last listing, plus batches that this instance sealed since.

        `sealed_videos` lists too, so one listing does for both.
        """
        return sorted(self._sealed - self._retired)

    def retired(self) -> list[str]:
        """Keys of the batches that are retired, in the order of sealing."""
        self._look()
        return sorted(self._retired)

    def retire(self, key: str) -> None:
        """Have a batch no longer looked at or made; nothing of it is deleted.

        Raises:
            CommitNotFoundError: There is none of that key.
        """
        self.read(key)
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        self._objects.put_new(f"{_PREFIX}{key}{_RETIRED}", moment.encode())

    def mark_withdrawn(self, key: str) -> None:
        """Stop all runs, including those in progress, from publishing anything of a batch."""
        withdrawal.mark(self._objects, key)

    def is_withdrawn(self, key: str) -> bool:
        """Whether a batch is marked as withdrawn: one request."""
        return withdrawal.is_withdrawn(self._objects, key)

    def restore(self, key: str) -> None:
        """Undo `retire` and `mark_withdrawn`. Does nothing to a batch that is in use."""
        withdrawal.unmark(self._objects, key)
        self._objects.delete([f"{_PREFIX}{key}{_RETIRED}"])

    def rebuild(self, batch: Batch) -> None:
        """Put the document of a sealed batch again, in place of one that cannot be read."""
        self._objects.put(f"{_PREFIX}{batch.key}{_SUFFIX}", batch.to_json())
        self._know(batch)

    def indexed(self) -> Mapping[str, Batch]:
        """Return the batches that the index has copies of, by key; none if it cannot be read."""
        return {batch.key: batch for batch in self._index()}

    def _look(self) -> None:
        """List the sealed batches, and which of them are retired."""
        names = [name.removeprefix(_PREFIX) for name in self._objects.names(_PREFIX.rstrip("/"))]
        self._sealed = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
        marks = {name.removesuffix(_RETIRED) for name in names if name.endswith(_RETIRED)}
        self._retired = marks & self._sealed

    def read(self, key: str) -> Batch:
        """A sealed batch.

        Raises:
            CommitNotFoundError: There is none of that key.
        """
        self._read([key])
        if key not in self._known:
            message = f"no batch {key!r} under {self._objects.url}; seal it first"
            raise CommitNotFoundError(message)
        return self._known[key]

    def sealed_videos(self) -> Mapping[str, str]:
        """The batch of every video that is in one, by key of the video."""
        self._look()
        if self._indexed is None and len(self._sealed) > _WORTH_AN_INDEX:
            self._take_index()
        self._read(sorted(self._sealed - self._known.keys()))
        self._keep_index()
        return MappingProxyType(self._members)

    def batch_of(self, video: str) -> str | None:
        """The batch of a video; `None` if it is in none.

        Raises:
            IntegrityError: It is in no batch that can be read, and one cannot.
        """
        try:
            return self.sealed_videos().get(video)
        except IntegrityError:
            if video not in self._members:
                raise
            return self._members[video]

    def seal(self, videos: Collection[str], *, source: str = "") -> Batch | None:
        """Seal those videos into a new batch that are in none; `None` if all of them are.

        Of two that seal at once one comes first, and the other seals what is left over.
        """
        while left := _missing(videos, self.sealed_videos()):
            batch = self._seal_next(left, source)
            if batch is not None:
                return batch
        return None

    def seal_all(self, groups: Iterable[Collection[str]], *, source: str = "") -> list[Batch]:
        """Seal a batch of each group, as `seal` does, with at most one listing of sealed batches.

        An instance that has listed them before does not list again. Batches are numbered in a row,
        so a batch that another process sealed meanwhile shows up as a taken number.
        """
        known = self._members if self._last_number else self.sealed_videos()
        sealed = []
        for group in groups:
            left = _missing(group, known)
            batch = self._seal_next(left, source) if left else None
            if left and batch is None:  # another sealed at the same time
                batch = self.seal(left, source=source)
            if batch is not None:
                sealed.append(batch)
        self._keep_index()
        return sealed

    def _seal_next(self, videos: Collection[str], source: str) -> Batch | None:
        """Seal videos under the next number; `None` if another took it."""
        number = self._last_number + 1
        sealed = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        batch = Batch(f"batch-{number:06d}", tuple(sorted(videos)), as_text(source), sealed)
        if not self._put(batch):
            return None
        self._know(batch)
        self._sealed.add(batch.key)
        return batch

    def _put(self, batch: Batch) -> bool:
        """Whether this call sealed it, which it also did if the store's answer was lost.

        The client then tries again, and is told that the name is taken: by this very document.
        """
        name, document = f"{_PREFIX}{batch.key}{_SUFFIX}", batch.to_json()
        return self._objects.put_new(name, document) or self._objects.get(name) == document

    def _read(self, keys: Iterable[str]) -> None:
        """Read the batches that are not known yet; missing ones are left out.

        Raises:
            IntegrityError: One is damaged; the others are known then.
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
        """Know what the index has, if it can be read."""
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
        """The batches in the index: none where it is damaged, or without a sum, as of 0.1."""
        try:
            data = self._objects.get(_INDEX)
            if not check_footer_sum(data):
                return []
            table = pq.read_table(pa.BufferReader(data))
        except (FileNotFoundError, pa.ArrowException, OSError, *UNREADABLE):
            return []
        same = table.schema.metadata == _INDEX_SCHEMA.metadata
        if not same or not table.schema.equals(
            _INDEX_SCHEMA
        ):  # the names of list items are no matter
            return []
        columns = zip(*table.to_pydict().values(), strict=True)
        return [
            Batch(key, tuple(videos), source, sealed) for key, source, sealed, videos in columns
        ]

    def _keep_index(self) -> None:
        """Write the index again where many batches are outside of it."""
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
    """Those that are in no batch. A set minus the keys of a dict goes through all of the dict."""
    return {video for video in videos if video not in known}
