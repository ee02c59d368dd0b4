"""Parquet files of tables beside the frames, by table and batch.

    {root}/tables/{table}/{batch_key}/part-{part}.parquet

Most tables have one part per batch, `00000`. A table that is made for each signature has a part per
signature key; embeddings, quality and captions with a name have a part per name. One PUT publishes
a part, so a reader sees the old part or the new one, never a mixture. `FrameTables` compares the
checksum at the end of each file. Any tool reads the files:
`SELECT * FROM '{root}/tables/quality/*/*.parquet'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import (
    FOOTER_KEY,
    FOOTER_VALUE,
    UNREADABLE,
    check_footer_sum,
    with_footer_sum,
)
from frames_pipeline.sources.withdrawal import error as withdrawal_error
from frames_pipeline.sources.withdrawal import is_withdrawn
from frames_pipeline.tables.digests import table_digest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = lazy_module("pyarrow"), lazy_module("pyarrow.parquet")

ROOT: Final = "tables"
"""Folder of all tables, relative to the root."""
FILE_KEY: Final = re.compile(
    rf"{ROOT}/(?P<table>[^/]+)/(?P<batch>[^/]+)/part-(?P<part>.+)\.parquet"
)
"""Keys of the files of tables."""
WHOLE_PART: Final = "00000"
"""Name of the part of a table with one part per batch."""
_MAX_NAME: Final = 128
_AT_ONCE: Final = 64
"""Number of files to read ahead."""
_DIGEST_KEY: Final = b"frames_pipeline.digest"
"""Key of the rows' digest in the metadata of a file's schema."""


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One published table of one batch."""

    path: str
    """Path or fsspec URL of the file."""
    rows: int
    """Number of rows."""
    bytes: int
    """Size of the Parquet file."""
    digest: str
    """`table_digest` of the rows: the Dagster data version."""


class FrameTables:
    """The tables under one root, by table name and batch key."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open the tables of a root; read nothing yet.

        Args:
            url: Path or fsspec URL of the store's root: tables are beside the frames.
            storage_options: fsspec options of the root: keys, endpoint, profile.
        """
        self._objects = Objects(url, storage_options)

    def write(self, table: str, batch: str, rows: pa.Table, *, part: str = "") -> TableInfo:
        """Publish a batch's rows, replacing earlier ones.

        Args:
            table: Name of the table.
            batch: Key of the batch.
            rows: All rows of the part.
            part: Name of the part, if the batch has several: the key of a signature.

        Raises:
            ConflictError: The batch was withdrawn.
        """
        key, digest = _key(table, batch, part), table_digest(rows)
        sink = pa.BufferOutputStream()
        metadata = {**(rows.schema.metadata or {}), _DIGEST_KEY: digest, FOOTER_KEY: FOOTER_VALUE}
        pq.write_table(
            rows.replace_schema_metadata(metadata),
            sink,
            compression="zstd",
            write_page_checksum=True,
        )
        data = with_footer_sum(sink.getvalue().to_pybytes())
        self._objects.put(key, data)
        if is_withdrawn(self._objects, batch):
            self._objects.delete([key])
            raise withdrawal_error(batch)
        path = self.url(table, batch, part=part)
        return TableInfo(path, rows=rows.num_rows, bytes=len(data), digest=digest)

    def read(self, table: str, batch: str, *, part: str = "") -> pa.Table:
        """Return a batch's rows.

        Raises:
            CommitNotFoundError: There is no such table.
            IntegrityError: The file differs from the written one.
        """
        key = _key(table, batch, part)
        try:
            data = self._objects.get(key)
        except FileNotFoundError as error:
            message = (
                f"no table {table!r} of batch {batch!r}: {self._objects.url}/{key} is not there"
            )
            raise CommitNotFoundError(message) from error
        return self._decoded(key, data)

    def read_many(
        self, table: str, batches: Iterable[str], *, part: str = ""
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield the rows of many batches in order; batches without the table are left out.

        Raises:
            IntegrityError: A file differs from the written one.
        """
        keys = [(batch, _key(table, batch, part)) for batch in batches]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            found = self._objects.get_many(key for _, key in some)
            for batch, key in some:
                if key in found:
                    yield batch, self._decoded(key, found[key])

    def check(self, paths: Iterable[str]) -> None:
        """Compare whole files with their checksums and digests, by path relative to the root.

        Raises:
            IntegrityError: A file is missing, or differs from the written one.
        """
        for _, error in self.faults(paths):
            raise error

    def faults(self, paths: Iterable[str]) -> Iterator[tuple[str, IntegrityError]]:
        """Yield each missing or damaged file of these, by path relative to the root."""
        paths = list(paths)
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            found = self._objects.get_many(some)
            for path in some:
                try:
                    self._check(path, found.get(path))
                except IntegrityError as error:
                    yield path, error

    def _check(self, path: str, data: bytes | None) -> None:
        if data is None:
            message = f"{self._objects.url}/{path} is missing; run its step again"
            raise IntegrityError(message)
        self._decoded(path, data)

    def _decoded(self, key: str, data: bytes) -> pa.Table:
        try:
            check_footer_sum(data)
            return _verified(pq.read_table(pa.BufferReader(data)))
        except (pa.ArrowException, OSError, *UNREADABLE) as error:
            message = f"{self._objects.url}/{key} is damaged ({error}); move it away with "
            message += "`frames-pipeline repair`, and run its step again"
            raise IntegrityError(message) from error

    def url(self, table: str, batch: str, *, part: str = "") -> str:
        """Return the path or URL of the file with a batch's rows."""
        return f"{self._objects.url}/{self.path(table, batch, part=part)}"

    def path(self, table: str, batch: str, *, part: str = "") -> str:
        """Return the path of the file with a batch's rows, relative to the root."""
        return _key(table, batch, part)

    def exists(self, table: str, batch: str, *, part: str = "") -> bool:
        """Return whether the batch has this table."""
        try:
            self._objects.info(_key(table, batch, part))
        except FileNotFoundError:
            return False
        return True

    def batches(self, table: str) -> list[str]:
        """Return the sorted keys of batches with any part of the table."""
        folder = f"{ROOT}/{_segment('table', table)}/"
        keys = (key.removeprefix(folder) for key in self._objects.list(folder.rstrip("/")))
        return sorted({key.partition("/")[0] for key in keys if key.endswith(".parquet")})

    def parts(self, table: str, batch: str) -> list[str]:
        """Return the sorted names of a table's parts in a batch; a single part has the name ""."""
        folder = f"{ROOT}/{_segment('table', table)}/{_segment('batch', batch)}"
        names = (key.removeprefix(f"{folder}/part-") for key in self._objects.list(folder))
        found = {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}
        return sorted("" if name == WHOLE_PART else name for name in found)

    def delete(self, table: str, batch: str, *, part: str = "") -> None:
        """Delete a batch's rows, if there are any."""
        self._objects.delete([_key(table, batch, part)])

    def delete_batch(self, batch: str) -> None:
        """Delete a batch's rows from every table, if there are any."""
        for table in self._objects.folders(ROOT):
            folder = f"{ROOT}/{table}/{_segment('batch', batch)}"
            self._objects.delete(self._objects.list(folder))


def _verified(rows: pa.Table) -> pa.Table:
    """Return the rows after comparing them with their stored digest, without that digest."""
    metadata = dict(rows.schema.metadata or {})
    metadata.pop(FOOTER_KEY, None)
    stored, found = metadata.pop(_DIGEST_KEY, b"none").decode(), table_digest(rows)
    if stored != found:
        message = f"its rows have digest {found}, and were stored with {stored}"
        raise ValueError(message)
    return rows.replace_schema_metadata(metadata)


def _key(table: str, batch: str, part: str) -> str:
    folder = f"{ROOT}/{_segment('table', table)}/{_segment('batch', batch)}"
    return f"{folder}/part-{_segment('part', part or WHOLE_PART)}.parquet"


def _segment(kind: str, name: str) -> str:
    """Return the name after checking that it is a valid folder name on every system."""
    is_plain = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
    if not is_plain or not 1 <= len(name.encode()) <= _MAX_NAME:
        message = f"{kind} {name!r} cannot name a folder; use up to {_MAX_NAME} printable "
        raise ConfigError(message + "characters without slashes and without a dot in front")
    return name
