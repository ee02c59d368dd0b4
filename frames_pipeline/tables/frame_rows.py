"""Rows made from frames: a reference to the frames, the provider, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from frames_pipeline._lazy import lazy_module, lazy_values
from frames_pipeline.tables.columns import Row, Vector, storable, vectors
from frames_pipeline.tables.rows import Batch, ClipId, Detail, Reason, Signature, Status

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from frames_pipeline.frames import FrameBatch
else:
    np, pa = lazy_module("numpy"), lazy_module("pyarrow")

TimeBaseNum = Annotated[int, "Seconds per unit of pts: numerator."]
TimeBaseDen = Annotated[int, "Seconds per unit of pts: denominator."]
FramesDigest = Annotated[str, "SHA-256 of the provider's input frames."]
ProviderName = Annotated[str, "Name of the provider."]
ProviderRevision = Annotated[int, "Version of its algorithm."]
ProviderParameters = Annotated[str, "Its parameters that affect the answer, as JSON."]


@dataclass(frozen=True, slots=True, eq=False)
class FrameRef:
    """Reference to the input frames of a provider."""

    batch: str
    """Key of the batch."""
    clip_id: str
    """The clip, within the batch."""
    signature: str
    """Key of the frames' signature."""
    frames_digest: str
    """`FrameBatch.digest()` of the frames."""
    positions: NDArray[np.int64]
    """Position of each frame in its stream. Shape (n,)."""
    pts: NDArray[np.int64]
    """Timestamp of each frame, in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""

    @classmethod
    def of(
        cls,
        frames: FrameBatch,
        *,
        batch: str,
        clip_id: str,
        signature: str,
        frames_digest: str | None = None,
    ) -> FrameRef:
        """Return the reference to these frames.

        Args:
            frames: The frames.
            batch: Key of their batch.
            clip_id: Their clip.
            signature: Key of their signature.
            frames_digest: Their digest if it is known; otherwise it is computed from the pixels.
        """
        return cls(
            batch=batch,
            clip_id=clip_id,
            signature=signature,
            frames_digest=frames.digest() if frames_digest is None else frames_digest,
            positions=frames.positions,
            pts=frames.pts,
            time_base=frames.time_base,
        )


@dataclass(frozen=True, slots=True)
class Maker:
    """The record of a provider in its rows."""

    name: str
    """Its name."""
    revision: int
    """Version of its algorithm."""
    parameters: str
    """Its parameters that affect the answers, as canonical JSON."""


@dataclass(frozen=True, slots=True)
class FrameRow(Row):
    """A row made from one frame."""

    batch: Batch
    clip_id: ClipId
    signature: Signature
    position: Annotated[int, "Index of the frame among the shown frames of its stream."]
    pts: Annotated[int, "Presentation timestamp of the frame, in time_base units."]
    time_base_num: TimeBaseNum
    time_base_den: TimeBaseDen
    frames_digest: FramesDigest
    provider: ProviderName
    provider_revision: ProviderRevision
    provider_parameters: ProviderParameters

    @property
    def positions(self) -> tuple[int, ...]:
        """Position of the frame."""
        return (self.position,)

    @property
    def stamps(self) -> tuple[int, ...]:
        """Timestamp of the frame, in time_base units."""
        return (self.pts,)


@dataclass(frozen=True, slots=True)
class FramesRow(Row):
    """A row made from several frames of one clip."""

    batch: Batch
    clip_id: ClipId
    signature: Signature
    positions: Annotated[tuple[int, ...], "Positions of the row's frames."]
    pts: Annotated[tuple[int, ...], "Their presentation timestamps, in time_base units."]
    time_base_num: TimeBaseNum
    time_base_den: TimeBaseDen
    frames_digest: FramesDigest
    provider: ProviderName
    provider_revision: ProviderRevision
    provider_parameters: ProviderParameters

    @property
    def stamps(self) -> tuple[int, ...]:
        """Timestamps of the frames, in time_base units."""
        return self.pts


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingRow(FrameRow):
    """The vector of a frame."""

    TABLE: ClassVar[str] = "embeddings"

    embedding: Annotated[Vector, "Vector of unit length."]


@dataclass(frozen=True, slots=True, eq=False)
class ClipEmbeddingRow(FramesRow):
    """One vector for all frames of a clip."""

    TABLE: ClassVar[str] = "clip_embeddings"

    pool: Annotated[str, "Way of pooling: mean."]
    embedding: Annotated[Vector, "Sum of the vectors of its frames, of unit length."]


@dataclass(frozen=True, slots=True)
class QualityRow(FrameRow):
    """Measures of the pixels of a frame."""

    TABLE: ClassVar[str] = "quality"

    sharpness: Annotated[float, "Variance of the Laplacian of luma, in squared levels."]
    exposure: Annotated[float, "Mean luma, 0 to 1."]
    clipped_dark: Annotated[float, "Share of pixels too dark to hold detail, 0 to 1."]
    clipped_bright: Annotated[float, "Share of pixels too bright to hold detail, 0 to 1."]
    contrast: Annotated[float, "Standard deviation of luma, 0 to 0.5."]
    colourfulness: Annotated[float, "Hasler and Suesstrunk's M3; 0 is grey."]
    black_pixels: Annotated[float, "Share of pixels that count as black, 0 to 1."]
    black: Annotated[bool, "Whether the frame counts as black."]
    motion: Annotated[float, "Mean absolute difference to the previous frame, 0 to 1."]
    duplicate: Annotated[bool, "Whether the frame repeats the previous one."]
    aesthetic: Annotated[float | None, "Score by an aesthetics model; null without one."]


@dataclass(frozen=True, slots=True)
class CaptionRow(FramesRow):
    """The caption of a clip, or the reason that there is none."""

    TABLE: ClassVar[str] = "captions"

    model: Annotated[str, "Name of the model."]
    prompt_sha256: Annotated[str, "SHA-256 of the prompt."]
    text: Annotated[str, "The caption; empty if there is none."]
    finish_reason: Annotated[str, "Why the model stopped; length: the text is cut off."]
    prompt_tokens: Annotated[int | None, "Tokens of the prompt and frames."]
    completion_tokens: Annotated[int | None, "Tokens of the answer."]
    status: Status
    reason: Reason
    detail: Detail


QUALITY: pa.Schema
"""Columns of `QualityRow`: one row per frame."""

CAPTIONS: pa.Schema
"""Columns of `CaptionRow`: one row per clip."""

LINEAGE_COLUMNS: Final = frozenset(
    one.name for kind in (FrameRow, FramesRow) for one in fields(kind)
)
"""Columns of a row's lineage: its frames and its provider."""


def embeddings_schema(dimensions: int = -1) -> pa.Schema:
    """Return the columns of `EmbeddingRow`, with vectors of that length, or of any."""
    return EmbeddingRow.schema(dimensions=dimensions)


def clip_embeddings_schema(dimensions: int = -1) -> pa.Schema:
    """Return the columns of `ClipEmbeddingRow`, with vectors of that length, or of any."""
    return ClipEmbeddingRow.schema(dimensions=dimensions)


def frame_columns(ref: FrameRef, maker: Maker) -> dict[str, Any]:
    """Return the columns of `FrameRow`, with one row per frame."""
    n = len(ref.positions)
    columns = {name: [storable(value)] * n for name, value in _shared(ref, maker).items()}
    return columns | {"position": ref.positions, "pts": ref.pts}


def frames_fields(
    ref: FrameRef, maker: Maker, *, positions: Sequence[int] = (), pts: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the fields of a `FramesRow` by name.

    Args:
        ref: The frames of the clip.
        maker: The provider.
        positions: Positions of its input frames.
        pts: Their timestamps, in time_base units.
    """
    return {**_shared(ref, maker), "positions": tuple(positions), "pts": tuple(pts)}


def _shared(ref: FrameRef, maker: Maker) -> dict[str, Any]:
    """Return the fields shared by all frames of a clip."""
    return {
        "batch": ref.batch,
        "clip_id": ref.clip_id,
        "signature": ref.signature,
        "time_base_num": ref.time_base.numerator,
        "time_base_den": ref.time_base.denominator,
        "frames_digest": ref.frames_digest,
        "provider": maker.name,
        "provider_revision": maker.revision,
        "provider_parameters": maker.parameters,
    }


def rows_by_clip(rows: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each clip as slices, without copying. A clip's rows must be adjacent."""
    clips = rows["clip_id"].combine_chunks().dictionary_encode()
    codes = clips.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    stops = [*starts, len(rows)][1:]
    return {
        clips[start].as_py(): rows.slice(start, stop - start)
        for start, stop in zip(starts, stops, strict=True)
    }


def vectors_of(rows: pa.Table) -> NDArray[np.float32]:
    """Return the vectors of a table of embeddings. Shape (rows, dimensions)."""
    return vectors(rows["embedding"])


def pooled_rows(rows: pa.Table, *, pool: str) -> pa.Table:
    """Return one row per clip, for the table of clips' embeddings, from the rows of their frames.

    Each is the sum of the vectors of the clip's frames, scaled to length 1. Vectors that cancel
    each other out give zeros, with similarity 0 to every clip.

    Args:
        rows: Rows of the table of embeddings.
        pool: Name of the way of pooling.
    """
    made = [_pooled_row(of_clip, pool) for of_clip in rows_by_clip(rows).values()]
    dimensions = rows.schema.field("embedding").type.list_size
    return ClipEmbeddingRow.to_table(made, dimensions=dimensions)


def _pooled_row(of_clip: pa.Table, pool: str) -> ClipEmbeddingRow:
    (first,) = FrameRow.from_table(of_clip.slice(0, 1))
    return ClipEmbeddingRow(
        batch=first.batch,
        clip_id=first.clip_id,
        signature=first.signature,
        positions=tuple(of_clip["position"].to_pylist()),
        pts=tuple(of_clip["pts"].to_pylist()),
        time_base_num=first.time_base_num,
        time_base_den=first.time_base_den,
        frames_digest=first.frames_digest,
        provider=first.provider,
        provider_revision=first.provider_revision,
        provider_parameters=first.provider_parameters,
        pool=pool,
        embedding=_pooled(vectors_of(of_clip)),
    )


def _pooled(values: NDArray[np.float32]) -> Vector:
    total = values.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    pooled: NDArray[np.float64] = total / length if length else total
    return pooled.astype(np.float32)


__getattr__ = lazy_values(__name__, {"QUALITY": QualityRow.schema, "CAPTIONS": CaptionRow.schema})
