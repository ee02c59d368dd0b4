"""A source of videos, with the store and tables for its frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.sources.batches import BatchRegistry
from frames_pipeline.sources.suffixes import SUFFIXES
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.store import FrameStore
from frames_pipeline.tables import FrameTables, Row

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A source of videos, with the store and tables for its frames."""

    source: VideoSource
    """The videos."""
    store: FrameStore
    """Store of their frames."""
    tables: FrameTables
    """The tables beside the frames."""
    batches: BatchRegistry
    """The sealed batches."""

    @classmethod
    def at(
        cls,
        source: str,
        root: str,
        *,
        source_options: Mapping[str, Any] | None = None,
        root_options: Mapping[str, Any] | None = None,
        suffixes: Iterable[str] = SUFFIXES,
        follow_links: bool = False,
        compression: str = "zstd",
    ) -> Workspace:
        """Open the videos under one path or URL, with a root for frames and tables.

        Args:
            source: Path or fsspec URL of the videos.
            root: Path or fsspec URL of batches, frames and tables.
            source_options: fsspec options of the source.
            root_options: fsspec options of the root.
            suffixes: File suffixes of videos, in upper or lower case.
            follow_links: Whether to follow links that lead out of a local source.
            compression: Lossless compression of new frames, one of `COMPRESSIONS`.
        """
        return cls.of(
            VideoSource(source, source_options, suffixes=suffixes, follow_links=follow_links),
            root,
            root_options,
            compression=compression,
        )

    @classmethod
    def of(
        cls,
        source: VideoSource,
        root: str,
        root_options: Mapping[str, Any] | None = None,
        *,
        compression: str = "zstd",
    ) -> Workspace:
        """Return the workspace of an open source, with a root for frames and tables."""
        return cls(
            source,
            FrameStore(root, root_options, compression=compression),
            FrameTables(root, root_options),
            BatchRegistry(root, root_options),
        )

    def read(self, kind: type[R], batch: str, *, part: str = "") -> list[R]:
        """Return the rows of a class's table; none if it was never written.

        Args:
            kind: A row class with the name of its table, such as `ClipRow`.
            batch: Key of the batch.
            part: Name of the part, if the table has several.
        """
        found = self.table(kind.TABLE, batch, part=part)
        return [] if found is None else kind.from_table(found)

    def rows(self, table: str, batch: str, *, part: str = "") -> list[dict[str, Any]]:
        """Return the rows of a table by column name; none if it was never written."""
        found = self.table(table, batch, part=part)
        return [] if found is None else found.to_pylist()

    def table(self, table: str, batch: str, *, part: str = "") -> pa.Table | None:
        """Return a table; `None` if it was never written."""
        try:
            return self.tables.read(table, batch, part=part)
        except CommitNotFoundError:
            return None
