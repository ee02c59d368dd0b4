"""Objects as files of a local folder: written whole or not at all, and listed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from frames_pipeline.errors import StoreAccessError
from frames_pipeline.io.listing import ObjectInfo

_TEMPORARY: Final = re.compile(r".+\.[0-9a-f]{8}\.tmp")
"""Name of the temporary file that a killed writer leaves."""

_CREATE_TRIES: Final = 20
"""Tries to create a file: a concurrent `delete` may remove its new, empty folder."""

_CREATE_PAUSE: Final = 0.002
"""Longest pause before another try, in seconds."""

_sync_file: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
"""Sync a file's data. macOS has no fdatasync."""


def is_unfinished(key: str) -> bool:
    """Return whether a listed key is a temporary file of a killed local writer.

    >>> is_unfinished("commits/a.json.0f1e2d3c.tmp"), is_unfinished("commits/a.json")
    (True, False)
    """
    return _TEMPORARY.fullmatch(key) is not None


def open_object(path: Path) -> BinaryIO:
    """Open a regular file to read; refuse a pipe or a device without waiting for it."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - a path has no opener
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise StoreAccessError(f"{path} is not a regular file; remove it")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def put_file(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a file whole, in place of an existing one."""
    with _temporary_file(path, data, durable=durable) as temporary:
        temporary.replace(path)


def put_new_file(path: Path, data: bytes, *, durable: bool) -> bool:
    """Write a file whole if there is none; return whether this call wrote it."""
    with _temporary_file(path, data, durable=durable) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True


@contextlib.contextmanager
def _temporary_file(path: Path, data: bytes, *, durable: bool) -> Iterator[Path]:
    """Yield a whole file beside `path`, for the caller to rename; then sync the folders."""
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
    """Create a file; return it with the folders that got a new entry, its own first."""
    changed = [path.parent]
    for _ in range(_CREATE_TRIES):
        with contextlib.suppress(FileNotFoundError):
            changed += _make_folders(path.parent)
            return path.open("xb"), changed
        # A random pause: two processes in step would go on forever.
        time.sleep(random.uniform(0, _CREATE_PAUSE))
    message = f"another process keeps removing folder {path.parent}; let only one process manage it"
    raise StoreAccessError(message)


def _make_folders(folder: Path) -> Sequence[Path]:
    """Make a folder and its missing parents; return the parent of each new folder."""
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


def remove_file(path: Path, *, root: Path) -> None:
    """Delete a file, and the folders below the root that become empty."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for folder in path.parents:
            if folder == root:
                return
            folder.rmdir()


def list_files(root: Path, prefix: str) -> dict[str, ObjectInfo]:
    """Return the files below a folder, by key.

    Unlike `fs.find`, raises an error for a folder that this process may not read.
    """
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


def list_names(root: Path, prefix: str) -> Sequence[str]:
    """Return the keys of the files right in a folder, sorted."""
    try:
        with os.scandir(root / prefix) as entries:
            return sorted(f"{prefix}/{entry.name}" for entry in entries if not entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_folders(folder: Path) -> Sequence[str]:
    """Return the names of the folders right in a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
