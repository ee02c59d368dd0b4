"""The catalog: one row per clip of a batch, with what is known of it and where it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline._renamed import old_parameters
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.suspects import Suspects, suspect_clips
from frames_pipeline.pipeline.workspace import Row, Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.tables.tables import CATALOG, TableInfo, table_of

MEANS: Final = {
    "sharpness": "sharpness",
    "exposure": "exposure",
    "colourfulness": "colourfulness",
    "motion": "motion",
    "black": "black_share",
    "duplicate": "duplicate_share",
    "aesthetic": "aesthetic",
}
"""Measures of frames, and the column that has their mean over a clip."""
FIRST: Final = "default"
"""What the catalog calls embeddings or captions that have no name of their own."""
_WORST_FIRST: Final = ("failed", "partial", "skipped", "ok")


@old_parameters(places="workspace")
def catalog_batch(
    batch: str,
    signatures: Mapping[str, FrameExtractionSignature],
    workspace: Workspace,
    *,
    selection: Selection | None = None,
    embeddings: Sequence[str] = ("",),
    captions: Sequence[str] = ("",),
) -> tuple[pa.Table, TableInfo]:
    """Join the tables of the other steps, and publish the result as the table `catalog`.

    Columns of steps that have not run yet are empty.

    Args:
        batch: Key of the batch.
        signatures: Its named signatures.
        workspace: Workspace of the batch.
        selection: Rules for clips to keep; by default `Selection()`.
        embeddings: Names of the embeddings; the first one's is empty.
        captions: Names of the captions; the first one's is empty.
    """
    selection = selection or Selection()
    frames = _read_frames(batch, signatures, workspace)
    uris = {row["video_key"]: row["uri"] for row in workspace.rows("videos", batch)}
    measures = _means(workspace.table("quality", batch))
    vectors = [_read_vectors(batch, name, workspace) for name in embeddings]
    texts = [(name, _by_clip(workspace.rows("captions", batch, part=name))) for name in captions]
    rows = []
    for clip in workspace.rows("clips", batch):
        clip_id = clip["clip_id"]
        measured = measures.get(clip_id)
        outcome = _worst([clip, *_outcomes(clip_id, frames)])
        rows.append(
            {name: clip[name] for name in CATALOG.names if name in clip}
            | {"batch": batch, "uri": uris.get(clip["video_key"], "")}
            | outcome
            | _decision(outcome, measured, selection)
            | _frame_columns(clip_id, frames)
            | _embedding_columns(clip_id, vectors)
            | _caption_columns(clip_id, texts)
            | (measured or dict.fromkeys(MEANS.values()))
        )
    table = table_of(rows, CATALOG)
    return table, workspace.tables.write("catalog", batch, table)


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames of a batch for one named signature."""

    name: str
    """Name of the signature."""
    key: str
    """Key of the signature."""
    outcomes: Mapping[str, Row]
    """Rows of the table of outcomes, by clip."""
    paths: Mapping[str, str]
    """Folders of the published frames relative to the root, by clip."""
    suspect: Collection[str]
    """Clips with suspect frames."""


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Embeddings of a batch under one name."""

    name: str
    """Name of the embeddings; empty for the first."""
    path: str
    """Their table, relative to the root."""
    counts: Mapping[str, int]
    """Number of vectors, by clip."""


def _read_frames(
    batch: str, signatures: Mapping[str, FrameExtractionSignature], workspace: Workspace
) -> list[_Frames]:
    families = Suspects(workspace.store.objects).keys()
    frames = []
    for name, signature in signatures.items():
        commits = workspace.store.published(batch, signature)
        folder = f"frames/{batch}/{signature.key}"
        frames.append(
            _Frames(
                name=name,
                key=signature.key,
                outcomes=_by_clip(workspace.rows("outcomes", batch, part=signature.key)),
                paths={clip_id: f"{folder}/{commit.path}" for clip_id, commit in commits.items()},
                suspect=suspect_clips(batch, commits.values(), workspace, families),
            )
        )
    return frames


def _read_vectors(batch: str, name: str, workspace: Workspace) -> _Vectors:
    counts = _counts(workspace.table("embeddings", batch, part=name))
    return _Vectors(name, workspace.tables.path("embeddings", batch, part=name), counts)


def _by_clip(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["clip_id"]: row for row in rows}


def _outcomes(clip_id: str, frames: Iterable[_Frames]) -> list[Row]:
    """Return the outcomes of a clip, for the signatures that have one."""
    return [one.outcomes[clip_id] for one in frames if clip_id in one.outcomes]


def _frame_columns(clip_id: str, frames: Sequence[_Frames]) -> Row:
    """Return the columns that list one value per signature."""
    rows = [one.outcomes.get(clip_id) for one in frames]
    return {
        "names": [one.name for one in frames],
        "signatures": [one.key for one in frames],
        "frame_statuses": [row["status"] if row else "" for row in rows],
        "frame_counts": [row["frames"] if row else 0 for row in rows],
        "frame_paths": [one.paths.get(clip_id, "") for one in frames],
        "suspect": [one.name for one in frames if clip_id in one.suspect],
    }


def _embedding_columns(clip_id: str, vectors: Sequence[_Vectors]) -> Row:
    """Return the columns that list one value per embedding name."""
    return {
        "embedding_names": [one.name or FIRST for one in vectors],
        "embedding_counts": [one.counts.get(clip_id, 0) for one in vectors],
        "embedding_paths": [one.path if clip_id in one.counts else "" for one in vectors],
    }


def _caption_columns(clip_id: str, texts: Sequence[tuple[str, Mapping[str, Row]]]) -> Row:
    """Return the first caption of a clip, and the columns that list one value per caption name."""
    rows = [by_clip.get(clip_id, {}) for _, by_clip in texts]
    return {
        "caption": next((row["text"] for row in rows if row), ""),
        "caption_names": [name or FIRST for name, _ in texts],
        "captions": [row.get("text", "") for row in rows],
        "caption_models": [row.get("model", "") for row in rows],
    }


def _decision(outcome: Row, measures: Row | None, selection: Selection) -> Row:
    """What is to become of a clip; nothing is said of one that was not measured."""
    if outcome["status"] in ("failed", "skipped"):
        why = f"{outcome['status']}: {outcome['reason']}"
        return {"keep": False, "score": 0.0, "drop_reasons": [why]}
    if measures is None:
        return {"keep": None, "score": None, "drop_reasons": []}
    keep, score, reasons = selection.decide(measures)
    return {"keep": keep, "score": score, "drop_reasons": list(reasons)}


def _worst(rows: Sequence[Row]) -> Row:
    """Status, reason and detail of the row that came out worst."""
    worst = min(rows, key=lambda row: _WORST_FIRST.index(row["status"]))
    return {name: worst[name] for name in ("status", "reason", "detail")}


def _means(quality: pa.Table | None) -> dict[str, Row]:
    """Means over the frames of each clip."""
    if quality is None or not quality.num_rows:
        return {}
    columns = {name: pc.cast(quality[name], pa.float64()) for name in MEANS}
    table = pa.table({"clip_id": quality["clip_id"], **columns})
    means = table.group_by("clip_id").aggregate([(name, "mean") for name in MEANS])
    return {
        row["clip_id"]: {column: row[f"{name}_mean"] for name, column in MEANS.items()}
        for row in means.to_pylist()
    }


def _counts(table: pa.Table | None) -> dict[str, int]:
    """Rows of each clip."""
    if table is None:
        return {}
    counted = pc.value_counts(table["clip_id"]).to_pylist()
    return {entry["values"]: entry["counts"] for entry in counted}
