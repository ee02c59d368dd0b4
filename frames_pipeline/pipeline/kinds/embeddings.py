"""Embeddings: a vector per frame, and one per clip by pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError
from frames_pipeline.models.embedding import (
    EmbeddingProvider,
    embedding_class,
    open_embedding_provider,
)
from frames_pipeline.pipeline.kinds.base import (
    DEFAULT,
    AssetInfo,
    CatalogPart,
    DerivedKind,
    DerivedReport,
    PooledKind,
    maker_of,
)
from frames_pipeline.tables import (
    ClipEmbeddingRow,
    EmbeddingRow,
    Row,
    embeddings_schema,
    frame_columns,
    pooled_rows,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from numpy.typing import NDArray

    from frames_pipeline.frames import FrameBatch
    from frames_pipeline.pipeline.workspace import Workspace
    from frames_pipeline.tables import FrameRef
else:
    np, pa, pc = lazy_module("numpy"), lazy_module("pyarrow"), lazy_module("pyarrow.compute")


def embedding_rows(
    ref: FrameRef, vectors: NDArray[np.float32], provider: EmbeddingProvider
) -> pa.Table:
    """Return one row per frame, for the table of embeddings.

    Raises:
        ConfigError: The vectors are not one per frame of the provider's length.
    """
    expected = (len(ref.positions), provider.dimensions)
    if vectors.shape != expected:
        message = f"{provider.name} gave vectors of shape {vectors.shape}, not {expected}"
        raise ConfigError(message)
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, provider.dimensions)
    columns = frame_columns(ref, maker_of(provider)) | {"embedding": embedding}
    return pa.Table.from_pydict(columns, schema=embeddings_schema(provider.dimensions))


@dataclass(frozen=True, slots=True)
class CatalogEmbeddings(Row):
    """The embeddings of a clip, in the catalog."""

    embedding_names: Annotated[
        tuple[str, ...], "Names of the embeddings, in the order of the lists."
    ]
    embedding_counts: Annotated[tuple[int, ...], "Vectors of the clip's frames."]
    embedding_paths: Annotated[tuple[str, ...], "Their Parquet files, relative to the root."]


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Embeddings of a batch under one name."""

    name: str
    """The name, for people."""
    path: str
    """Their table, relative to the root."""
    counts: Mapping[str, int]
    """Number of vectors, by clip."""


def _vectors_of_batch(batch: str, name: str, workspace: Workspace) -> _Vectors:
    table = workspace.table(EmbeddingRow.TABLE, batch, part=name)
    path = workspace.tables.path(EmbeddingRow.TABLE, batch, part=name)
    if table is None:
        return _Vectors(name or DEFAULT, path, {})
    clips, counts = pc.value_counts(table["clip_id"]).flatten()
    return _Vectors(
        name or DEFAULT, path, dict(zip(clips.to_pylist(), counts.to_pylist(), strict=True))
    )


def _catalog(
    batch: str, names: Sequence[str], workspace: Workspace
) -> Callable[[str], CatalogEmbeddings]:
    vectors = [_vectors_of_batch(batch, name, workspace) for name in names]

    def of_clip(clip_id: str) -> CatalogEmbeddings:
        return CatalogEmbeddings(
            embedding_names=tuple(one.name for one in vectors),
            embedding_counts=tuple(one.counts.get(clip_id, 0) for one in vectors),
            embedding_paths=tuple(one.path if clip_id in one.counts else "" for one in vectors),
        )

    return of_clip


def _ask(provider: EmbeddingProvider, clip: FrameBatch) -> NDArray[np.float32]:
    return provider.embed(clip.frames)


def _dimensions(provider: EmbeddingProvider) -> int:
    return provider.dimensions


def _facts(report: DerivedReport, provider: EmbeddingProvider) -> dict[str, object]:
    return {
        "dimensions": report.rows.schema.field("embedding").type.list_size,
        "device": report.device,
    }


KIND: Final[DerivedKind[EmbeddingProvider, NDArray[np.float32]]] = DerivedKind(
    name="embeddings",
    row=EmbeddingRow,
    open=open_embedding_provider,
    provider_class=embedding_class,
    ask=_ask,
    rows=embedding_rows,
    dimensions=_dimensions,
    asset=AssetInfo(
        key="frame_embeddings",
        description="A vector per frame, by provider `{provider}`. Every row names its frame.",
        facts=_facts,
    ),
    catalog=CatalogPart(
        row=CatalogEmbeddings, read=_catalog, sources={"embedding_counts": "embedding"}
    ),
    pooled=PooledKind(
        row=ClipEmbeddingRow,
        pool=partial(pooled_rows, pool="mean"),
        asset="clip_embeddings",
        description="A vector per clip: the mean of its frames'. Every row names its frames.",
        code_version="mean-1",
        sources={"positions": "position"},
    ),
)
"""Embeddings of frames."""
