"""`frames-pipeline sql`: query the tables of all batches."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click
import pyarrow as pa

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options
from frames_pipeline.errors import ConfigError, IntegrityError
from frames_pipeline.pipeline import open_views, view_names

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as ds

_WRITERS = {".parquet": "write_parquet", ".csv": "write_csv"}


@click.command()
@options.root
@click.argument("query", required=False)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    help="Write the result to this .parquet or .csv file.",
)
@click.option(
    "--unchecked",
    is_flag=True,
    help="Skip comparing files with their checksums, which reads the tables whole.",
)
@options.as_json
def sql(
    *,
    root: str,
    query: str | None,
    root_options: Options,
    out: Path | None,
    unchecked: bool,
    as_json: bool,
) -> None:
    """Query the tables of all batches in DuckDB's SQL.

    Without QUERY, lists the tables: catalog, videos, clips, outcomes, quality, embeddings,
    clip_embeddings, captions, near_duplicates. The table of a named definition is embeddings_NAME,
    quality_NAME and so on. Retired batches are left out. Compares the files of the tables in QUERY
    with their checksums first.
    """
    if out is not None and out.suffix not in _WRITERS:
        message = f"--out {out} must end in {' or '.join(_WRITERS)}"
        raise ConfigError(message)
    here = options.workspace(root, root_options)
    if query is None:
        _print_tables(open_views(here, check=not unchecked), as_json=as_json)
        return
    names = view_names(here)
    views = open_views(here, names=_named_in(query, names), check=not unchecked)
    duckdb = _import_duckdb()
    connection = duckdb.connect()
    for name, view in views.items():
        connection.register(name, view)
    try:
        found = connection.sql(query)
        if found is None:
            message = "the query returns no rows; use SELECT"
            raise ConfigError(message)
        with _readable():
            _print_result(found, out, as_json=as_json)
    except duckdb.Error as error:
        text = " ".join(str(error).split())
        message = f"{text}; the tables are {', '.join(names) or 'none yet'}"
        raise ConfigError(message) from error


def _named_in(query: str, names: Iterable[str]) -> list[str]:
    """Return the tables named in the text of a query."""
    return [name for name in names if name.lower() in query.lower()]


def _print_tables(views: Mapping[str, ds.Dataset], *, as_json: bool) -> None:
    with _readable():
        rows = [{"table": name, "rows": view.count_rows()} for name, view in views.items()]
    if as_json:
        output.document(rows)
    else:
        output.table(rows, "table", "rows")


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raise `IntegrityError` for damage that Arrow finds in a file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        message = f"a table is damaged ({error}); find it with `frames-pipeline verify --deep`"
        raise IntegrityError(message) from error


def _print_result(found: duckdb.DuckDBPyRelation, out: Path | None, *, as_json: bool) -> None:
    if out is not None:
        getattr(found, _WRITERS[out.suffix])(str(out))
        output.line(str(out))
        return
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    if as_json:
        output.document(rows)
    else:
        output.table(rows, *found.columns)


def _import_duckdb() -> ModuleType:
    try:
        return importlib.import_module("duckdb")
    except ImportError as error:
        message = "DuckDB is not installed; run pip install 'frames-pipeline[sql]'"
        raise ConfigError(message) from error
