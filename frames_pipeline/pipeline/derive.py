"""From frames to rows: embeddings, quality measures, captions, each row saying which frames.

A clip whose frames are the same as last time, for a provider that is the same, keeps its rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import SourceError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import Provider
from frames_pipeline.models.captioning import CaptionProvider, concurrency_of
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.models.quality import QualityProvider
from frames_pipeline.pipeline.bounded import results
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, Manifest
from frames_pipeline.tables.tables import (
    CAPTIONS,
    QUALITY,
    FrameRef,
    TableInfo,
    caption_rows,
    embedding_rows,
    embeddings_schema,
    failed_caption_rows,
    pooled_rows,
    provider_parameters,
    quality_rows,
    rows_by_clip,
)

PUBLISH_EVERY_S: Final = 30.0
"""Seconds after which captions that were made are published, while others are not yet."""

GIVE_UP_AFTER: Final = 8
"""Clips in a row without an answer after which the others are not asked about."""

RowsOf = Callable[[FrameRef, FrameBatch], pa.Table]
"""Makes the rows of one clip."""


@dataclass(frozen=True, slots=True)
class DerivedReport:
    """How the rows of a batch came to be."""

    info: TableInfo
    """What was published."""
    rows: pa.Table
    """Its rows."""
    made: int
    """Clips whose rows were made now."""
    kept: int
    """Clips whose rows stand from before."""
    new: pa.Table
    """Those of its rows that were made now."""
    device: str
    """Where the provider ran: `cpu`, or what it says; `none` if it was not asked."""
    made_from: str
    """Path or URL of what they are made from: the folder of the frames."""


@old_parameters(places="workspace")
def embed_batch(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    provider: EmbeddingProvider,
    *,
    name: str = "",
) -> DerivedReport:
    """A vector per frame, in the table `embeddings`.

    Args:
        batch: Key of the batch.
        signature: Whose frames the provider is given.
        workspace: Where everything is.
        provider: What makes the vectors.
        name: What these embeddings are called, where a batch has several.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
    """

    def rows_of(lineage: FrameRef, frames: FrameBatch) -> pa.Table:
        return embedding_rows(lineage, provider.embed(frames.frames), provider=provider)

    return _derive(
        batch,
        signature,
        workspace,
        table="embeddings",
        provider=provider,
        name=name,
        schema=lambda before: embeddings_schema(_dimensions(before, provider)),
        rows_of=rows_of,
    )


def standing_clips(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    table: str,
    provider: Provider,
    name: str = "",
) -> set[str]:
    """Clips whose rows the provider would not be asked for: made from the same frames, by it.

    Args:
        batch: Key of the batch.
        signature: Whose frames the rows are made from.
        workspace: Where everything is.
        table: `embeddings`, `quality` or `captions`.
        provider: What would make the rows. It is asked who it is, and loads nothing.
        name: What the rows are called, where a batch has several tables.
    """
    before = workspace.table(table, batch, part=name)
    if before is None:
        return set()
    if table == "embeddings":
        columns = embeddings_schema(before.schema.field("embedding").type.list_size)
    else:
        columns = {"quality": QUALITY, "captions": CAPTIONS}[table]
    commits = workspace.store.published(batch, signature)
    return set(_standing(before, commits, signature, provider, columns))


def _dimensions(before: pa.Table | None, provider: EmbeddingProvider) -> int:
    """Length of the vectors, without loading a model whose vectors are there."""
    if before is not None and len(before):
        makers = pc.unique(before["provider_parameters"]).to_pylist()
        if makers == [provider_parameters(provider)]:
            return int(before.schema.field("embedding").type.list_size)
    return provider.dimensions


@old_parameters(places="workspace")
def pool_batch(batch: str, workspace: Workspace, *, name: str = "") -> DerivedReport:
    """A vector per clip, in the table `clip_embeddings`: the mean of those of its frames.

    Args:
        batch: Key of the batch.
        workspace: Where everything is.
        name: What the embeddings of its frames are called.

    Raises:
        CommitNotFoundError: The batch has no embeddings of that name.
    """
    rows = pooled_rows(workspace.tables.read("embeddings", batch, part=name), pool="mean")
    info = workspace.tables.write("clip_embeddings", batch, rows, part=name)
    made_from = workspace.tables.url("embeddings", batch, part=name)
    return DerivedReport(
        info, rows, made=len(rows), kept=0, new=rows, device="cpu", made_from=made_from
    )


@old_parameters(places="workspace")
def measure_batch(
    batch: str, signature: FrameExtractionSignature, workspace: Workspace, provider: QualityProvider
) -> DerivedReport:
    """Quality measures per frame, in the table `quality`.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
    """

    def rows_of(lineage: FrameRef, frames: FrameBatch) -> pa.Table:
        return quality_rows(lineage, provider.measure(frames.frames), provider=provider)

    return _derive(
        batch,
        signature,
        workspace,
        table="quality",
        provider=provider,
        schema=QUALITY,
        rows_of=rows_of,
    )


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
    """A caption per clip, in the table `captions`.

    As many clips are asked about at once as the provider's `concurrency` says. A clip that the
    model has no caption for has a row that says why. Captions that were made stand, whatever
    becomes of the others: they are published in between, and before an error is raised. Where clip
    after clip has no answer, the others are not asked about.

    Args:
        batch: Key of the batch.
        signature: Whose frames the model is shown.
        workspace: Where everything is.
        provider: What asks it.
        name: What these captions are called, where a batch has several.
        publish_every_s: Seconds after which what was made so far is published.
        give_up_after: Clips in a row without an answer after which the others are not asked about;
            at least two for each that is asked about at once.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
        ConfigError: The provider is not set up for its endpoint, or no longer.
        TransientError: The endpoint did not answer for some clips.
    """
    unanswered: dict[str, TransientError | None] = {}
    silences, most = 0, max(give_up_after, 2 * concurrency_of(provider))

    def rows_of(lineage: FrameRef, frames: FrameBatch) -> pa.Table:
        nonlocal silences
        if silences >= most:
            unanswered[lineage.clip_id] = None
            return CAPTIONS.empty_table()
        try:
            rows = caption_rows(lineage, provider.caption(frames), provider=provider)
        except SourceError as error:
            rows = failed_caption_rows(lineage, error, provider=provider)
        except TransientError as error:
            silences += 1
            unanswered[lineage.clip_id] = error
            return CAPTIONS.empty_table()
        silences = 0
        return rows

    report = _derive(
        batch,
        signature,
        workspace,
        table="captions",
        provider=provider,
        name=name,
        schema=CAPTIONS,
        rows_of=rows_of,
        at_once=concurrency_of(provider),
        publish_every_s=publish_every_s,
    )
    if unanswered:
        errors = {clip: error for clip, error in unanswered.items() if error is not None}
        first = errors[min(errors)]
        others = len(unanswered) - len(errors)
        unasked = f", {others} of them not asked about" if others else ""
        message = f"{len(unanswered)} clips of {batch} have no answer{unasked}, the first: {first}"
        raise TransientError(message) from first
    return report


def _derive(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    table: str,
    provider: Provider,
    schema: pa.Schema | Callable[[pa.Table | None], pa.Schema],
    rows_of: RowsOf,
    name: str = "",
    at_once: int = 1,
    publish_every_s: float = PUBLISH_EVERY_S,
) -> DerivedReport:
    """Keep the rows that stand, make the others; publish them every so often, and at the end."""
    manifest = workspace.store.manifest(batch, signature)
    before = workspace.table(table, batch, part=name)
    columns = schema(before) if callable(schema) else schema
    standing = _standing(before, manifest.clips, signature, provider, columns)
    kept = set(standing)

    def rows(clips: Iterable[str]) -> pa.Table:
        return pa.concat_tables([columns.empty_table(), *(standing[clip] for clip in clips)])

    def publish() -> TableInfo:
        done = rows(clip for clip in manifest.clips if clip in standing)
        return workspace.tables.write(table, batch, done, part=name)

    def made_of(clip: tuple[FrameRef, FrameBatch]) -> tuple[str, pa.Table]:
        return clip[0].clip_id, rows_of(*clip)

    missing = [clip for clip in manifest.clips if clip not in kept]
    owed = _frames_of(missing, manifest, workspace, signature)
    published = time.monotonic()
    try:
        for clip_id, made in results(made_of, owed, at_once):
            standing[clip_id] = made
            now = time.monotonic()
            if now - published >= publish_every_s:
                publish()
                published = now
    except BaseException:  # of a person who ends the run, too
        if len(standing) > len(kept):
            publish()
        raise
    info = publish()
    return DerivedReport(
        info,
        rows(manifest.clips),
        made=len(missing),
        kept=len(kept),
        new=rows(missing),
        device=str(getattr(provider, "device_name", "cpu")) if missing else "none",
        made_from=workspace.store.url(batch, signature),
    )


def _frames_of(
    clips: Iterable[str],
    manifest: Manifest,
    workspace: Workspace,
    signature: FrameExtractionSignature,
) -> Iterator[tuple[FrameRef, FrameBatch]]:
    """The frames of some clips, one after the other."""
    batch = manifest.batch_key
    for clip_id in clips:
        commit = manifest.clips[clip_id]
        frames = workspace.store.read_commit(batch, signature, commit)
        lineage = FrameRef.of(
            frames,
            batch=batch,
            clip_id=clip_id,
            signature=signature.key,
            frames_digest=commit.digest,
        )
        yield lineage, frames


def _standing(
    table: pa.Table | None,
    commits: Mapping[str, ClipCommit],
    signature: FrameExtractionSignature,
    provider: Provider,
    schema: pa.Schema,
) -> dict[str, pa.Table]:
    """Rows by clip that were made from the same frames, by the same provider."""
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
