"""The catalog: one row per clip of a batch, with what is known of it and where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.places import Places, Row
from frames_pipeline.pipeline.suspects import Suspects, suspect_clips
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit
from frames_pipeline.tables import CATALOG, TableInfo, table_of

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


def catalog_batch(
    batch: str,
    signatures: Mapping[str, FrameExtractionSignature],
    places: Places,
    *,
    selection: Selection | None = None,
    embeddings: Sequence[str] = ("",),
    captions: Sequence[str] = ("",),
) -> tuple[pa.Table, TableInfo]:
    """Join what the other steps left, and publish it as the table `catalog`.

    What was not made yet is empty.

    Args:
        batch: Key of the batch.
        signatures: Its named signatures.
        places: Where everything is.
        selection: Which clips are worth keeping; its defaults if it is left out.
        embeddings: Names of the embeddings; an empty one is the first's.
        captions: Names of the captions; an empty one is the first's.
    """
    selection = selection or Selection()
    outcomes = {
        name: {row["clip_id"]: row for row in places.rows("outcomes", batch, part=signature.key)}
        for name, signature in signatures.items()
    }
    commits = {name: _commits(batch, signature, places) for name, signature in signatures.items()}
    families = Suspects(places.store.objects).keys()
    suspect = {
        name: suspect_clips(batch, found.values(), places, families)
        for name, found in commits.items()
    }
    uris = {row["video_key"]: row["uri"] for row in places.rows("videos", batch)}
    measures = _means(places.table("quality", batch))
    vectors = {name: _counts(places.table("embeddings", batch, part=name)) for name in embeddings}
    said = {
        name: {row["clip_id"]: row for row in places.rows("captions", batch, part=name)}
        for name in captions
    }
    rows = []
    for clip in places.rows("clips", batch):
        clip_id = clip["clip_id"]
        told = [outcomes[name].get(clip_id) for name in signatures]
        texts = [said[name].get(clip_id, {}) for name in captions]
        outcome = _worst([clip, *(row for row in told if row is not None)])
        rows.append(
            {name: clip[name] for name in CATALOG.names if name in clip}
            | outcome
            | _decision(outcome, measures.get(clip_id), selection)
            | {
                "batch": batch,
                "uri": uris.get(clip["video_key"], ""),
                "names": list(signatures),
                "signatures": [signature.key for signature in signatures.values()],
                "frame_statuses": [row["status"] if row else "" for row in told],
                "frame_counts": [row["frames"] if row else 0 for row in told],
                "frame_paths": [
                    _path(batch, signature, commits[name].get(clip_id))
                    for name, signature in signatures.items()
                ],
                "suspect": [name for name in signatures if clip_id in suspect[name]],
                "embedding_names": [name or FIRST for name in embeddings],
                "embedding_counts": [vectors[name].get(clip_id, 0) for name in embeddings],
                "embedding_paths": [
                    places.tables.path("embeddings", batch, part=name)
                    if clip_id in vectors[name]
                    else ""
                    for name in embeddings
                ],
                "caption": next((text["text"] for text in texts if text), ""),
                "caption_names": [name or FIRST for name in captions],
                "captions": [text.get("text", "") for text in texts],
                "caption_models": [text.get("model", "") for text in texts],
            }
            | measures.get(clip_id, dict.fromkeys(MEANS.values()))
        )
    table = table_of(rows, CATALOG)
    return table, places.tables.write("catalog", batch, table)


def _commits(
    batch: str, signature: FrameExtractionSignature, places: Places
) -> Mapping[str, ClipCommit]:
    try:
        return places.store.manifest(batch, signature).clips
    except CommitNotFoundError:
        return {}


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


def _path(batch: str, signature: FrameExtractionSignature, commit: ClipCommit | None) -> str:
    return "" if commit is None else f"frames/{batch}/{signature.key}/{commit.path}"


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
