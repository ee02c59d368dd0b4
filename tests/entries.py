"""A folder with an entry of every kind, and a time limit for its readers."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.waiting import PATIENCE_S

T = TypeVar("T")

IN_2099 = 4_070_908_800.0
NOBODY = 65534

GOOD = (
    "another.mp4",  # a link to good.mp4
    r"caf\u005cudce9.mp4",  # a name that looks like the next one's key
    r"caf\udce9.mp4",  # Latin-1
    "deep/good.mp4",
    "folder.mp4/good.mp4",
    "from 2099.mp4",
    "good.mp4",
    "new\nline.mp4",
)
"""Keys of the videos, sorted."""

PASSED_OVER = {
    "broken link": ("circle.mp4", "circle2.mp4", "dangling.mp4", "loop.mp4", "too-long.mp4"),
    "hidden": (".git", ".hidden.mp4"),
    "link outside": ("elsewhere", "outside.mp4", "up"),
    "link to folder": ("shallow",),
    "no regular file": ("deep/pipe.mp4", "null.mp4", "pipe", "pipe.mp4", "socket.mp4", "zero.mp4"),
    "suffix": ("notes.txt",),
}
"""Keys of the skipped entries by reason."""


def fill(folder: Path, video: Path) -> Path:
    """Fill the folder, and make a folder `outside` next to it."""
    data = video.read_bytes()
    for made in ("deep", "folder.mp4", ".git", "../outside"):
        (folder / made).mkdir(parents=True)
    names = ["good.mp4", "deep/good.mp4", "folder.mp4/good.mp4", "from 2099.mp4", "new\nline.mp4"]
    names += [os.fsdecode(b"caf\xe9.mp4"), r"caf\udce9.mp4", ".hidden.mp4", ".git/v.mp4"]
    names += ["notes.txt", "../outside/v.mp4"]
    for name in names:
        (folder / name).write_bytes(data)
    os.utime(folder / "from 2099.mp4", (IN_2099, IN_2099))
    links = {
        "another.mp4": "good.mp4",
        "circle.mp4": "circle2.mp4",
        "circle2.mp4": "circle.mp4",
        "dangling.mp4": "nowhere.mp4",
        "elsewhere": "../outside",
        "loop.mp4": "loop.mp4",
        "null.mp4": "/dev/null",
        "outside.mp4": "../outside/v.mp4",
        "shallow": "deep",
        "too-long.mp4": "n" * 300,
        "up": "..",
        "zero.mp4": "/dev/zero",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    for name in ("pipe", "pipe.mp4", "deep/pipe.mp4"):
        os.mkfifo(folder / name)
    _make_socket(folder / "socket.mp4")
    return folder


def _make_socket(path: Path) -> None:
    """Make a socket elsewhere and move it: the path to bind has at most 108 bytes."""
    with tempfile.TemporaryDirectory(dir=path.parent.parent) as near, contextlib.chdir(near):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
        Path("s").rename(path)
    assert stat.S_ISSOCK(path.lstat().st_mode)


def within(call: Callable[[], T]) -> T:
    """Return the result of a call; fail if it hangs, without blocking other tests."""
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # re-raised in the caller
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), f"it hangs for {PATIENCE_S} s"
    if raised:
        raise raised[0]
    return found[0]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run with the permissions of a user without files, since root may read everything."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
