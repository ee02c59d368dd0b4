"""Read and write whole objects under one root, on local disk or through fsspec.

An object is written whole or not at all: on disk by a temporary file and a rename, in an object
store by one PUT. Durable local files are synced before they get their name, and the folders above
them after it, so that a name never outlives its bytes.

Faults are `TransientError` if another try may help, `StoreAccessError` if not, and
`FileNotFoundError` for a missing object.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import IncompleteTransferError
from frames_pipeline.io.faults import (
    is_checksum_error,
    is_missing_bucket,
    missing_bucket_as_error,
    translated_faults,
)
from frames_pipeline.io.listing import ObjectInfo, object_info
from frames_pipeline.io.local_objects import (
    is_unfinished,
    list_files,
    list_folders,
    list_names,
    open_object,
    put_file,
    put_new_file,
    remove_file,
)
from frames_pipeline.io.urls import check_location, filesystem_class, split_url
from frames_pipeline.text.addresses import secret_values

if TYPE_CHECKING:
    import fsspec
else:
    fsspec = lazy_module("fsspec")

__all__ = ["ObjectInfo", "Objects", "check_location", "is_unfinished"]

T = TypeVar("T")


_S3_DEFAULTS: Final = {"max_concurrency": 1, "use_listings_cache": False}
"""s3fs sends a HEAD before every whole-object GET unless it may not split the object. It also
caches listings, which go stale when others write."""

_REMOTE_REQUESTS: Final = 16
"""Concurrent requests for many objects of a remote store."""


class Objects:
    """The objects under one URL, by key relative to it.

    The connection is made at first use, once per process, so an instance may be pickled to another
    process or inherited by a fork.
    """

    url: str
    """The root as given, without a trailing slash."""
    local_path: Path | None
    """The root as an absolute path if it is a local folder, else `None`."""
    storage_options: Mapping[str, Any]
    """Options for fsspec."""
    durable: bool
    """Whether to sync local files before they become visible."""

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Set the root. Opens no connection.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: fsspec options: keys, endpoint, profile.
            durable: Sync local files to disk before they become visible.

        Raises:
            ConfigError: The URL contains credentials or is signed, or no installed fsspec package
                supports its protocol.
        """
        protocol, rest = split_url(os.fspath(url))
        filesystem = filesystem_class(protocol)
        self.url = f"{protocol}://{rest}" if protocol else rest
        is_local = issubclass(filesystem, fsspec.get_filesystem_class("file"))
        self.local_path = Path(filesystem._strip_protocol(self.url)) if is_local else None
        defaults = _S3_DEFAULTS if protocol in ("s3", "s3a") else {}
        self.storage_options = {**defaults, **(storage_options or {})}
        self.durable = durable
        self._connection: tuple[int, fsspec.AbstractFileSystem, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the connection: each process makes its own."""
        return self.__dict__ | {"_connection": None}

    def __repr__(self) -> str:
        """Return the URL without options, which may hold secrets."""
        return f"{type(self).__name__}({self.url!r})"

    def child(self, prefix: str) -> Objects:
        """Return the objects under a prefix, with the same options."""
        return Objects(f"{self.url}/{prefix}", self.storage_options, durable=self.durable)

    def get(self, key: str) -> bytes:
        """Return the bytes of an object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        with self.faults(key):
            if self.local_path is not None:
                with open_object(Path(self.local_path, key)) as file:
                    return file.read()
            fs, root = self.connect()
            return bytes(fs.cat_file(f"{root}/{key}"))

    def get_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop) of an object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        with self.faults(key):
            if self.local_path is not None:
                with open_object(Path(self.local_path, key)) as file:
                    file.seek(start)
                    return file.read(stop - start)
            fs, root = self.connect()
            return bytes(fs.cat_file(f"{root}/{key}", start=start, end=stop))

    def info(self, key: str) -> ObjectInfo:
        """Return size, time and ETag of one object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        with self.faults(key):
            if self.local_path is not None:
                status = Path(self.local_path, key).stat()
                if stat.S_ISDIR(status.st_mode):
                    raise FileNotFoundError(key)
                return ObjectInfo(size=status.st_size, modified=status.st_mtime)
            fs, root = self.connect()
            info = fs.info(f"{root}/{key}")
            if info["type"] == "directory":
                raise FileNotFoundError(key)
            return object_info(info)

    def fetch(self, key: str, path: Path) -> None:
        """Download an object to a local file without holding it in memory.

        Raises:
            FileNotFoundError: There is no such object.
            IncompleteTransferError: The bytes that arrive do not match the store's checksum.
        """
        with self.faults(key):
            fs, root = self.connect()
            try:
                fs.get_file(f"{root}/{key}", str(path))
            except Exception as error:
                if not is_checksum_error(error):
                    raise
                message = f"the bytes that arrived of {self.url}/{key} do not match its checksum"
                raise IncompleteTransferError(message) from error

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of objects by key, fetched concurrently from a remote store.

        Missing objects are left out.
        """
        keys = list(keys)
        found = zip(keys, self._map(self._get_or_none, keys), strict=True)
        return {key: data for key, data in found if data is not None}

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing any existing one atomically."""
        with missing_bucket_as_error(self.url, key), self.faults(key):
            if self.local_path is not None:
                put_file(Path(self.local_path, key), data, durable=self.durable)
            else:
                fs, root = self.connect()
                fs.pipe_file(f"{root}/{key}", data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; return whether this call wrote it."""
        with missing_bucket_as_error(self.url, key), self.faults(key):
            if self.local_path is not None:
                return put_new_file(Path(self.local_path, key), data, durable=self.durable)
            fs, root = self.connect()
            try:
                fs.pipe_file(f"{root}/{key}", data, mode="create")
            except FileExistsError:
                return False
            return True

    def list(self, prefix: str = "") -> dict[str, ObjectInfo]:
        """Return all objects in the folder `prefix` and below, with unfinished local writes.

        A missing folder gives an empty result. A folder that cannot be listed raises an error.
        """
        with self.faults(prefix):
            if self.local_path is not None:
                return list_files(self.local_path, prefix)
            fs, root = self.connect()
            try:
                found = fs.find(_join(root, prefix), detail=True)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return {}
            return {path[len(root) + 1 :]: object_info(info) for path, info in found.items()}

    def names(self, prefix: str = "") -> Sequence[str]:
        """Return the keys of a folder without subfolders. Like `list`, without status requests."""
        if self.local_path is None:
            return list(self.list(prefix))
        with self.faults(prefix):
            return list_names(self.local_path, prefix)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the names of the immediate subfolders of `prefix`, sorted."""
        with self.faults(prefix):
            if self.local_path is not None:
                return list_folders(Path(self.local_path, prefix))
            fs, root = self.connect()
            try:
                found = fs.ls(_join(root, prefix), detail=True)
            except FileNotFoundError as error:
                if is_missing_bucket(error):
                    raise
                return []
            paths = [info["name"].rstrip("/") for info in found if info["type"] == "directory"]
            return sorted(path.rpartition("/")[2] for path in paths)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, and local folders that this leaves empty.

        Missing objects are ignored.
        """
        self._map(self._delete, list(keys))

    def stamp_now(self, keys: Iterable[str]) -> None:
        """Set the modification time of local files to now, since a writer's clock may be ahead.

        Does nothing in an object store, which uses its own clock, nor to files that this process
        may not change.
        """
        if self.local_path is not None:
            for key in keys:
                with self.faults(key), contextlib.suppress(FileNotFoundError, PermissionError):
                    os.utime(Path(self.local_path, key))

    def faults(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Convert faults of other code's access to an object, as this class does for its own."""
        return translated_faults(self.url, key, hide=secret_values(self.storage_options))

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except FileNotFoundError:
            return None

    def _delete(self, key: str) -> None:
        with self.faults(key):
            if self.local_path is not None:
                remove_file(Path(self.local_path, key), root=self.local_path)
                return
            fs, root = self.connect()
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(f"{root}/{key}")

    def _map(self, function: Callable[[str], T], keys: Sequence[str]) -> Sequence[T]:
        if self.local_path is not None or len(keys) <= 1:
            return [function(key) for key in keys]
        self.connect()
        with ThreadPoolExecutor(min(_REMOTE_REQUESTS, len(keys))) as pool:
            return list(pool.map(function, keys))

    def connect(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """Return the fsspec file system and the root's path in it, for direct access."""
        pid = os.getpid()
        if self._connection is None or self._connection[0] != pid:
            fs, root = fsspec.url_to_fs(self.url, **self.storage_options)
            self._connection = (pid, fs, root.rstrip("/"))
        return self._connection[1], self._connection[2]


def _join(root: str, prefix: str) -> str:
    return f"{root}/{prefix}".rstrip("/")
