"""Regular files on this machine, opened without blocking: a path may be a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, NoReturn

from frames_pipeline.errors import (
    FramesPipelineError,
    SourceNotFoundError,
    SourceUnreadableError,
)

NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Error numbers of paths that have no file."""
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_UNREADABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENXIO})


def is_below(path: str | os.PathLike[str], real_folder: str) -> bool:
    """Return whether the real path of a file lies below a folder, given by its real path."""
    real = os.path.realpath(path)
    return os.path.commonpath([real, real_folder]) == real_folder


def status_of(path: Path) -> os.stat_result:
    """Return the status of a regular file, following symlinks.

    Raises:
        SourceNotFoundError: The file is missing, or is a folder, a pipe or a device.
        SourceUnreadableError: This user may not stat the file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        _refuse(path, error)
    _check_regular(path, status)
    return status


def open_regular(path: Path) -> int:
    """Open a regular file and return its descriptor. Its status is checked before and after.

    Raises:
        SourceNotFoundError: The file is missing, or is a folder, a pipe or a device.
        SourceUnreadableError: This user may not read the file.
    """
    status_of(path)  # opening a device may have side effects
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        _refuse(path, error)
    try:
        _check_regular(path, os.fstat(descriptor))
    except FramesPipelineError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        message = f"cannot read {path}: it is {kind}"
        raise SourceNotFoundError(message)


def _refuse(path: Path, error: OSError | ValueError) -> NoReturn:
    """Raise the source error for a failed access; re-raise errors that are not about the file."""
    message = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
    if not isinstance(error, OSError) or error.errno in NOT_THERE:
        raise SourceNotFoundError(message) from error
    if error.errno in _UNREADABLE:
        message += "; give this process's user read access"
        raise SourceUnreadableError(message) from error
    raise error
