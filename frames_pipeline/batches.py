"""Batches: sealed lists of videos, each one partition.

A batch never changes once it is sealed. It names videos by key, so a file whose bytes change
stays in its batch, and what was made from it becomes stale there and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.objects import Objects
from frames_pipeline.videos import Video

_FORMAT: Final = "video-batch/1"
_NUMBERED: Final = re.compile(r"batch-\d+")
_PREFIX: Final = "batches/"
_SUFFIX: Final = ".json"


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
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> Batch:
        """Read a stored document."""
        try:
            document = json.loads(data)
            found = document.pop("format")
            batch = cls(**document | {"videos": tuple(document["videos"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"batch {name} cannot be read ({error!r}); restore it from a backup"
            raise IntegrityError(message) from error
        if found != _FORMAT:
            message = f"batch {name} is in format {found!r}, and this version reads {_FORMAT}"
            raise IntegrityError(message)
        return batch


@dataclass(frozen=True, slots=True)
class Batching:
    """When found videos become a batch."""

    batch_size: int = 32
    """Videos in a full batch, which is sealed at once."""
    min_batch_size: int = 1
    """Videos below which nothing is sealed, however long they wait."""
    max_wait_s: float = 60.0
    """Seconds after its last change at which the newest of a batch that is not full has waited
    long enough: until then more may come, and it may still be being written."""

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
        newest = max(video.modified for video in videos)
        return len(videos) >= self.min_batch_size and now - newest >= self.max_wait_s


class BatchRegistry:
    """The sealed batches under a root, at `batches/{key}.json`.

    Batches never change, so each is read once per instance.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Name the root; nothing is touched yet."""
        self._objects = Objects(url, storage_options)
        self._known: dict[str, Batch] = {}

    def keys(self) -> list[str]:
        """Keys of every sealed batch, in the order of sealing."""
        return sorted(
            name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
            for name in self._objects.list(_PREFIX.rstrip("/"))
            if name.endswith(_SUFFIX)
        )

    def read(self, key: str) -> Batch:
        """A sealed batch.

        Raises:
            CommitNotFoundError: There is none of that key.
        """
        if not self._read([key]):
            message = f"no batch {key!r} under {self._objects.url}; seal it first"
            raise CommitNotFoundError(message)
        return self._known[key]

    def sealed_videos(self) -> set[str]:
        """Keys of every video that is in a batch."""
        return {video for batch in self._read(self.keys()) for video in batch.videos}

    def seal(self, videos: Collection[str], *, source: str = "") -> Batch | None:
        """Seal those videos into a new batch that are in none; `None` if all of them are.

        Of two that seal at once one comes first, and the other seals what is left over.
        """
        while left := set(videos) - self.sealed_videos():
            numbers = [int(key[6:]) for key in self._known if _NUMBERED.fullmatch(key)]
            number = max(numbers, default=0) + 1
            sealed = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
            batch = Batch(f"batch-{number:06d}", tuple(sorted(left)), source, sealed)
            if self._put(batch):
                return batch
        return None

    def _put(self, batch: Batch) -> bool:
        """Whether this call sealed it, which it also did if the store's answer was lost.

        The client then tries again, and is told that the name is taken: by this very document.
        """
        name, document = f"{_PREFIX}{batch.key}{_SUFFIX}", batch.to_json()
        return self._objects.put_new(name, document) or self._objects.get(name) == document

    def _read(self, keys: Collection[str]) -> list[Batch]:
        """The batches of some keys; those that are not there are left out."""
        names = {f"{_PREFIX}{key}{_SUFFIX}": key for key in keys if key not in self._known}
        for name, data in self._objects.get_many(names).items():
            self._known[names[name]] = Batch.from_json(data, name=names[name])
        return [self._known[key] for key in keys if key in self._known]
