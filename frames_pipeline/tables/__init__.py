"""Tables of a batch: typed rows with their schemas, digests, and Parquet files.

Rows made from frames record their source: batch, clip, signature, position, timestamp, and the
digest of the provider's input frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_names
from frames_pipeline._renamed import old_names

if TYPE_CHECKING:
    from frames_pipeline.tables.catalog import CatalogRow, DecisionRow, FormatRow
    from frames_pipeline.tables.columns import Row, Vector, columnar, present, table_of
    from frames_pipeline.tables.digests import table_digest
    from frames_pipeline.tables.files import FILE_KEY, ROOT, WHOLE_PART, FrameTables, TableInfo
    from frames_pipeline.tables.frame_rows import (
        CAPTIONS,
        LINEAGE_COLUMNS,
        QUALITY,
        CaptionRow,
        ClipEmbeddingRow,
        EmbeddingRow,
        FrameRef,
        FrameRow,
        FramesRow,
        Maker,
        QualityRow,
        clip_embeddings_schema,
        embeddings_schema,
        frame_columns,
        frames_fields,
        pooled_rows,
        rows_by_clip,
        vectors_of,
    )
    from frames_pipeline.tables.outcomes import OUTCOMES, OutcomeRow
    from frames_pipeline.tables.rows import (
        CLIPS,
        NEAR_DUPLICATES,
        VIDEOS,
        ClipRow,
        NearDuplicateRow,
        VideoRow,
    )


__all__ = [
    "CAPTIONS",
    "CLIPS",
    "FILE_KEY",
    "LINEAGE_COLUMNS",
    "NEAR_DUPLICATES",
    "OUTCOMES",
    "QUALITY",
    "ROOT",
    "VIDEOS",
    "WHOLE_PART",
    "CaptionRow",
    "CatalogRow",
    "ClipEmbeddingRow",
    "ClipRow",
    "DecisionRow",
    "EmbeddingRow",
    "FormatRow",
    "FrameRef",
    "FrameRow",
    "FrameTables",
    "FramesRow",
    "Maker",
    "NearDuplicateRow",
    "OutcomeRow",
    "QualityRow",
    "Row",
    "TableInfo",
    "Vector",
    "VideoRow",
    "clip_embeddings_schema",
    "columnar",
    "embeddings_schema",
    "frame_columns",
    "frames_fields",
    "pooled_rows",
    "present",
    "rows_by_clip",
    "table_digest",
    "table_of",
    "vectors_of",
]

_HOMES: Final = {
    "catalog": (
        "CatalogRow",
        "DecisionRow",
        "FormatRow",
    ),
    "columns": (
        "Row",
        "Vector",
        "columnar",
        "present",
        "table_of",
    ),
    "digests": ("table_digest",),
    "files": (
        "FILE_KEY",
        "ROOT",
        "WHOLE_PART",
        "FrameTables",
        "TableInfo",
    ),
    "frame_rows": (
        "CAPTIONS",
        "LINEAGE_COLUMNS",
        "QUALITY",
        "CaptionRow",
        "ClipEmbeddingRow",
        "EmbeddingRow",
        "FrameRef",
        "FrameRow",
        "FramesRow",
        "Maker",
        "QualityRow",
        "clip_embeddings_schema",
        "embeddings_schema",
        "frame_columns",
        "frames_fields",
        "pooled_rows",
        "rows_by_clip",
        "vectors_of",
    ),
    "outcomes": (
        "OUTCOMES",
        "OutcomeRow",
    ),
    "rows": (
        "CLIPS",
        "NEAR_DUPLICATES",
        "VIDEOS",
        "ClipRow",
        "NearDuplicateRow",
        "VideoRow",
    ),
}

__getattr__ = lazy_names(
    __name__,
    _HOMES,
    old_names(
        __name__,
        {
            "CATALOG": "frames_pipeline.pipeline.catalog:CATALOG",
            "Lineage": "FrameRef",
            "caption_rows": "frames_pipeline.pipeline.kinds.captions:caption_rows",
            "embedding_rows": "frames_pipeline.pipeline.kinds.embeddings:embedding_rows",
            "failed_caption_rows": "frames_pipeline.pipeline.kinds.captions:failed_caption_rows",
            "provider_parameters": "frames_pipeline.models:provider_parameters",
            "quality_rows": "frames_pipeline.pipeline.kinds.quality:quality_rows",
        },
    ),
)
