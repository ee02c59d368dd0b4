"""From frames to rows: embeddings, quality measures and captions, with a reference to the frames.

A clip keeps its rows if its frames and the provider are the same as last time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import ConfigError, SourceError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import Provider, provider_parameters
from frames_pipeline.models.captioning import CaptionProvider
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.models.quality import QualityProvider
from frames_pipeline.pipeline.bounded import bounded_map
from frames_pipeline.pipeline.kinds import (
    KINDS,
    DerivedKind,
    DerivedReport,
    captions,
    embeddings,
    kind_of,
    quality,
)
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, Manifest
from frames_pipeline.tables import FrameRef, FrameTables, TableInfo, rows_by_clip

PUBLISH_EVERY_S: Final = 30.0
"""Seconds after which finished captions are published, while others are still running."""

GIVE_UP_AFTER: Final = 8
"""Clips in a row without an answer after which the run gives up."""


def derive_batch(
    kind: DerivedKind[Any, Any] | str,
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    provider: Provider,
    *,
    name: str = "",
    publish_every_s: float = PUBLISH_EVERY_S,
    give_up_after: int = GIVE_UP_AFTER,
) -> DerivedReport:
    """Make the rows of a batch for one kind of derived table, and publish them.

    The provider gets as many clips at once as its concurrency allows. Finished rows are kept: they
    are published in between, and before an error is raised. If the kind has rows for failed clips,
    the next run tries a clip without an answer again. After too many such clips in a row the run
    gives up, and the remaining clips are left for the next run, too.

    Args:
        kind: A kind of derived table, or its name.
        batch: Key of the batch.
        signature: Signature of the provider's input frames.
        workspace: Workspace of the batch.
        provider: A provider of the kind, from its `open`.
        name: Name of the definition, if the batch has several of this kind.
        publish_every_s: Seconds after which finished rows are published.
        give_up_after: Clips in a row without an answer after which the run gives up; at least
            twice the provider's concurrency.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: The stored frames differ from the committed ones.
        ConfigError: The kind is unknown, the provider's settings are wrong, or it does not take
            the samples of the signature.
        TransientError: The provider did not answer for some clips.
    """
    kind = kind_of(kind) if isinstance(kind, str) else kind
    kind.check_samples(provider, signature, name=name)
    manifest = workspace.store.manifest(batch, signature)
    before = workspace.table(kind.table, batch, part=name)
    columns = kind.schema(provider, before)
    standing = _standing(before, manifest.clips, signature, provider, columns)
    rows = _BatchRows(
        tables=workspace.tables,
        table=kind.table,
        batch=batch,
        part=name,
        columns=columns,
        clips=tuple(manifest.clips),
        of_clip=standing,
    )
    missing = [clip for clip in manifest.clips if clip not in standing]
    asker = _Asker(kind, provider, columns, max(give_up_after, 2 * kind.concurrency(provider)))
    owed = _frames_of(missing, manifest, workspace, signature)
    rows.collect(bounded_map(asker.rows_of, owed, kind.concurrency(provider)), publish_every_s)
    info = rows.publish()
    asker.check(batch)
    return DerivedReport(
        info,
        rows.of(manifest.clips),
        made=len(missing),
        kept=len(manifest.clips) - len(missing),
        new=rows.of(missing),
        device=str(getattr(provider, "device_name", "cpu")) if missing else "none",
        made_from=workspace.store.url(batch, signature),
    )


@dataclass(slots=True)
class _BatchRows:
    """The rows of a batch by clip, and the table that they are published in."""

    tables: FrameTables
    table: str
    batch: str
    part: str
    columns: pa.Schema
    clips: tuple[str, ...]
    """Clips of the batch, in the order of the table."""
    of_clip: dict[str, pa.Table]
    """Finished rows: a table per clip."""

    def of(self, clips: Iterable[str]) -> pa.Table:
        """Return the rows of some clips."""
        found = (self.of_clip[clip] for clip in clips)
        return pa.concat_tables([self.columns.empty_table(), *found])

    def publish(self) -> TableInfo:
        """Publish the finished rows."""
        done = self.of(clip for clip in self.clips if clip in self.of_clip)
        return self.tables.write(self.table, self.batch, done, part=self.part)

    def collect(self, made: Iterable[tuple[str, pa.Table]], publish_every_s: float) -> None:
        """Take clips' rows as they are made; publish them in between, and before an error."""
        before, published = len(self.of_clip), time.monotonic()
        try:
            for clip_id, rows in made:
                self.of_clip[clip_id] = rows
                now = time.monotonic()
                if now - published >= publish_every_s:
                    self.publish()
                    published = now
        except BaseException:  # KeyboardInterrupt, too
            if len(self.of_clip) > before:
                self.publish()
            raise


@dataclass(slots=True)
class _Asker:
    """Sends clips to a provider until too many in a row have no answer."""

    kind: DerivedKind[Any, Any]
    provider: Provider
    columns: pa.Schema
    most: int
    """Clips in a row without an answer after which no further clip is sent."""
    silences: int = 0
    """Clips in a row without an answer."""
    unanswered: dict[str, TransientError | None] = field(default_factory=dict)
    """Clips without an answer, and the error; `None` for clips that were not sent."""

    def rows_of(self, clip: tuple[FrameRef, FrameBatch]) -> tuple[str, pa.Table]:
        """Return the id of a clip and its rows: none if it has no answer."""
        ref, frames = clip
        if self.silences >= self.most:
            self.unanswered[ref.clip_id] = None
            return ref.clip_id, self.columns.empty_table()
        try:
            rows = self._asked(ref, frames)
        except TransientError as error:
            if self.kind.failed is None:
                raise
            self.silences += 1
            self.unanswered[ref.clip_id] = error
            return ref.clip_id, self.columns.empty_table()
        self.silences = 0
        return ref.clip_id, rows

    def _asked(self, ref: FrameRef, frames: FrameBatch) -> pa.Table:
        try:
            return self.kind.rows(ref, self.kind.ask(self.provider, frames), self.provider)
        except SourceError as error:
            if self.kind.failed is None:
                raise
            return self.kind.failed(ref, error, self.provider)

    def check(self, batch: str) -> None:
        """Raise the first error of the clips without an answer, if there is any.

        Raises:
            TransientError: The provider did not answer for some clips.
        """
        if not self.unanswered:
            return
        errors = {clip: error for clip, error in self.unanswered.items() if error is not None}
        first = errors[min(errors)]
        others = len(self.unanswered) - len(errors)
        unasked = f", {others} of them not asked about" if others else ""
        message = f"{len(self.unanswered)} clips of {batch} have no answer{unasked}, the first: "
        raise TransientError(f"{message}{first}") from first


@old_parameters(places="workspace")
def embed_batch(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    provider: EmbeddingProvider,
    *,
    name: str = "",
) -> DerivedReport:
    """Make a vector per frame, in the table `embeddings`.

    Args:
        batch: Key of the batch.
        signature: Signature of the provider's input frames.
        workspace: Workspace of the batch.
        provider: A provider of embeddings.
        name: Name of these embeddings, if the batch has several.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: The stored frames differ from the committed ones.
    """
    return derive_batch(embeddings.KIND, batch, signature, workspace, provider, name=name)


@old_parameters(places="workspace")
def measure_batch(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    provider: QualityProvider,
    *,
    name: str = "",
) -> DerivedReport:
    """Measure the quality of each frame, in the table `quality`.

    Args:
        batch: Key of the batch.
        signature: Signature of the provider's input frames.
        workspace: Workspace of the batch.
        provider: A provider of quality measures.
        name: Name of these measures, if the batch has several.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: The stored frames differ from the committed ones.
    """
    return derive_batch(quality.KIND, batch, signature, workspace, provider, name=name)


@old_parameters(places="workspace")
def caption_batch(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    provider: CaptionProvider,
    *,
    name: str = "",
    publish_every_s: float = PUBLISH_EVERY_S,
    give_up_after: int = GIVE_UP_AFTER,
) -> DerivedReport:
    """Make a caption per clip, in the table `captions`.

    A clip that the model cannot caption becomes a row with the reason. See `derive_batch` for clips
    without an answer.

    Args:
        batch: Key of the batch.
        signature: Signature of the model's input frames.
        workspace: Workspace of the batch.
        provider: A provider of captions.
        name: Name of these captions, if the batch has several.
        publish_every_s: Seconds after which finished captions are published.
        give_up_after: Clips in a row without an answer after which the run gives up; at least
            twice the provider's concurrency.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: The stored frames differ from the committed ones.
        ConfigError: The provider's settings do not fit its endpoint.
        TransientError: The endpoint did not answer for some clips.
    """
    return derive_batch(
        captions.KIND,
        batch,
        signature,
        workspace,
        provider,
        name=name,
        publish_every_s=publish_every_s,
        give_up_after=give_up_after,
    )


@old_parameters(places="workspace")
def pool_batch(
    batch: str,
    workspace: Workspace,
    *,
    name: str = "",
    kind: DerivedKind[Any, Any] | str = embeddings.KIND,
) -> DerivedReport:
    """Make a row per clip from a kind's rows per frame: `clip_embeddings` from `embeddings`.

    Args:
        batch: Key of the batch.
        workspace: Workspace of the batch.
        name: Name of the definition, if the batch has several of this kind.
        kind: A kind with rows that can be pooled, or its name.

    Raises:
        CommitNotFoundError: The batch has no rows of that name.
        ConfigError: Rows of this kind cannot be pooled.
    """
    kind = kind_of(kind) if isinstance(kind, str) else kind
    if kind.pooled is None:
        poolable = ", ".join(one.name for one in KINDS.values() if one.pooled)
        message = f"rows of {kind.name} cannot be pooled; choose one of {poolable}"
        raise ConfigError(message)
    rows = kind.pooled.pool(workspace.tables.read(kind.table, batch, part=name))
    info = workspace.tables.write(kind.pooled.table, batch, rows, part=name)
    made_from = workspace.tables.url(kind.table, batch, part=name)
    return DerivedReport(
        info, rows, made=len(rows), kept=0, new=rows, device="cpu", made_from=made_from
    )


def clips_up_to_date(
    rows: pa.Table | None,
    commits: Mapping[str, ClipCommit],
    signature: FrameExtractionSignature,
    *,
    kind: DerivedKind[Any, Any],
    provider: Provider,
) -> set[str]:
    """Return clips with rows from the same frames, by the same provider.

    Args:
        rows: Stored rows of the batch; `None` if there are none.
        commits: The batch's frames, by clip.
        signature: Signature of the rows' frames.
        kind: The kind of derived table.
        provider: The provider. Only its parameters are read; it loads no model.
    """
    if rows is None:
        return set()
    return set(_standing(rows, commits, signature, provider, kind.stored_schema(rows)))


def _frames_of(
    clips: Iterable[str],
    manifest: Manifest,
    workspace: Workspace,
    signature: FrameExtractionSignature,
) -> Iterator[tuple[FrameRef, FrameBatch]]:
    """Yield the frames of some clips, one after the other."""
    batch = manifest.batch_key
    for clip_id in clips:
        commit = manifest.clips[clip_id]
        frames = workspace.store.read_commit(batch, signature, commit)
        ref = FrameRef.of(
            frames,
            batch=batch,
            clip_id=clip_id,
            signature=signature.key,
            frames_digest=commit.digest,
        )
        yield ref, frames


def _standing(
    table: pa.Table | None,
    commits: Mapping[str, ClipCommit],
    signature: FrameExtractionSignature,
    provider: Provider,
    schema: pa.Schema,
) -> dict[str, pa.Table]:
    """Return rows by clip that were made from the same frames, by the same provider."""
    if table is None or not table.schema.equals(schema):
        return {}
    same = pc.and_(
        pc.equal(table["signature"], signature.key),
        pc.equal(table["provider_parameters"], provider_parameters(provider)),
    )
    return {
        clip_id: rows
        for clip_id, rows in rows_by_clip(table.filter(same)).items()
        if clip_id in commits and commits[clip_id].digest == rows["frames_digest"][0].as_py()
    }
