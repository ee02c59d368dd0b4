"""Videos: what lies under a source, what its bytes are, and how they come onto this machine."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from frames_pipeline.addresses import folder_and_name, without_secrets
from frames_pipeline.copies import copies
from frames_pipeline.errors import LimitExceededError, SourceNotFoundError
from frames_pipeline.objects import ObjectInfo, Objects

SUFFIXES: Final = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
    ".flv", ".wmv", ".ogv", ".3gp", ".mxf",
)  # fmt: skip
"""File names that are taken for videos, whatever their case."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video as its source lists it."""

    key: str
    """Path relative to the source's root: what identifies it."""
    size: int
    """Bytes."""
    modified: float
    """When it was written, in seconds since the epoch."""
    etag: str = ""
    """What an object store calls these very bytes; empty on a disk."""

    def is_same_file(self, other: Video) -> bool:
        """Whether nothing says that the bytes are others: the fingerprint need not be taken."""
        return (self.size, self.modified, self.etag) == (other.size, other.modified, other.etag)


class VideoSource:
    """The videos under a folder or a bucket's prefix."""

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        suffixes: tuple[str, ...] = SUFFIXES,
        signed: Mapping[str, str] | None = None,
    ) -> None:
        """Name the root; nothing is touched yet.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: What fsspec needs to reach it: keys, endpoint, profile.
            suffixes: File names that are taken for videos.
            signed: By key, the name by which a video is asked for where that is signed: it is no
                part of the key, which is stored.
        """
        self._objects = Objects(url, storage_options)
        self._signed = dict(signed or {})
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)

    @property
    def url(self) -> str:
        """The root."""
        return self._objects.url

    @property
    def is_copied(self) -> bool:
        """Whether `staged` gives copies, which stay as they are whatever becomes of the videos."""
        return self._objects.local_path is None

    def list(self) -> tuple[Video, ...]:
        """Every video under the root, by key.

        Raises:
            SourceNotFoundError: The root is a folder that is not there.
            StoreError: The root may not be listed.
            TransientError: It cannot be reached now.
        """
        root = self._objects.local_path
        if root is not None and not root.is_dir():
            message = f"cannot list videos: {root} is not a folder"
            raise SourceNotFoundError(message)
        found = self._objects.list()
        return tuple(_video(key, info) for key, info in sorted(found.items()) if self._takes(key))

    def find(self, key: str) -> Video:
        """One video.

        Raises:
            SourceNotFoundError: It is not there.
        """
        try:
            return _video(key, self._objects.info(self._name(key)))
        except FileNotFoundError as error:
            message = f"{key} is gone from {self.url}"
            raise SourceNotFoundError(message) from error

    def fingerprint(self, video: Video) -> str:
        """What a video's bytes are: a hash of them, or what the object store calls them."""
        if video.etag:
            return f"etag:{video.etag}-{video.size}"
        with self.staged(video, fresh=True) as path, path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    @contextlib.contextmanager
    def staged(
        self, video: Video, *, max_bytes: int | None = None, fresh: bool = False
    ) -> Iterator[Path]:
        """A video as a local file, for the time of a `with` block.

        A remote one is copied into a folder of its own, which no other file shares. The copy is
        kept for the next who wants it, unless the video changed while it was made.

        Args:
            video: The video, as it was listed.
            max_bytes: The most that it may have.
            fresh: Make a copy of one's own, which is not kept.

        Raises:
            SourceNotFoundError: It is gone.
            LimitExceededError: It is larger.
            TransientError: It cannot be reached now.
        """
        objects, suffix = self._objects, PurePosixPath(video.key).suffix
        name = self._name(video.key)
        if objects.local_path is not None or fresh or not (video.etag or video.modified):
            with _staged(objects, name, video.size, max_bytes) as path:
                yield path
            return

        def fetch(path: Path) -> bool:
            _fetch(objects, name, path)
            return self.find(video.key).is_same_file(video)

        _check_size(video.key, video.size, max_bytes)
        where = (objects.url, sorted(objects.storage_options.items(), key=str))
        with copies().held(repr((where, video)), suffix, video.size, fetch) as path:
            yield path

    def _name(self, key: str) -> str:
        return self._signed.get(key, key)

    def _takes(self, key: str) -> bool:
        is_hidden = key.startswith(".") or "/." in key
        return not is_hidden and key.lower().endswith(self._suffixes)


@contextlib.contextmanager
def staged_url(url: str, *, max_bytes: int | None = None) -> Iterator[Path]:
    """What a URL names, as a local file, for the time of a `with` block."""
    root, key = folder_and_name(url)
    objects = Objects(root)
    try:
        size = objects.info(key).size
    except FileNotFoundError as error:
        message = f"cannot read {url}: there is nothing there"
        raise SourceNotFoundError(message) from error
    with _staged(objects, key, size, max_bytes) as path:
        yield path


@contextlib.contextmanager
def _staged(objects: Objects, key: str, size: int, max_bytes: int | None) -> Iterator[Path]:
    _check_size(key, size, max_bytes)
    if objects.local_path is not None:
        yield objects.local_path / key
        return
    with copies().alone(PurePosixPath(without_secrets(key)).suffix) as path:
        _fetch(objects, key, path)
        yield path


def _check_size(key: str, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        message = f"{key} has {size} bytes, and the limit is {max_bytes}"
        raise LimitExceededError(message)


def _fetch(objects: Objects, key: str, path: Path) -> None:
    try:
        objects.fetch(key, path)
    except FileNotFoundError as error:
        message = f"{key} is gone from {objects.url}"
        raise SourceNotFoundError(message) from error


def _video(key: str, info: ObjectInfo) -> Video:
    return Video(key, info.size, info.modified, info.etag)
