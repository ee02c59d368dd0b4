"""Near-duplicates among the clips of all batches, by their vectors."""

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
"""Stands for a batch key in tables over all batches."""


@dataclass(frozen=True, slots=True)
class DuplicatesReport:
    """Near-duplicates of all batches."""

    info: TableInfo
    """The published table."""
    rows: pa.Table
    """One row per clip that nearly equals an earlier one."""
    batches: int
    """Number of batches compared."""
    clips: int
    """Number of clips compared."""
    search: str
    """Kind of search: `exact`, or an index that can miss some."""
    recall: float
    """Share of the near-duplicates that were found, from a sample; 1 if exact."""


@old_parameters(places="workspace")
def mark_near_duplicates(
    workspace: Workspace,
    *,
    name: str = "",
    min_similarity: float = 0.95,
    exact_up_to: int = EXACT_UP_TO,
) -> DuplicatesReport:
    """Find clips that nearly equal an earlier clip, and publish them as `near_duplicates`.

    Clips are compared in order of batch age. A clip is kept if it resembles no earlier kept clip.
    So clips outside the table all differ, and each clip in the table resembles one outside. Later
    batches never change the results of earlier ones. Nothing is deleted.

    Args:
        workspace: Workspace of the batches.
        name: Name of the embeddings to compare.
        min_similarity: Least cosine similarity of near-duplicates.
        exact_up_to: Number of clips up to which each is compared with every kept one.

    Raises:
        ConfigError: Vectors differ in length, the similarity is out of range, or FAISS is not
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
    """Check that all vectors are by one provider; others have no meaningful cosine.

    Raises:
        ConfigError: Vectors are by different providers.
    """
    makers: dict[str, str] = {}
    for batch, rows in tables:
        (row,) = FramesRow.from_table(rows.slice(0, 1))
        makers.setdefault(row.provider_parameters, batch)
    if len(makers) > 1:
        (one, first), (other, second), *_ = makers.items()
        message = f"embeddings {name or 'of clips'} of {first} are by {one}, and of {second} by "
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
