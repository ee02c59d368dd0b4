"""Entries of a folder on this machine.

The folder's contents are untrusted: opening a pipe blocks, a symlink leads to another disk or to
itself, a name may not be UTF-8. So each entry is checked before it is opened.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from frames_pipeline.io.local import NOT_THERE, is_below
from frames_pipeline.text.plain import shown

Reason = Literal[
    "broken link", "hidden", "link outside", "link to folder", "no regular file", "suffix",
    "unreadable",
]  # fmt: skip
"""Reason to skip an entry."""
Entry = tuple[str, os.stat_result | Reason]
"""Path relative to the folder, with the file's status or the reason to skip it."""

_EXAMPLES: Final = 3
"""Example names to keep for each reason."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Skipped entries of a source, for one reason."""

    reason: Reason
    """Reason to skip them."""
    count: int
    """Number of entries."""
    examples: tuple[str, ...]
    """Keys of a few of them."""

    def __str__(self) -> str:
        """Return text such as `2 no regular file (a.mp4, b.mp4)`."""
        more = ", …" if self.count > len(self.examples) else ""
        names = ", ".join(map(shown, self.examples))
        return f"{self.count} {self.reason} ({names}{more})"


class PassedOverTally:
    """Counts passed-over entries by reason, and keeps a few names of each."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self._examples: dict[Reason, list[str]] = {}

    def add(self, key: str, reason: Reason) -> None:
        """Count an entry."""
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(key)

    def done(self) -> tuple[PassedOver, ...]:
        """Return the counts, sorted by reason."""
        return tuple(
            PassedOver(reason, count, tuple(self._examples[reason]))
            for reason, count in sorted(self._counts.items())
        )


def describe_passed_over(passed_over: Iterable[PassedOver]) -> str:
    """Describe passed-over entries in one line; `nothing` if there are none."""
    return "; ".join(map(str, passed_over)) or "nothing"


def walk(
    root: Path, reason_against: Callable[[str], Reason | None], *, follow_links: bool
) -> Iterator[Entry]:
    """Yield every entry below a folder, except folders.

    Symlinks to files within the folder count as files. Symlinks that lead outside are followed only
    with `follow_links`; each folder is entered once.

    Args:
        root: The folder.
        reason_against: Returns the reason to skip a path, judged by its name alone.
        follow_links: Whether to follow symlinks that lead outside.

    Raises:
        OSError: The folder itself cannot be listed.
    """
    inside, seen = os.path.realpath(root), {_identity(root.stat())}
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if not folder:
                raise
            yield folder, "unreadable"
            continue
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                seen_as = _look_at(entry, reason_against(name), inside, follow_links=follow_links)
            except FileNotFoundError:  # deleted since it was listed
                continue
            except OSError:
                seen_as = "unreadable"
            if isinstance(seen_as, str) or not stat.S_ISDIR(seen_as.st_mode):
                yield name, seen_as
            elif _identity(seen_as) not in seen:
                seen.add(_identity(seen_as))
                folders.append(name)


def _look_at(
    entry: os.DirEntry[str], against: Reason | None, inside: str, *, follow_links: bool
) -> os.stat_result | Reason:
    """Return the status of a file or of a folder to enter, or the reason to skip the entry."""
    if against == "hidden":
        return against
    if entry.is_symlink():
        return _look_behind(entry, against, inside, follow_links=follow_links)
    if entry.is_dir(follow_symlinks=False):
        return entry.stat(follow_symlinks=False)
    if not entry.is_file(follow_symlinks=False):
        return "no regular file"
    return against or entry.stat(follow_symlinks=False)


def _look_behind(
    entry: os.DirEntry[str], against: Reason | None, inside: str, *, follow_links: bool
) -> os.stat_result | Reason:
    """Return the same for a symlink, by the file or folder behind it."""
    try:
        status = os.stat(entry.path)  # noqa: PTH116 - an entry has no path object
    except OSError as error:
        return "broken link" if error.errno in NOT_THERE else "unreadable"
    is_outside = not is_below(entry.path, inside)
    if stat.S_ISDIR(status.st_mode):
        if is_outside and follow_links:
            return status
        return "link outside" if is_outside else "link to folder"
    if against is not None:
        return against
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    return "link outside" if is_outside and not follow_links else status


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
