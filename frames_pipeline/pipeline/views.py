"""Every table over all batches, as datasets that DuckDB, pandas, Polars and Arrow read lazily."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.pipeline.catalog import catalog_schema
from frames_pipeline.pipeline.kinds import KINDS
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.tables import (
    CLIPS,
    FILE_KEY,
    NEAR_DUPLICATES,
    OUTCOMES,
    ROOT,
    VIDEOS,
    WHOLE_PART,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "videos": VIDEOS,
    "clips": CLIPS,
    "outcomes": OUTCOMES,
    "near_duplicates": NEAR_DUPLICATES,
}
"""Columns of the tables other than derived ones."""


@dataclass(frozen=True, slots=True)
class _View:
    """A table, or one part of it, over all batches."""

    table: str
    """The table."""
    keys: list[str]
    """Its files."""


def _schema_of(table: str) -> pa.Schema | None:
    """Return the columns of a table; `None` if they depend on its files, as vectors do."""
    if table == "catalog":
        return catalog_schema()
    derived = {kind.table: kind.view_schema for kind in KINDS.values()}
    return _SCHEMAS.get(table, derived.get(table))


@old_parameters(places="workspace")
def open_views(
    workspace: Workspace, *, names: Collection[str] | None = None, check: bool = False
) -> dict[str, ds.Dataset]:
    """Return datasets of the tables over all batches in use, by name; read no rows yet.

    The names are `catalog`, `videos`, `clips`, `outcomes`, `near_duplicates`, and the derived
    tables `embeddings`, `clip_embeddings`, `quality`, `captions`. The table of a named definition
    is `embeddings_<name>`. Batches older than a column have nulls in it.

        duckdb.sql("SELECT …").df()                            DuckDB finds datasets by the names
                                                               of Python variables
        datasets["catalog"].to_table(filter=pc.field("keep"))  without DuckDB

    Arrow compares the checksums of pages as it reads, but not the checksum of the file, as
    `FrameTables.read` does. With `check`, every file is read whole and compared first.

    Args:
        workspace: Workspace of the batches.
        names: Open only these.
        check: Compare every file with its checksum first.

    Raises:
        IntegrityError: A file is damaged, as far as it was read.
    """
    # Its import maps a GiB of memory, which would count for every worker process.
    import pyarrow.dataset as ds  # noqa: PLC0415

    views = {
        name: view for name, view in _views(workspace).items() if names is None or name in names
    }
    if check:
        workspace.tables.check(key for view in views.values() for key in view.keys)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    objects = workspace.store.objects
    return {name: _dataset(objects, view, parquet) for name, view in views.items()}


@old_parameters(places="workspace")
def view_names(workspace: Workspace) -> list[str]:
    """Return the names of the views that `open_views` opens: one listing."""
    return list(_views(workspace))


def _views(workspace: Workspace) -> dict[str, _View]:
    """Return the views by name, sorted, with the files of each."""
    retired = set(workspace.batches.retired())
    views: dict[str, _View] = {}
    for key in sorted(workspace.store.objects.list(ROOT)):
        found = FILE_KEY.fullmatch(key)
        if found is not None and found["batch"] not in retired:
            table = found["table"]
            view = views.setdefault(_view_name(table, found["part"]), _View(table, []))
            view.keys.append(key)
    return dict(sorted(views.items()))


def _dataset(objects: Objects, view: _View, parquet: ds.ParquetFileFormat) -> ds.Dataset:
    import pyarrow.dataset as ds  # noqa: PLC0415

    filesystem, root = objects.connect()
    schema = _schema_of(view.table)
    paths = [f"{root}/{key}" for key in view.keys]
    with objects.faults(f"{ROOT}/{view.table}"):
        try:
            return ds.dataset(paths, filesystem=filesystem, format=parquet, schema=schema)
        except (pa.ArrowException, OSError, *UNREADABLE) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # from the store; errors of Arrow's decoders have no errno
            message = f"table {view.table} under {objects.url} is damaged ({error}); find the "
            raise IntegrityError(message + "file with `frames-pipeline verify --deep`") from error


def _view_name(table: str, part: str) -> str:
    """Return the name of a part's view. Outcomes have a part per signature, and a column for it."""
    return table if part == WHOLE_PART or table == "outcomes" else f"{table}_{part}"
