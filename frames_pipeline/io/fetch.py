"""Copy remote files onto this machine: whole, and of the listed version."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from frames_pipeline.errors import (
    IncompleteTransferError,
    LimitExceededError,
    SourceChangedError,
    SourceNotFoundError,
)
from frames_pipeline.io.copies import copies
from frames_pipeline.io.objects import ObjectInfo, Objects
from frames_pipeline.text.addresses import folder_and_name, without_secrets
from frames_pipeline.text.keys import key_of

_PAUSES: Final = (0.2, 1.0)
"""Seconds before a file that came short is fetched again."""


@contextlib.contextmanager
def staged_url(url: str, *, max_bytes: int | None = None) -> Iterator[Path]:
    """Copy the file of a URL onto this machine, for the time of a `with` block.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceChangedError: The file was replaced meanwhile.
        LimitExceededError: The file is larger than `max_bytes`.
        IncompleteTransferError: The file does not arrive whole.
        TransientError: The file cannot be reached now.
    """
    root, name = folder_and_name(url)
    objects = Objects(root)
    if objects.local_path is not None:
        yield objects.local_path / name
        return
    plain_name = without_secrets(name).partition("?")[0]
    key = key_of(plain_name)
    try:
        listed = objects.info(name)
    except FileNotFoundError as error:
        message = f"cannot read {url}: it does not exist"
        raise SourceNotFoundError(message) from error
    check_size(listed.size, max_bytes, key=key)
    with copies().alone(PurePosixPath(plain_name).suffix) as path:
        fetch(objects, name, path, listed=listed, key=key)
        yield path


def check_size(size: int, max_bytes: int | None, *, key: str) -> None:
    """Check the size of a file against a limit; `None`: no limit.

    Raises:
        LimitExceededError: The file is larger.
    """
    if max_bytes is not None and size > max_bytes:
        message = (
            f"{key} has {size} bytes, and the limit is {max_bytes}; raise the limit to read it"
        )
        raise LimitExceededError(message)


def fetch(objects: Objects, name: str, path: Path, *, listed: ObjectInfo, key: str) -> None:
    """Copy a remote file, and compare size and present listing with the earlier listing.

    A short response may announce its own length, so that the client believes it complete.

    Args:
        objects: The folder or bucket.
        name: Name of the file in it.
        path: Path of the copy.
        listed: The file as it was listed.
        key: Name of the file in errors.

    Raises:
        SourceNotFoundError: The file is gone.
        SourceChangedError: The file was replaced meanwhile.
        IncompleteTransferError: Size or checksum differ at every try, with an unchanged listing.
    """
    for pause in (*_PAUSES, None):
        try:
            _fetch_once(objects, name, path, listed=listed, key=key)
        except IncompleteTransferError:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


def _fetch_once(objects: Objects, name: str, path: Path, *, listed: ObjectInfo, key: str) -> None:
    try:
        objects.fetch(name, path)
        now = objects.info(name)
    except FileNotFoundError as error:
        message = f"{key} is gone from {objects.url}"
        raise SourceNotFoundError(message) from error
    if now != listed:
        message = f"{key} changed since it was observed; observe the batch again"
        raise SourceChangedError(message)
    arrived = path.stat().st_size
    if arrived != listed.size and listed.size:  # some stores do not report the size
        message = f"{arrived} of {listed.size} bytes of {key} arrived from {objects.url}, "
        raise IncompleteTransferError(f"{message}at every try; check the store, then run it again")
