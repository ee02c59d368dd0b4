"""Every table over all batches, as data that DuckDB, pandas, Polars and Arrow read lazily."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.tables.tables import (
    CAPTIONS,
    CATALOG,
    CLIPS,
    FILE_KEY,
    NEAR_DUPLICATES,
    OUTCOMES,
    QUALITY,
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
    "quality": QUALITY,
    "captions": CAPTIONS,
    "catalog": CATALOG,
    "near_duplicates": NEAR_DUPLICATES,
}


@old_parameters(places="workspace")
def open_views(
    workspace: Workspace, *, names: Collection[str] | None = None, check: bool = False
) -> dict[str, ds.Dataset]:
    """The tables over all batches that are in use, by name; nothing is read yet.

    `catalog`, `videos`, `clips`, `outcomes`, `quality`, `near_duplicates`, and for each provider
    `embeddings`, `clip_embeddings`, `captions`: those of a named one are `embeddings_<name>`.
    Batches that were written before a column was there have nulls in it.

        duckdb.sql("SELECT …").df() finds datasets by the names of Python's variables;
        datasets["catalog"].to_table(filter=pc.field("keep")) does without DuckDB

    Pages have checksums, which Arrow compares as it reads; it does not compare the sum of a file,
    as `FrameTables.read` does. With `check` every file is read whole first, and compared.

    Args:
        workspace: Where the tables are.
        names: Open these alone.
        check: Compare every file with its sum before anything is opened.

    Raises:
        IntegrityError: A file is damaged, as far as it was read.
    """
    # Its import maps a GiB of memory, which would count for every worker process.
    import pyarrow.dataset as ds  # noqa: PLC0415

    files = {
        view: keys for view, keys in _files(workspace).items() if names is None or view in names
    }
    if check:
        workspace.tables.check(key for keys in files.values() for key in keys)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    objects = workspace.store.objects
    return {view: _dataset(objects, view, keys, parquet) for view, keys in files.items()}


@old_parameters(places="workspace")
def view_names(workspace: Workspace) -> list[str]:
    """Return the names of the views that `open_views` opens: one listing."""
    return list(_files(workspace))


def _files(workspace: Workspace) -> dict[str, list[str]]:
    """Files of each view, sorted."""
    retired = set(workspace.batches.retired())
    files: dict[str, list[str]] = defaultdict(list)
    for key in workspace.store.objects.list(ROOT):
        found = FILE_KEY.fullmatch(key)
        if found is not None and found["batch"] not in retired:
            files[_view(found["table"], found["part"])].append(key)
    return {view: sorted(keys) for view, keys in sorted(files.items())}


def _dataset(
    objects: Objects, view: str, keys: Iterable[str], parquet: ds.ParquetFileFormat
) -> ds.Dataset:
    import pyarrow.dataset as ds  # noqa: PLC0415

    filesystem, root = objects.connect()
    schema = _SCHEMAS.get("captions" if view.startswith("captions_") else view)
    paths = [f"{root}/{key}" for key in keys]
    with objects.faults(f"{ROOT}/{view}"):
        try:
            return ds.dataset(paths, filesystem=filesystem, format=parquet, schema=schema)
        except (pa.ArrowException, OSError, *UNREADABLE) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # from the store; errors of Arrow's decoders have no errno
            message = f"table {view} under {objects.url} is damaged ({error}); find the file with "
            raise IntegrityError(message + "`frames-pipeline verify --deep`") from error


def _view(table: str, part: str) -> str:
    """What a part is called: outcomes have one for each signature, and say which in a column."""
    return table if part == WHOLE_PART or table == "outcomes" else f"{table}_{part}"
