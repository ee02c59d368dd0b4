"""Clips of all batches that are nearly the same, by the vectors of clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import ConfigError
from frames_pipeline.models.near_duplicates import EXACT_UP_TO, NearDuplicates, find_near_duplicates
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.tables import (
    ClipEmbeddingRow,
    FramesRow,
    NearDuplicateRow,
    TableInfo,
    vectors_of,
)

ALL: Final = "all"
"""What tables over all batches have for a batch."""


@dataclass(frozen=True, slots=True)
class DuplicatesReport:
    """Which clips are nearly the same."""

    info: TableInfo
    """What was published."""
    rows: pa.Table
    """One row per clip that is nearly one before it."""
    batches: int
    """Batches whose clips were compared."""
    clips: int
    """Clips that were compared."""
    search: str
    """How they were found: `exact`, or by an index that can miss some."""
    recall: float
    """Share of them that was found, in a sample; 1 where the search was exact."""


@old_parameters(places="workspace")
def mark_near_duplicates(
    workspace: Workspace,
    *,
    name: str = "",
    min_similarity: float = 0.95,
    exact_up_to: int = EXACT_UP_TO,
) -> DuplicatesReport:
    """Which clips are nearly the same as one before them, in the table `near_duplicates`.

    Clips are taken by the age of their batch; a clip that is like no earlier kept one is kept. So
    no two clips that are not in the table are alike, and each that is in it is like one that is
    not. Later batches change nothing of what was said of earlier ones. Nothing is deleted.

    Args:
        workspace: Where everything is.
        name: What the embeddings are called whose clips' vectors are compared.
        min_similarity: The least cosine of what is nearly the same.
        exact_up_to: Clips up to which each is compared with every kept one.

    Raises:
        ConfigError: Vectors of several lengths, a similarity that cannot be, or FAISS is not
            installed.
    """
    read = workspace.tables.read_many(ClipEmbeddingRow.TABLE, workspace.batches.keys(), part=name)
    tables = [(batch, rows) for batch, rows in read if len(rows)]
    _check_comparable(tables, name)
    clips = [(batch, clip_id) for batch, rows in tables for clip_id in _clip_ids(rows)]
    vectors = [vectors_of(rows) for _, rows in tables]
    found = find_near_duplicates(
        np.concatenate(vectors) if vectors else np.empty((0, 1), np.float32),
        min_similarity=min_similarity,
        exact_up_to=exact_up_to,
    )
    rows = NearDuplicateRow.to_table(_rows(clips, found))
    info = workspace.tables.write(NearDuplicateRow.TABLE, ALL, rows, part=name)
    return DuplicatesReport(info, rows, len(tables), len(clips), found.search, found.recall)


def _check_comparable(tables: list[tuple[str, pa.Table]], name: str) -> None:
    """Refuse vectors that different providers made: their cosines say nothing.

    Raises:
        ConfigError: There are such.
    """
    makers: dict[str, str] = {}
    for batch, rows in tables:
        (row,) = FramesRow.from_table(rows.slice(0, 1))
        makers.setdefault(row.provider_parameters, batch)
    if len(makers) > 1:
        (one, first), (other, second), *_ = makers.items()
        message = f"embeddings {name or 'of clips'} of {first} are by {one}, those of {second} by "
        message += f"{other}; materialize the stale batches first"
        raise ConfigError(message)


def _clip_ids(rows: pa.Table) -> list[str]:
    ids: list[str] = rows.column("clip_id").to_pylist()
    return ids


def _rows(clips: list[tuple[str, str]], found: NearDuplicates) -> list[NearDuplicateRow]:
    duplicates = np.flatnonzero(found.kept != np.arange(len(clips)))
    return [
        NearDuplicateRow(
            batch=clips[i][0],
            clip_id=clips[i][1],
            kept_batch=clips[found.kept[i]][0],
            kept_clip_id=clips[found.kept[i]][1],
            similarity=float(found.similarity[i]),
        )
        for i in duplicates.tolist()
    ]
