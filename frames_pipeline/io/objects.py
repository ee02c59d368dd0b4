"""Whole objects under one root, on local disk or anywhere fsspec reaches.

An object is put whole or not at all: on disk by a temporary file and a rename, in an object store
by one PUT. Durable local files are synced before they get their name, and the folders above them
after it, so that a name never outlives its bytes and an object that was put stays put.

Faults come out as the family in `errors`: `TransientError` where trying again may help,
`StoreAccessError` where it will not, `FileNotFoundError` where there is no such object.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    IncompleteTransferError,
    StoreAccessError,
    TransientError,
)
from frames_pipeline.io.causes import presentable
from frames_pipeline.text.addresses import secret_values, signing_names, without_secrets
from frames_pipeline.text.plain import fit_to_show

T = TypeVar("T")

_TEMPORARY: Final = re.compile(r".+\.[0-9a-f]{8}\.tmp")
"""What an unfinished local write leaves behind if its process is killed."""

_S3_DEFAULTS: Final = {"max_concurrency": 1, "use_listings_cache": False}
"""s3fs sends a HEAD before every whole-object GET unless it may not split the object, and caches
listings that other writers make stale."""

_REMOTE_REQUESTS: Final = 16
"""Requests in flight where many objects are wanted from a remote store."""

_CREATE_TRIES: Final = 20
"""A folder may be pruned by a concurrent `delete` between its making and its first file."""

_CREATE_PAUSE: Final = 0.002
"""Seconds before another try, at most."""

_TRANSIENT_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP answers that ask for another try; 409 is how S3 answers writes that ran into each other."""

_TRANSIENT_CODES: Final = frozenset(
    {"BadDigest", "IncompleteBody", "RequestTimeout", "Throttling", "XAmzContentSHA256Mismatch"}
)
"""S3's names for what went wrong on the way, and comes with the status of a bad request."""

_MISSING_BUCKET: Final = "NoSuchBucket"

_TRANSIENT_ERRNO: Final = frozenset({errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EBUSY)})
"""What s3fs makes of 503 and 500."""

_CHECKSUM_TYPES: Final = frozenset(
    {"botocore.exceptions.ChecksumError", "botocore.exceptions.FlexibleChecksumError"}
)
"""Errors of botocore for bytes that changed or were lost in transfer."""

_TRANSIENT_TYPES: Final = _CHECKSUM_TYPES | frozenset(
    {
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
        "azure.core.exceptions.ServiceRequestError",
        "azure.core.exceptions.ServiceResponseError",
        "botocore.exceptions.ConnectionError",
        "botocore.exceptions.HTTPClientError",
        "botocore.exceptions.IncompleteReadError",
        "botocore.parsers.ResponseParserError",
    }
)
"""Network faults that are no `OSError`, by name so that no client library is imported for them."""

_CREDENTIAL_TYPES: Final = frozenset(
    {
        "botocore.exceptions.NoCredentialsError",
        "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.TokenRetrievalError",
    }
)

_CLIENT_TYPES: Final = frozenset({"aiohttp.client_exceptions.ClientError"})
"""Errors that fsspec's HTTP file system does not translate. Their messages hold the full URL."""

_sync_file: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
"""macOS has no fdatasync."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object, as a listing has it."""

    size: int
    """Bytes."""
    modified: float
    """When it was written, in seconds since the epoch; 0 where the store does not say."""
    etag: str = ""
    """What an object store calls these very bytes; empty where it does not say."""


def is_unfinished(key: str) -> bool:
    """Whether a listed key is no object, but what a killed local writer left behind.

    >>> is_unfinished("commits/a.json.0f1e2d3c.tmp"), is_unfinished("commits/a.json")
    (True, False)
    """
    return _TEMPORARY.fullmatch(key) is not None


class Objects:
    """The objects under one URL, by key relative to it.

    The connection is made where it is first needed, once per process: an instance may be pickled
    to another process or inherited by a fork.
    """

    url: str
    """The root as it was given, without a slash at its end."""
    local_path: Path | None
    """The root as an absolute path where it is a local folder, else `None`."""
    storage_options: Mapping[str, Any]
    """What fsspec gets to reach it."""
    durable: bool
    """Whether local files are synced before they become visible."""

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Name the root; nothing is touched yet.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: What fsspec needs to reach it: keys, endpoint, profile.
            durable: Sync local files to disk before they become visible.

        Raises:
            ConfigError: The URL carries credentials or is signed, or no fsspec package speaks its
                protocol.
        """
        protocol, rest = _split_url(os.fspath(url))
        filesystem = _filesystem_class(protocol)
        self.url = f"{protocol}://{rest}" if protocol else rest
        is_local = issubclass(filesystem, LocalFileSystem)
        self.local_path = Path(filesystem._strip_protocol(self.url)) if is_local else None
        defaults = _S3_DEFAULTS if protocol in ("s3", "s3a") else {}
        self.storage_options = {**defaults, **(storage_options or {})}
        self.durable = durable
        self._connection: tuple[int, fsspec.AbstractFileSystem, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the connection behind: each process makes its own."""
        return self.__dict__ | {"_connection": None}

    def __repr__(self) -> str:
        """The URL alone: options may hold secrets."""
        return f"{type(self).__name__}({self.url!r})"

    def child(self, prefix: str) -> Objects:
        """The objects under a prefix, with the same options."""
        return Objects(f"{self.url}/{prefix}", self.storage_options, durable=self.durable)

    def get(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            FileNotFoundError: There is none.
        """
        with self.faults(key):
            if self.local_path is not None:
                with _open_regular(Path(self.local_path, key)) as file:
                    return file.read()
            fs, root = self.connect()
            return bytes(fs.cat_file(f"{root}/{key}"))

    def get_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of an object.

        Raises:
            FileNotFoundError: There is none.
        """
        with self.faults(key):
            if self.local_path is not None:
                with _open_regular(Path(self.local_path, key)) as file:
                    file.seek(start)
                    return file.read(stop - start)
            fs, root = self.connect()
            return bytes(fs.cat_file(f"{root}/{key}", start=start, end=stop))

    def info(self, key: str) -> ObjectInfo:
        """What a listing says of one object.

        Raises:
            FileNotFoundError: There is none.
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
            return _object_info(info)

    def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file, without holding it in memory.

        Raises:
            FileNotFoundError: There is none.
            IncompleteTransferError: The bytes that arrive do not fit the store's checksum.
        """
        with self.faults(key):
            fs, root = self.connect()
            try:
                fs.get_file(f"{root}/{key}", str(path))
            except Exception as error:
                if not _is_one_of(error, _CHECKSUM_TYPES):
                    raise
                message = f"the bytes that arrived of {self.url}/{key} do not fit its checksum"
                raise IncompleteTransferError(message) from error

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of objects by key, side by side where the store is remote.

        Those that are not there are left out.
        """
        keys = list(keys)
        found = zip(keys, self._map(self._get_or_none, keys), strict=True)
        return {key: data for key, data in found if data is not None}

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of any that is there: a reader sees the old or the new one."""
        with _with_place(self.url, key), self.faults(key):
            if self.local_path is not None:
                _put_file(Path(self.local_path, key), data, durable=self.durable)
            else:
                fs, root = self.connect()
                fs.pipe_file(f"{root}/{key}", data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object if there is none yet; say whether this call wrote it."""
        with _with_place(self.url, key), self.faults(key):
            if self.local_path is not None:
                return _put_new_file(Path(self.local_path, key), data, durable=self.durable)
            fs, root = self.connect()
            try:
                fs.pipe_file(f"{root}/{key}", data, mode="create")
            except FileExistsError:
                return False
            return True

    def list(self, prefix: str = "") -> dict[str, ObjectInfo]:
        """Every object in the folder `prefix` and below, unfinished local writes included.

        A folder that is not there is empty; one that may not be listed is an error.
        """
        with self.faults(prefix):
            if self.local_path is not None:
                return _list_files(self.local_path, prefix)
            fs, root = self.connect()
            try:
                found = fs.find(_join(root, prefix), detail=True)
            except FileNotFoundError as error:
                if _is_missing_bucket(error):
                    raise
                return {}
            return {path[len(root) + 1 :]: _object_info(info) for path, info in found.items()}

    def names(self, prefix: str = "") -> Sequence[str]:
        """The keys that `list` has, of a folder without folders in it; nothing else is asked."""
        if self.local_path is None:
            return list(self.list(prefix))
        with self.faults(prefix):
            return _list_names(self.local_path, prefix)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders right under the folder `prefix`, sorted."""
        with self.faults(prefix):
            if self.local_path is not None:
                return _list_folders(Path(self.local_path, prefix))
            fs, root = self.connect()
            try:
                found = fs.ls(_join(root, prefix), detail=True)
            except FileNotFoundError as error:
                if _is_missing_bucket(error):
                    raise
                return []
            paths = [info["name"].rstrip("/") for info in found if info["type"] == "directory"]
            return sorted(path.rpartition("/")[2] for path in paths)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects, and local folders that this leaves empty.

        An object that is already gone is no error.
        """
        self._map(self._delete, list(keys))

    def stamp_now(self, keys: Iterable[str]) -> None:
        """Set the modification time of existing local files to now: a writer's clock may be ahead.

        Does nothing in an object store, which stamps objects by its own clock, nor to files that
        this process may not stamp.
        """
        if self.local_path is not None:
            for key in keys:
                with self.faults(key), contextlib.suppress(FileNotFoundError, PermissionError):
                    os.utime(Path(self.local_path, key))

    def faults(self, key: str) -> contextlib.AbstractContextManager[None]:
        """Let faults of others who reach for the object come out as they do here."""
        return _named(self.url, key, hide=secret_values(self.storage_options))

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except FileNotFoundError:
            return None

    def _delete(self, key: str) -> None:
        with self.faults(key):
            if self.local_path is not None:
                _remove_file(Path(self.local_path, key), root=self.local_path)
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
        """The file system and the root's path in it, for those who read by themselves."""
        pid = os.getpid()
        if self._connection is None or self._connection[0] != pid:
            fs, root = url_to_fs(self.url, **self.storage_options)
            self._connection = (pid, fs, root.rstrip("/"))
        return self._connection[1], self._connection[2]


def check_location(url: str) -> None:
    """Make sure that a location may be stored, as the folder of something; nothing is touched.

    Raises:
        ConfigError: The URL is empty, carries credentials or is signed.
    """
    _split_url(url)


def _split_url(url: str) -> tuple[str, str]:
    """Protocol and the rest without a slash at its end; a path has no protocol."""
    protocol, separator, rest = url.partition("://")
    if not separator:
        protocol, rest = "", url
    if not url:
        message = "the store's URL is empty; give a folder or an fsspec URL such as s3://bucket/dir"
        raise ConfigError(message)
    if protocol and "@" in rest.partition("/")[0]:
        message = f"the {protocol} URL carries credentials; put them into storage_options"
        raise ConfigError(message)
    if protocol and without_secrets(url) != url:
        found = ", ".join(signing_names(url)) or "a user and a password"
        message = f"{url} is signed, by {found}, and stored objects name it; give the URL without "
        raise ConfigError(message + "that, and put credentials into storage_options")
    return protocol, rest.rstrip("/") or rest[:1]


def _filesystem_class(protocol: str) -> type[fsspec.AbstractFileSystem]:
    try:
        found: type[fsspec.AbstractFileSystem] = fsspec.get_filesystem_class(protocol or "file")
    except (ValueError, ImportError) as error:
        message = f"cannot reach {protocol}:// URLs: {error}"
        raise ConfigError(message) from error
    return found


def _join(root: str, prefix: str) -> str:
    return f"{root}/{prefix}".rstrip("/")


def _object_info(info: Mapping[str, Any]) -> ObjectInfo:
    names = ("mtime", "LastModified", "last_modified", "updated", "created")
    modified = next((info[name] for name in names if info.get(name)), 0.0)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    return ObjectInfo(size=int(info["size"] or 0), modified=float(modified), etag=etag)


def _list_files(root: Path, prefix: str) -> dict[str, ObjectInfo]:
    """As `fs.find`, which takes a folder that it may not read for an empty one."""
    found: dict[str, ObjectInfo] = {}
    folders = [prefix.strip("/")]
    while folders:
        folder = folders.pop()
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(root / folder) as entries,
        ):
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if not entry.is_dir():
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        found[key] = ObjectInfo(size=status.st_size, modified=status.st_mtime)
                elif not entry.is_symlink():
                    folders.append(key)
    return dict(sorted(found.items()))


def _list_names(root: Path, prefix: str) -> Sequence[str]:
    try:
        with os.scandir(root / prefix) as entries:
            return sorted(f"{prefix}/{entry.name}" for entry in entries if not entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _list_folders(folder: Path) -> Sequence[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open_regular(path: Path) -> BinaryIO:
    """A file to read; a pipe or a device of its name is refused, and not waited for."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - a path has no opener
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise StoreAccessError(f"{path} is not a regular file; remove it")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _put_file(path: Path, data: bytes, *, durable: bool) -> None:
    with _temporary_file(path, data, durable=durable) as temporary:
        temporary.replace(path)


def _put_new_file(path: Path, data: bytes, *, durable: bool) -> bool:
    with _temporary_file(path, data, durable=durable) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True


@contextlib.contextmanager
def _temporary_file(path: Path, data: bytes, *, durable: bool) -> Iterator[Path]:
    """A whole file beside `path`, for the caller to name; the folders are synced after that."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    file, changed = _create_file(temporary)
    try:
        with file:
            file.write(data)
            if durable:
                file.flush()
                _sync_file(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        for folder in changed:
            _sync_folder(folder)


def _create_file(path: Path) -> tuple[BinaryIO, Sequence[Path]]:
    """A new file, and the folders that got a new entry by it, its own first."""
    changed = [path.parent]
    for _ in range(_CREATE_TRIES):
        with contextlib.suppress(FileNotFoundError):
            changed += _make_folders(path.parent)
            return path.open("xb"), changed
        # Two that run in step would go on forever.
        time.sleep(random.uniform(0, _CREATE_PAUSE))
    message = f"folder {path.parent} is removed as fast as it is made; let one program own it"
    raise StoreAccessError(message)


def _make_folders(folder: Path) -> Sequence[Path]:
    """Make a folder and the missing ones above it; return the parents of those that were made."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
    return [new.parent for new in missing]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_file(path: Path, *, root: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for folder in path.parents:
            if folder == root:
                return
            folder.rmdir()


@contextlib.contextmanager
def _with_place(url: str, key: str) -> Iterator[None]:
    """Nothing is missing where something is written, unless the place is."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"no place to write {url}/{key}: {error}; create the bucket or folder first"
        raise StoreAccessError(message) from error


@contextlib.contextmanager
def _named(url: str, key: str, *, hide: Iterable[str] = ()) -> Iterator[None]:
    """Say which object a fault is about, and whether trying again may help.

    Causes are replaced by safe copies: messages of other libraries hold full URLs.
    """
    try:
        yield
    except FramesPipelineError:
        raise
    except Exception as error:
        hide = tuple(hide)
        cause = presentable(error, hide=hide)
        if (found := _fault(error, f"{url}/{key}", fit_to_show(str(error), hide=hide))) is not None:
            raise found from cause
        if cause is not error and isinstance(error, FileNotFoundError):
            raise FileNotFoundError(str(cause)) from cause
        raise


def _fault(error: Exception, where: str, text: str) -> FramesPipelineError | None:
    """Return the fault of an object that an error means; `None` if it is missing, or no fault.

    fsspec's HTTP file system reports every failed request as a missing object.
    """
    if any(_may_pass(cause) for cause in _causes(error)):
        return TransientError(f"cannot reach {where} now: {text}")
    if isinstance(error, FileNotFoundError):
        if not _is_missing_bucket(error):
            return None
        message = f"no bucket for {where}: {text}; create it first, or correct the URL"
        return StoreAccessError(message)
    is_refused = isinstance(error, PermissionError) or _http_status(error) in (401, 403)
    if is_refused or _is_one_of(error, _CREDENTIAL_TYPES):
        message = f"not allowed to reach {where}: {text}; check credentials and policy"
        return StoreAccessError(message)
    if isinstance(error, OSError) or _is_one_of(error, _CLIENT_TYPES):
        return StoreAccessError(f"cannot use {where}: {text}")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: s3fs keeps the HTTP answer there."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    if _http_status(error) in _TRANSIENT_STATUS or _s3_code(error) in _TRANSIENT_CODES:
        return True
    return _is_one_of(error, _TRANSIENT_TYPES)


def _is_missing_bucket(error: BaseException) -> bool:
    """An object may well be missing; where its bucket is, nothing can be told of it."""
    return any(_s3_code(cause) == _MISSING_BUCKET for cause in _causes(error))


def _s3_code(error: BaseException) -> object:
    """S3's name for what went wrong, from an error of botocore."""
    response = getattr(error, "response", None)
    found = response.get("Error", {}) if isinstance(response, Mapping) else {}
    return found.get("Code")


def _is_one_of(error: BaseException, names: frozenset[str]) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(error).__mro__)


def _http_status(error: BaseException) -> object:
    """The answer behind an error of botocore, aiohttp, Azure or gcsfs, each in its own place."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    found = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((value for value in found if isinstance(value, int)), None)
