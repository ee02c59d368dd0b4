"""Local copies of remote videos, shared by all processes of one run.

One process cuts a video into clips, and others decode it, 32 clips at a time. The first process
fetches the video; the others wait for that copy.

    {tmp}/frames-pipeline-{…}/  with mode 0700
        owner-of-copies         locked by the process that made the folder
        listener-{…}            the socket of its fork server
        {name}/video.mp4        a copy, in a folder that no other file shares
        {name}.part/video.mp4   a copy that is being fetched
        {name}.lock             exclusive for fetching and deleting, shared by readers

The locks are the kernel's (`flock`), so they end with their process, even if it is killed. A dead
worker blocks no other. Making a new folder first deletes the folders of dead processes, with the
semaphores named after them.

All users share the folder for temporary files. An entry with one of these names is opened, followed
or deleted only if it is a folder of this user that has a regular owner file, or has had none for an
hour.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

COPIES_BYTES: Final = 10 << 30
"""Default of `Copies.max_bytes`."""

_PREFIX: Final = "frames-pipeline-"
_OWNER: Final = "owner-of-copies"
_LOCK: Final = ".lock"
_PART: Final = ".part"
_MAKING_S: Final = 3600.0
"""Age in seconds at which a folder without an owner file counts as abandoned."""
_SEMAPHORES: Final = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Copies:
    """A folder of copies, with a limit on unused ones."""

    folder: Path
    """The folder."""
    max_bytes: int = COPIES_BYTES
    """Limit in bytes, above which the least recently used copies are deleted; 0 keeps none. Copies
    also never take more than half of the space that would be free without them."""

    @contextlib.contextmanager
    def held(
        self, identity: str, suffix: str, size: int, fetch: Callable[[Path], bool]
    ) -> Iterator[Path]:
        """Lend a copy for a `with` block: the existing one, or a newly fetched one.

        Args:
            identity: Identity of the copied bytes.
            suffix: Suffix of the file's name.
            size: Expected bytes.
            fetch: Writes the copy to a path; returns whether other readers may share it.
        """
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        copy, part = self.folder / name, self.folder / f"{name}{_PART}"
        with _opened(self.folder / f"{name}{_LOCK}") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            while not copy.exists():
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not copy.exists():
                    _delete(part)  # left by a killed process
                    self._make_room(size)
                    part.mkdir()
                    try:
                        if not fetch(part / f"video{suffix}"):
                            yield part / f"video{suffix}"
                            return
                        part.rename(copy)
                    finally:
                        _delete(part)
                fcntl.flock(
                    lock, fcntl.LOCK_SH
                )  # another process may delete it in between: check again
            os.utime(lock.fileno())
            yield copy / f"video{suffix}"
        self._make_room(0)

    @contextlib.contextmanager
    def alone(self, suffix: str) -> Iterator[Path]:
        """Lend a path for a private copy, for the time of a `with` block."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(folder) / f"video{suffix}"

    def _make_room(self, size: int) -> None:
        """Delete the least recently used copies until `size` more bytes fit."""
        with _opened(self.folder / "room") as room:
            fcntl.flock(room, fcntl.LOCK_EX)
            locks = sorted(self.folder.glob(f"*{_LOCK}"), key=lambda lock: lock.stat().st_mtime)
            kept = {lock: sum(map(_bytes_in, _folders(lock))) for lock in locks}
            held = sum(kept.values())
            most = min(self.max_bytes, (held + shutil.disk_usage(self.folder).free) // 2)
            for lock, taken in kept.items():
                if held + size <= most:
                    return
                if taken and _delete_unused(lock):
                    held -= taken


def copies() -> Copies:
    """Return this process's copies, or the shared ones that `use_copies` set."""
    with _making:
        process = os.getpid()
        if process not in _used:
            _used[process] = Copies(_new_home())
        return _used[process]


def use_copies(shared: Copies) -> None:
    """Make this process use another process's copies."""
    _used[os.getpid()] = shared


_used: Final[dict[int, Copies]] = {}
"""Copies by process id: a forked process gets its own."""
_making: Final = threading.Lock()


def _new_home() -> Path:
    """Make a folder that is deleted at exit or, after a kill, by a later call."""
    for home in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _delete_orphan(home)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX))
    mine = _opened(home / "new")
    fcntl.flock(mine, fcntl.LOCK_EX)
    (home / "new").rename(home / _OWNER)  # by now it is locked
    atexit.register(_leave, home, mine, os.getpid())
    return home


def _delete_orphan(home: Path) -> None:
    """Delete the folder of a dead process. Leaves folders of other users alone."""
    folder = home.lstat()
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid():
        return
    try:
        owner = os.open(home / _OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # its process is still making it, or was killed while making it
        if time.time() - folder.st_mtime > _MAKING_S:
            _delete_home(home)
        return
    try:
        file = os.fstat(owner)
        if stat.S_ISREG(file.st_mode) and file.st_uid == os.getuid():
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete_home(home)
    finally:
        os.close(owner)


def _delete_home(home: Path) -> None:
    for semaphore in _SEMAPHORES.glob(f"sem.{home.name}-*"):
        semaphore.unlink(missing_ok=True)
    shutil.rmtree(home)


def _leave(home: Path, _mine: BinaryIO, process: int) -> None:
    if os.getpid() == process:
        _delete(home)


def _delete_unused(lock: Path) -> bool:
    """Delete a copy or a partial copy, unless a reader has it locked."""
    with _opened(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for folder in _folders(lock):
            _delete(folder)
    return True


def _folders(lock: Path) -> tuple[Path, Path]:
    """Return the folders of a lock: the copy, and the copy that is being fetched."""
    return lock.with_suffix(""), lock.with_suffix(_PART)


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # a fetch that fails meanwhile deletes it
            found += path.stat().st_size
    return found


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _opened(path: Path) -> BinaryIO:
    return path.open("ab")
