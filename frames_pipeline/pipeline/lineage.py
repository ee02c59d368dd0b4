"""Lineage down to the frame: forwards from a video, backwards from a row.

Rows record their frames, commits record the fingerprint of their source, and batches record their
videos. These functions join these records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import CommitNotFoundError, ConfigError
from frames_pipeline.pipeline.kinds import derived_tables
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.store import ClipCommit
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.tables import LINEAGE_COLUMNS, ClipRow, FrameRow, FramesRow, VideoRow

DERIVED: Final = derived_tables()
"""Tables with rows made from frames."""


@dataclass(frozen=True, slots=True)
class FramesOrigin:
    """Frames of a clip, with their location and their source."""

    batch: str
    """Key of the batch."""
    clip_id: str
    """The clip, within the batch."""
    signature: str
    """Key of the signature."""
    video_key: str
    """The video, relative to the source."""
    uri: str
    """Path or URL of the video; empty if it was never observed."""
    fingerprint: str
    """Fingerprint of the video's bytes when they were decoded."""
    is_current: bool
    """Whether the video had the same bytes at the last scan."""
    path: str
    """Zarr group, relative to the root; empty if none is committed."""
    digest: str
    """`FrameBatch.digest()` of the committed frames."""


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """Origin of a row: its frames and its provider."""

    table: str
    """Name of the row's table."""
    name: str
    """Name of the definition; empty for the default one."""
    frames: FramesOrigin
    """Its clip's frames, as committed now."""
    made_from_them: bool
    """Whether the row was made from exactly these frames; if `False`, it is outdated."""
    positions: tuple[int, ...]
    """Positions of its frames: indexes among the shown frames of the stream."""
    seconds: tuple[float, ...]
    """Presentation times of its frames."""
    provider: str
    """Name of the provider."""
    provider_parameters: str
    """The provider's parameters that affect the answer, as JSON."""
    says: Mapping[str, Any]
    """The provider's answer: the row without its lineage."""


@dataclass(frozen=True, slots=True)
class Uses:
    """Frames and rows made from a video, or from one frame of it."""

    frames: tuple[FramesOrigin, ...]
    """Stored frames, one per clip and signature."""
    rows: tuple[RowOrigin, ...]
    """Rows made from them."""


@old_parameters(places="workspace")
def origins_of_rows(
    table: str,
    batch: str,
    workspace: Workspace,
    *,
    clip_id: str | None = None,
    position: int | None = None,
) -> Iterator[RowOrigin]:
    """Yield the origin of each row of a batch's table.

    Args:
        table: One of `DERIVED`.
        batch: Key of the batch.
        workspace: Workspace of the batch.
        clip_id: Yield only rows of this clip.
        position: Yield only rows made from this frame.

    Raises:
        ConfigError: The table has no rows made from frames.
    """
    if table not in derived_tables():
        choices = ", ".join(derived_tables())
        message = f"table {table!r} is not made from frames; choose one of {choices}"
        raise ConfigError(message)
    yield from _Frames(batch, workspace).origins(table, clip_id=clip_id, position=position)


def _chosen(rows: pa.Table, clip_id: str | None, position: int | None) -> pa.Table:
    """Return the rows of one clip, and of one frame, if they are given."""
    if clip_id is not None:
        rows = rows.filter(pc.equal(rows["clip_id"], clip_id))
    if position is None:
        return rows
    if "position" in rows.column_names:
        return rows.filter(pc.equal(rows["position"], position))
    return rows.filter(
        pa.array([position in used for used in rows["positions"].to_pylist()], "bool")
    )


def _typed(rows: pa.Table) -> Sequence[FrameRow | FramesRow]:
    kind = FrameRow if "position" in rows.column_names else FramesRow
    return kind.from_table(rows)


def _answers(rows: pa.Table) -> list[dict[str, Any]]:
    """Return the columns with the provider's answer, as a mapping per row."""
    answers: list[dict[str, Any]] = rows.select(
        [name for name in rows.column_names if name not in LINEAGE_COLUMNS]
    ).to_pylist()
    return answers


def _origin(
    row: FrameRow | FramesRow, says: Mapping[str, Any], frames: _Frames, *, table: str, name: str
) -> RowOrigin:
    origin = frames.of(row.clip_id, row.signature)
    time_base = Fraction(row.time_base_num, row.time_base_den)
    return RowOrigin(
        table=table,
        name=name,
        frames=origin,
        made_from_them=row.frames_digest == origin.digest,
        positions=row.positions,
        seconds=tuple(float(stamp * time_base) for stamp in row.stamps),
        provider=row.provider,
        provider_parameters=row.provider_parameters,
        says=says,
    )


@old_parameters(places="workspace")
def uses_of_video(video_key: str, workspace: Workspace) -> Uses:
    """Return all frames and rows made from a video.

    Raises:
        CommitNotFoundError: The video is in no batch.
    """
    batch = workspace.batches.batch_of(video_key)
    if batch is None:
        message = f"video {video_key!r} is in no batch under {workspace.store.objects.url}"
        raise CommitNotFoundError(message)
    clips = {row.clip_id for row in workspace.read(ClipRow, batch) if row.video_key == video_key}
    frames = _Frames(batch, workspace)
    return Uses(
        frames=tuple(
            frames.of(clip_id, signature)
            for signature, commits in frames.commits.items()
            for clip_id in sorted(clips & commits.keys())
        ),
        rows=tuple(
            row
            for table in derived_tables()
            for row in frames.origins(table)
            if row.frames.clip_id in clips
        ),
    )


@old_parameters(places="workspace")
def uses_of_frame(batch: str, clip_id: str, position: int, workspace: Workspace) -> Uses:
    """Return all frames and rows made from one shown frame of a clip.

    Args:
        batch: Key of the batch.
        clip_id: The clip.
        position: Index among the shown frames of the whole stream.
        workspace: Workspace of the batch.
    """
    frames = _Frames(batch, workspace)
    stored = []
    for signature, commits in frames.commits.items():
        commit = commits.get(clip_id)
        if (
            commit is not None
            and position in workspace.store.open(batch, signature, commit).positions
        ):
            stored.append(frames.of(clip_id, signature))
    rows = (
        row
        for table in derived_tables()
        for row in frames.origins(table, clip_id=clip_id, position=position)
    )
    return Uses(tuple(stored), tuple(rows))


class _Frames:
    """The published frames of a batch, with their videos, and the rows made from them."""

    def __init__(self, batch: str, workspace: Workspace) -> None:
        self._batch = batch
        self._videos = {row.video_key: row for row in workspace.read(VideoRow, batch)}
        self._clips = {row.clip_id: row for row in workspace.read(ClipRow, batch)}
        self._workspace = workspace
        self.commits: Mapping[str, Mapping[str, ClipCommit]] = {
            signature: workspace.store.published(batch, signature)
            for signature in workspace.store.signatures(batch)
        }

    def origins(
        self, table: str, *, clip_id: str | None = None, position: int | None = None
    ) -> Iterator[RowOrigin]:
        """Yield the origin of each row of a table, of one clip and of one frame if given."""
        tables = self._workspace.tables
        for name in tables.parts(table, self._batch):
            rows = _chosen(tables.read(table, self._batch, part=name), clip_id, position)
            for row, says in zip(_typed(rows), _answers(rows), strict=True):
                yield _origin(row, says, self, table=table, name=name)

    def of(self, clip_id: str, signature: str) -> FramesOrigin:
        """Return the origin of a clip's frames."""
        commit = self.commits.get(signature, {}).get(clip_id)
        video_key = self._clips[clip_id].video_key if clip_id in self._clips else ""
        video = self._videos.get(video_key)
        fingerprint = "" if commit is None else commit.fingerprint
        folder = SignatureFolder(self._batch, signature).path
        return FramesOrigin(
            batch=self._batch,
            clip_id=clip_id,
            signature=signature,
            video_key=video_key,
            uri="" if video is None else video.uri,
            fingerprint=fingerprint,
            is_current=video is not None
            and video.status == "ok"
            and video.fingerprint == fingerprint,
            path="" if commit is None else f"{folder}/{commit.path}",
            digest="" if commit is None else commit.digest,
        )
