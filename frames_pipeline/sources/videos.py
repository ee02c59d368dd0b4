"""Videos of a source: listing, fingerprints, and local copies."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from frames_pipeline.errors import (
    SourceChangedError,
    SourceNotFoundError,
)
from frames_pipeline.io.copies import copies
from frames_pipeline.io.fetch import check_size, fetch
from frames_pipeline.io.local import is_below, open_regular, status_of
from frames_pipeline.io.objects import ObjectInfo, Objects
from frames_pipeline.sources.entries import (
    PassedOver,
    PassedOverTally,
    Reason,
    walk,
)
from frames_pipeline.sources.suffixes import SUFFIXES, checked_suffixes
from frames_pipeline.text.keys import key_of, name_of

_FUTURE: Final = 3600.0
"""Seconds by which a time may be ahead of this machine's clock; later times count as wrong."""
_PIECE: Final = 1 << 20
"""Bytes per read."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video, as its source lists it."""

    key: str
    """Path relative to the source's root, as `key_of` writes it. Identifies the video."""
    size: int
    """Bytes."""
    modified: float
    """Time of the last write, in seconds since the epoch."""
    etag: str = ""
    """The object store's ETag of these bytes; empty on a disk."""
    changed: float = field(default=0.0, compare=False, repr=False)
    """Time of the file system's last change (ctime), in seconds since the epoch; 0 if unknown.
    Programs can set `modified` to any time, but not this one."""

    def is_same_file(self, other: Video) -> bool:
        """Return whether size, time and ETag are equal, so that the fingerprint holds."""
        return (self.size, self.modified, self.etag) == (other.size, other.modified, other.etag)

    def last_change(self, now: float) -> float:
        """Return the time of the last write, ignoring times in the future; 0 if there is no other.

        >>> Video("a", 1, modified=50.0).last_change(100.0)
        50.0
        >>> in_2099 = 4070908800.0
        >>> Video("a", 1, modified=in_2099, changed=60.0).last_change(100.0)
        60.0
        """
        times = (self.modified, self.changed)
        return next((moment for moment in times if moment <= now + _FUTURE), 0.0)


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of a source."""

    videos: tuple[Video, ...]
    """The videos, by key."""
    passed_over: tuple[PassedOver, ...]
    """Skipped entries, by reason."""


class VideoSource:
    """The videos under a folder or a bucket's prefix."""

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        suffixes: Iterable[str] = SUFFIXES,
        follow_links: bool = False,
        signed: Mapping[str, str] | None = None,
    ) -> None:
        """Set the root. Opens no connection.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: fsspec options: keys, endpoint, profile.
            suffixes: Suffixes of video files, in any case.
            follow_links: Whether to follow symlinks that lead out of a local folder.
            signed: Signed names for requests, by key. The key, which is stored, has no signature.

        Raises:
            ConfigError: The URL contains credentials, or a suffix does not begin with a dot.
        """
        self._objects = Objects(url, storage_options)
        self._signed = dict(signed or {})
        self._suffixes = checked_suffixes(suffixes)
        self._follow_links = follow_links

    @property
    def url(self) -> str:
        """The root."""
        return self._objects.url

    @property
    def is_copied(self) -> bool:
        """Whether `staged` gives copies, which stay the same when the videos change."""
        return self._objects.local_path is None

    def list(self) -> tuple[Video, ...]:
        """Return every video under the root, by key, as `look` does."""
        return self.look().videos

    def look(self) -> Listing:
        """List every video under the root, and the entries passed over. Opens no file.

        Raises:
            SourceNotFoundError: The root is a folder that does not exist.
            StoreError: The root cannot be listed.
            TransientError: The source cannot be reached now.
        """
        root = self._objects.local_path
        if root is not None and not root.is_dir():
            message = f"cannot list videos: {root} is not a folder"
            raise SourceNotFoundError(message)
        videos, passed_over = [], PassedOverTally()
        for key, found in self._entries():
            if isinstance(found, Video):
                videos.append(found)
            else:
                passed_over.add(key, found)
        return Listing(tuple(sorted(videos, key=lambda video: video.key)), passed_over.done())

    def _entries(self) -> Iterator[tuple[str, Video | Reason]]:
        root = self._objects.local_path
        if root is None:
            for name, info in self._objects.list().items():
                yield key_of(name), self._reason_against(name) or _video(key_of(name), info)
            return
        with self._objects.faults(""):
            for name, found in walk(root, self._reason_against, follow_links=self._follow_links):
                key = key_of(name)
                yield key, found if isinstance(found, str) else _local_video(key, found)

    def find(self, key: str) -> Video:
        """Return one video. Opens no file.

        Raises:
            SourceNotFoundError: The video does not exist, is not a regular file, or is outside
                the source.
            SourceUnreadableError: This user may not stat the file.
        """
        if self._objects.local_path is not None:
            return _local_video(key, status_of(self._local(key)))
        try:
            return _video(key, self._objects.info(self._name(key)))
        except FileNotFoundError as error:
            message = f"{key} is gone from {self.url}"
            raise SourceNotFoundError(message) from error

    def _local(self, key: str) -> Path:
        """Return the path of a video in a local folder.

        Raises:
            SourceNotFoundError: The video does not exist, or is outside the source.
        """
        root = Path(self._objects.local_path or "")
        path = root / self._name(key)
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{key} is gone from {self.url}"
            raise SourceNotFoundError(message) from error
        except OSError:
            status_of(path)  # raises the source error
        if not self._follow_links and not is_below(path, os.path.realpath(root)):
            message = f"{key} is a link that leads out of {self.url}; set follow_links to follow it"
            raise SourceNotFoundError(message)
        return path

    def fingerprint(self, video: Video) -> str:
        """Return the fingerprint of a video's bytes: their hash, or the object store's identifier.

        Raises:
            SourceError: The video is gone, cannot be read, or is being written.
            IncompleteTransferError: The video does not arrive whole.
            TransientError: The source cannot be reached now.
        """
        if video.etag:
            return f"etag:{video.etag}-{video.size}"
        with self.staged(video, fresh=True) as path, os.fdopen(open_regular(path), "rb") as file:
            digest, size = _sha256(file, video.size if self._objects.local_path else None)
        if self._objects.local_path and (
            size != video.size or not self.find(video.key).is_same_file(video)
        ):
            message = f"{video.key} is being written; try again when the writer has finished"
            raise SourceChangedError(message)
        return f"sha256:{digest}"

    def check_unchanged(self, video: Video) -> None:
        """Check that a video is still as observed.

        Results are stored under the fingerprint of their source's bytes.

        Raises:
            SourceChangedError: The video was written since.
            SourceNotFoundError: The video is gone.
        """
        if not self.find(video.key).is_same_file(video):
            message = f"{video.key} changed since it was observed; observe the batch again"
            raise SourceChangedError(message)

    def check_read(self, video: Video) -> None:
        """Check after reading that a video is still as observed. A copy always is.

        Raises:
            SourceChangedError: The video was written since.
            SourceNotFoundError: The video is gone.
        """
        if not self.is_copied:
            self.check_unchanged(video)

    def find_same(self, key: str, fingerprint: str) -> Video:
        """Return a video as it is now, if its bytes match a fingerprint.

        Raises:
            SourceError: The video is gone, may not be read, or has other bytes.
        """
        video = self.find(key)
        if self.fingerprint(video) != fingerprint:
            message = f"{video.key} has other bytes than those that the frames came from"
            raise SourceChangedError(message)
        return video

    @contextlib.contextmanager
    def staged(
        self, video: Video, *, max_bytes: int | None = None, fresh: bool = False
    ) -> Iterator[Path]:
        """Provide a video as a local file for a `with` block.

        A remote video is copied into a folder of its own. The copy is complete and of the listed
        version. It is kept for the next reader.

        Args:
            video: The video, as listed.
            max_bytes: Limit on its size.
            fresh: Make a private copy, which is not kept.

        Raises:
            SourceNotFoundError: The video is gone, or is not a regular file in the source.
            SourceChangedError: The source now has another version.
            LimitExceededError: The video is larger than `max_bytes`.
            IncompleteTransferError: The video does not arrive whole.
            TransientError: The source cannot be reached now.
        """
        check_size(video.size, max_bytes, key=video.key)
        if self._objects.local_path is not None:
            yield self._local(video.key)
            return
        name = self._name(video.key)

        def fetch_to(path: Path) -> bool:
            listed = ObjectInfo(video.size, video.modified, video.etag)
            fetch(self._objects, name, path, listed=listed, key=video.key)
            return True

        suffix = PurePosixPath(video.key).suffix
        if fresh or not (video.etag or video.modified):
            with copies().alone(suffix) as path:
                fetch_to(path)
                yield path
            return
        where = (self.url, sorted(self._objects.storage_options.items(), key=str))
        with copies().held(repr((where, video)), suffix, video.size, fetch_to) as path:
            yield path

    def _name(self, key: str) -> str:
        return self._signed.get(key) or name_of(key)

    def _reason_against(self, name: str) -> Reason | None:
        if name.startswith(".") or "/." in name:
            return "hidden"
        return None if name.lower().endswith(self._suffixes) else "suffix"


def _sha256(file: BinaryIO, most: int | None) -> tuple[str, int]:
    """Return the hash and size of a file; reads at most one byte more than `most`."""
    sha, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE if most is None else min(_PIECE, most + 1 - size)):
        sha.update(piece)
        size += len(piece)
    return sha.hexdigest(), size


def _video(key: str, info: ObjectInfo) -> Video:
    return Video(key, info.size, info.modified, info.etag)


def _local_video(key: str, status: os.stat_result) -> Video:
    return Video(key, status.st_size, status.st_mtime, changed=status.st_ctime)
