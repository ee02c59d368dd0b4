"""Every table over all batches, as data that DuckDB, pandas, Polars and Arrow read lazily."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from frames_pipeline.pipeline.places import Places
from frames_pipeline.tables import (
    CAPTIONS,
    CATALOG,
    CLIPS,
    NEAR_DUPLICATES,
    OUTCOMES,
    QUALITY,
    VIDEOS,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "videos": VIDEOS,
    "clips": CLIPS,
    "outcomes": OUTCOMES,
    "quality": QUALITY,
    "captions": CAPTIONS,
    "catalog": CATALOG,
    "near_duplicates": NEAR_DUPLICATES,
}
_FILE: Final = re.compile(r"tables/(?P<table>[^/]+)/(?P<batch>[^/]+)/part-(?P<part>.+)\.parquet")


def open_views(places: Places) -> dict[str, ds.Dataset]:
    """The tables over all batches that are in use, by name; nothing is read yet.

    `catalog`, `videos`, `clips`, `outcomes`, `quality`, `near_duplicates`, and for each provider
    `embeddings`, `clip_embeddings`, `captions`: those of a named one are `embeddings_<name>`.
    Batches that were written before a column was there have nulls in it. What is read is not
    compared with its digests, as `FrameTables.read` does.

        duckdb.sql("SELECT …").df() finds datasets by the names of Python's variables;
        datasets["catalog"].to_table(filter=pc.field("keep")) does without DuckDB
    """
    # Its import maps a GiB of memory, which would count for every worker process.
    import pyarrow.dataset as ds  # noqa: PLC0415

    retired = set(places.batches.retired())
    files: dict[str, list[str]] = defaultdict(list)
    for key in places.store.objects.list("tables"):
        found = _FILE.fullmatch(key)
        if found is not None and found["batch"] not in retired:
            files[_view(found["table"], found["part"])].append(key)
    filesystem, root = places.store.objects.connect()
    return {
        view: ds.dataset(
            [f"{root}/{key}" for key in sorted(keys)],
            filesystem=filesystem,
            format="parquet",
            schema=_SCHEMAS.get("captions" if view.startswith("captions_") else view),
        )
        for view, keys in sorted(files.items())
    }


def _view(table: str, part: str) -> str:
    """What a part is called: outcomes have one for each signature, and say which in a column."""
    return table if part == "00000" or table == "outcomes" else f"{table}_{part}"
