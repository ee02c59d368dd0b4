"""Delete the parts that a pack no longer references: `prune_pack`."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from frames_pipeline.errors import ConfigError
from frames_pipeline.io.objects import ObjectInfo, Objects, is_unfinished
from frames_pipeline.readers.packs.documents import read_document
from frames_pipeline.readers.packs.layout import PACK, PART_FILE, Listing
from frames_pipeline.store import GRACE_SECONDS

_IN_PART: Final = re.compile(r"parts/([0-9a-f]{32})/")


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Parts that a pack does not reference, deleted unless this was a dry run."""

    parts: tuple[str, ...]
    """Keys of the parts."""
    objects: int
    """Number of objects."""
    bytes: int
    """Bytes of the objects."""
    dry_run: bool
    """Whether nothing was deleted."""


def prune_pack(
    url: str | os.PathLike[str],
    *,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> PruneReport:
    """Report, or with `dry_run=False` delete, the parts that `pack.json` does not reference.

    A killed writer or an earlier pack leaves such parts. Parts written within the grace period
    stay; if `pack.json` was, every part stays. Older unfinished writes are deleted everywhere in
    the pack.

    Args:
        url: Path or URL of the pack.
        grace_seconds: Keep anything written within this many seconds. Choose more than a pack takes
            to write, and than a reader keeps an earlier pack open.
        dry_run: Only report.
        storage_options: fsspec options of the pack.

    Raises:
        CommitNotFoundError: There is no pack.
        ConfigError: `grace_seconds` is below zero.
        IntegrityError: `pack.json` is damaged.
    """
    if grace_seconds < 0:
        message = f"grace_seconds={grace_seconds} must not be below zero; a day is a good choice"
        raise ConfigError(message)
    now = time.time()
    horizon = now - grace_seconds
    objects = Objects(url, storage_options)
    listing = objects.list()
    parts = _files_by_part(listing)
    named = read_document(objects)["parts"]  # read last: includes parts named since the listing
    is_new = objects.info(PACK).modified > horizon
    garbage = {} if is_new else _unreferenced(parts, named, horizon)
    keys = sorted(_unfinished(listing, horizon).union(*garbage.values()))
    if not dry_run:
        _delete(objects, keys)
        objects.stamp_now(_ahead(objects, parts.values(), now))
    return PruneReport(
        parts=tuple(garbage),
        objects=len(keys),
        bytes=sum(listing[key].size for key in keys),
        dry_run=dry_run,
    )


def _files_by_part(listing: Listing) -> dict[str, dict[str, ObjectInfo]]:
    """Group the listed objects of parts by key of the part."""
    parts: defaultdict[str, dict[str, ObjectInfo]] = defaultdict(dict)
    for key, info in listing.items():
        if within := _IN_PART.match(key):
            parts[within[1]][key] = info
    return parts


def _unreferenced(
    parts: Mapping[str, Listing], named: Collection[str], horizon: float
) -> dict[str, Listing]:
    """Return the parts outside `named`, if all their objects were written by the horizon."""
    return {
        part: files
        for part, files in parts.items()
        if part not in named and max(info.modified for info in files.values()) <= horizon
    }


def _unfinished(listing: Listing, horizon: float) -> set[str]:
    """Return temporary files of killed writers, written by the horizon."""
    return {key for key, info in listing.items() if is_unfinished(key) and info.modified <= horizon}


def _delete(objects: Objects, keys: Sequence[str]) -> None:
    """Delete the documents of parts first, so that no half of a part counts as whole."""
    documents = {key for key in keys if key.endswith(f"/{PART_FILE}")}
    objects.delete(sorted(documents))
    objects.delete([key for key in keys if key not in documents])


def _ahead(objects: Objects, parts: Iterable[Listing], now: float) -> Iterator[str]:
    """Yield objects with a modification time in the future; they count as written now."""
    if objects.info(PACK).modified > now:
        yield PACK
    for files in parts:
        yield from (key for key, info in files.items() if info.modified > now)
