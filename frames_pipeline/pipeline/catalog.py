"""The catalog: one row per clip of a batch, with its facts and the paths of its frames.

CatalogRow │ FormatRow │ embeddings │ quality │ DecisionRow │ captions │ …      parts, side by side
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa

from frames_pipeline._renamed import old_parameters
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.kinds import catalog_parts, catalog_rows
from frames_pipeline.pipeline.suspects import Suspects, suspect_clips
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.tables import (
    CatalogRow,
    ClipRow,
    DecisionRow,
    FormatRow,
    OutcomeRow,
    Row,
    TableInfo,
    VideoRow,
)

_WORST_FIRST: Final = ("failed", "partial", "skipped", "ok")


def catalog_schema() -> pa.Schema:
    """Return the columns of the catalog, including columns of all kinds of derived tables."""
    return pa.schema([column for part in catalog_rows() for column in part.schema()])


CATALOG: Final = catalog_schema()
"""Columns of the catalog: one row per clip of the batch."""


@old_parameters(places="workspace")
def catalog_batch(
    batch: str,
    signatures: Mapping[str, FrameExtractionSignature],
    workspace: Workspace,
    *,
    selection: Selection | None = None,
    embeddings: Sequence[str] = ("",),
    captions: Sequence[str] = ("",),
    definitions: Mapping[str, Sequence[str]] | None = None,
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
        definitions: Names by kind of derived table, instead of the two above. A kind that is left
            out has one definition, without a name.
    """
    names = {"embeddings": embeddings, "captions": captions, **(definitions or {})}
    clips = workspace.read(ClipRow, batch)
    frames = _read_frames(batch, signatures, workspace)
    entries = list(_entries(batch, clips, frames, workspace))
    parts: dict[type[Row], Sequence[Row]] = {
        CatalogRow: entries,
        FormatRow: [_format(clip) for clip in clips],
    }
    judged: list[Sequence[Row]] = []
    for kind, part in catalog_parts().items():
        of_clip = part.read(batch, names.get(kind, ("",)), workspace)
        parts[part.row] = [of_clip(clip.clip_id) for clip in clips]
        judged += [parts[part.row]] if part.is_judged else []
    parts[DecisionRow] = [
        _decision(entry, measures, selection or Selection())
        for entry, *measures in zip(entries, *judged, strict=True)
    ]
    table = _joined(parts)
    return table, workspace.tables.write("catalog", batch, table)


def _joined(parts: Mapping[type[Row], Sequence[Row]]) -> pa.Table:
    """Put the parts of all rows side by side."""
    tables = [kind.to_table(parts[kind]) for kind in catalog_rows()]
    columns = [column for table in tables for column in table.columns]
    return pa.Table.from_arrays(columns, schema=catalog_schema())


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames of a batch for one named signature."""

    name: str
    """Name of the signature."""
    key: str
    """Key of the signature."""
    outcomes: Mapping[str, OutcomeRow]
    """Rows of the table of outcomes, by clip."""
    paths: Mapping[str, str]
    """Folders of the published frames relative to the root, by clip."""
    suspect: Collection[str]
    """Clips with suspect frames."""


def _read_frames(
    batch: str, signatures: Mapping[str, FrameExtractionSignature], workspace: Workspace
) -> list[_Frames]:
    families = Suspects(workspace.store.objects).keys()
    frames = []
    for name, signature in signatures.items():
        commits = workspace.store.published(batch, signature)
        folder = SignatureFolder(batch, signature.key).path
        frames.append(
            _Frames(
                name=name,
                key=signature.key,
                outcomes=_by_clip(workspace.read(OutcomeRow, batch, part=signature.key)),
                paths={clip_id: f"{folder}/{commit.path}" for clip_id, commit in commits.items()},
                suspect=suspect_clips(batch, commits.values(), workspace, families),
            )
        )
    return frames


def _by_clip(rows: Iterable[OutcomeRow]) -> dict[str, OutcomeRow]:
    return {row.clip_id: row for row in rows}


def _entries(
    batch: str, clips: Iterable[ClipRow], frames: Sequence[_Frames], workspace: Workspace
) -> Iterator[CatalogRow]:
    """Yield the first columns of each clip's row."""
    uris = {row.video_key: row.uri for row in workspace.read(VideoRow, batch)}
    for clip in clips:
        rows = [one.outcomes.get(clip.clip_id) for one in frames]
        worst = _worst([clip, *filter(None, rows)])
        yield CatalogRow(
            batch=batch,
            clip_id=clip.clip_id,
            video_key=clip.video_key,
            uri=uris.get(clip.video_key, ""),
            fingerprint=clip.fingerprint,
            start_seconds=clip.start_seconds,
            duration_seconds=clip.duration_seconds,
            width=clip.width,
            height=clip.height,
            codec=clip.codec,
            status=worst.status,
            reason=worst.reason,
            detail=worst.detail,
            names=tuple(one.name for one in frames),
            signatures=tuple(one.key for one in frames),
            frame_statuses=tuple(row.status if row else "" for row in rows),
            frame_counts=tuple(row.frames if row else 0 for row in rows),
            frame_paths=tuple(one.paths.get(clip.clip_id, "") for one in frames),
            suspect=tuple(one.name for one in frames if clip.clip_id in one.suspect),
        )


def _format(clip: ClipRow) -> FormatRow:
    """Return the format of a clip's pictures."""
    return FormatRow(**{one.name: getattr(clip, one.name) for one in FormatRow.columns()})


def _decision(entry: CatalogRow, parts: Iterable[Row], selection: Selection) -> DecisionRow:
    """Decide whether to keep a clip; `keep` is null for a clip that was not measured."""
    if entry.status in ("failed", "skipped"):
        return DecisionRow(False, 0.0, (f"{entry.status}: {entry.reason}",))
    measures = {name: value for part in parts for name, value in asdict(part).items()}
    if all(value is None for value in measures.values()):
        return DecisionRow(None, None, ())
    keep, score, reasons = selection.decide(measures)
    return DecisionRow(keep, score, reasons)


def _worst(rows: Sequence[ClipRow | OutcomeRow]) -> ClipRow | OutcomeRow:
    """Return the row with the worst status."""
    return min(rows, key=lambda row: _WORST_FIRST.index(row.status))
