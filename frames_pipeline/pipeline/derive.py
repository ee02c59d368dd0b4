"""From frames to rows: embeddings, quality measures, captions, each row saying which frames.

A clip whose frames are the same as last time, for a provider that is the same, keeps its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from frames_pipeline.errors import SourceError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import Provider
from frames_pipeline.models.captioning import CaptionProvider
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.models.quality import QualityProvider
from frames_pipeline.pipeline.places import Places
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import Manifest
from frames_pipeline.tables import (
    CAPTIONS,
    QUALITY,
    Lineage,
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

RowsOf = Callable[[Lineage, FrameBatch], pa.Table]
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
    device: str
    """Where the provider ran: `cpu`, or what it says."""
    made_from: str
    """Path or URL of what they are made from: the folder of the frames."""


def embed_batch(
    batch: str,
    signature: FrameExtractionSignature,
    places: Places,
    provider: EmbeddingProvider,
    *,
    name: str = "",
) -> DerivedReport:
    """A vector per frame, in the table `embeddings`.

    Args:
        batch: Key of the batch.
        signature: Whose frames the provider is given.
        places: Where everything is.
        provider: What makes the vectors.
        name: What these embeddings are called, where a batch has several.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
    """

    def rows_of(lineage: Lineage, frames: FrameBatch) -> pa.Table:
        return embedding_rows(lineage, provider.embed(frames.frames), provider=provider)

    return _derive(
        batch,
        signature,
        places,
        table="embeddings",
        provider=provider,
        name=name,
        schema=embeddings_schema(provider.dimensions),
        rows_of=rows_of,
    )


def pool_batch(batch: str, places: Places, *, name: str = "") -> DerivedReport:
    """A vector per clip, in the table `clip_embeddings`: the mean of those of its frames.

    Args:
        batch: Key of the batch.
        places: Where everything is.
        name: What the embeddings of its frames are called.

    Raises:
        CommitNotFoundError: The batch has no embeddings of that name.
    """
    rows = pooled_rows(places.tables.read("embeddings", batch, part=name), pool="mean")
    info = places.tables.write("clip_embeddings", batch, rows, part=name)
    made_from = places.tables.url("embeddings", batch, part=name)
    return DerivedReport(info, rows, made=len(rows), kept=0, device="cpu", made_from=made_from)


def measure_batch(
    batch: str, signature: FrameExtractionSignature, places: Places, provider: QualityProvider
) -> DerivedReport:
    """Quality measures per frame, in the table `quality`.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
    """

    def rows_of(lineage: Lineage, frames: FrameBatch) -> pa.Table:
        return quality_rows(lineage, provider.measure(frames.frames), provider=provider)

    return _derive(
        batch,
        signature,
        places,
        table="quality",
        provider=provider,
        schema=QUALITY,
        rows_of=rows_of,
    )


def caption_batch(
    batch: str,
    signature: FrameExtractionSignature,
    places: Places,
    provider: CaptionProvider,
    *,
    name: str = "",
) -> DerivedReport:
    """A caption per clip, in the table `captions`.

    A clip that the model has no caption for has a row that says why. Captions that were made
    stand, whatever becomes of the others.

    Args:
        batch: Key of the batch.
        signature: Whose frames the model is shown.
        places: Where everything is.
        provider: What asks it.
        name: What these captions are called, where a batch has several.

    Raises:
        CommitNotFoundError: The batch's frames are not published for the signature.
        IntegrityError: They are not what was committed.
        TransientError: The endpoint did not answer for some clips.
    """
    unanswered: list[TransientError] = []

    def rows_of(lineage: Lineage, frames: FrameBatch) -> pa.Table:
        try:
            return caption_rows(lineage, provider.caption(frames), provider=provider)
        except SourceError as error:
            return failed_caption_rows(lineage, error, provider=provider)
        except TransientError as error:
            unanswered.append(error)
            return CAPTIONS.empty_table()

    report = _derive(
        batch,
        signature,
        places,
        table="captions",
        provider=provider,
        name=name,
        schema=CAPTIONS,
        rows_of=rows_of,
    )
    if unanswered:
        message = f"{len(unanswered)} clips of {batch} have no answer, the first: {unanswered[0]}"
        raise TransientError(message) from unanswered[0]
    return report


def _derive(
    batch: str,
    signature: FrameExtractionSignature,
    places: Places,
    *,
    table: str,
    provider: Provider,
    schema: pa.Schema,
    rows_of: RowsOf,
    name: str = "",
) -> DerivedReport:
    """Keep the rows that stand, make the others, publish them together."""
    manifest = places.store.manifest(batch, signature)
    standing = _standing(
        places.table(table, batch, part=name), manifest, signature, provider, schema
    )
    parts: list[pa.Table] = []
    made = 0
    for clip_id, commit in manifest.clips.items():
        if clip_id not in standing:
            frames = places.store.read_commit(batch, signature, commit)
            lineage = Lineage.of(
                frames,
                batch=batch,
                clip_id=clip_id,
                signature=signature.key,
                frames_digest=commit.digest,
            )
            standing[clip_id] = rows_of(lineage, frames)
            made += 1
        parts.append(standing[clip_id])
    rows = pa.concat_tables([schema.empty_table(), *parts])
    info = places.tables.write(table, batch, rows, part=name)
    return DerivedReport(
        info,
        rows,
        made=made,
        kept=len(manifest.clips) - made,
        device=str(getattr(provider, "device_name", "cpu")),
        made_from=places.store.url(batch, signature),
    )


def _standing(
    table: pa.Table | None,
    manifest: Manifest,
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
        if clip_id in manifest.clips
        and manifest.clips[clip_id].digest == rows["frames_digest"][0].as_py()
    }
