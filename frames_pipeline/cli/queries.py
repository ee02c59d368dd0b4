"""`frames-pipeline sql`: questions to all tables at once."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options
from frames_pipeline.errors import ConfigError
from frames_pipeline.pipeline import open_views

if TYPE_CHECKING:
    import duckdb

_WRITERS = {".parquet": "write_parquet", ".csv": "write_csv"}


@click.command()
@options.root
@click.argument("query", required=False)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="A .parquet or .csv file to write."
)
@options.as_json
def sql(
    *, root: str, query: str | None, root_options: Options, out: Path | None, as_json: bool
) -> None:
    """Ask the tables of all batches, in DuckDB's SQL.

    Without a QUERY, it says which tables there are: catalog, videos, clips, outcomes, quality,
    embeddings, clip_embeddings, captions, near_duplicates; those of a named provider are
    embeddings_NAME, captions_NAME. Retired batches are left out.
    """
    if out is not None and out.suffix not in _WRITERS:
        message = f"{out} must end in {' or '.join(_WRITERS)}"
        raise ConfigError(message)
    views = open_views(options.places(root, root_options))
    if query is None:
        rows = [{"table": name, "rows": view.count_rows()} for name, view in views.items()]
        if as_json:
            output.document(rows)
        else:
            output.table(rows, "table", "rows")
        return
    duckdb = _import_duckdb()
    connection = duckdb.connect()
    for name, view in views.items():
        connection.register(name, view)
    try:
        found = connection.sql(query)
        if found is None:
            message = "the query gives no rows; ask with SELECT"
            raise ConfigError(message)
        _tell(found, out, as_json=as_json)
    except duckdb.Error as error:
        said = " ".join(str(error).split())
        message = f"{said}; there are {', '.join(views) or 'no tables'}"
        raise ConfigError(message) from error


def _tell(found: duckdb.DuckDBPyRelation, out: Path | None, *, as_json: bool) -> None:
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
        message = "questions in SQL need DuckDB: pip install 'frames-pipeline[sql]'"
        raise ConfigError(message) from error
