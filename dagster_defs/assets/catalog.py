"""The catalog of clips."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from dagster_defs.metadata import column_schema, records, statuses
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.pipeline import catalog_batch
from frames_pipeline.tables import CATALOG as COLUMNS

CATALOG = dg.AssetKey("clip_catalog")

_SHOWN = (
    "clip_id", "status", "detail", "duration_seconds", "frames", "sharpness", "exposure", "motion",
    "caption",
)  # fmt: skip


def build_catalog(
    signatures: Mapping[str, FrameExtractionSignature], deps: Iterable[dg.AssetKey]
) -> dg.AssetsDefinition:
    """The asset that joins what the others left."""

    @dg.asset(
        key=CATALOG,
        deps=list(deps),
        description="One row per clip: video, span, where its frames are, how they came out, "
        "quality, embeddings, caption. What was not made yet is empty.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=VIDEO_BATCH,
        metadata={"dagster/column_schema": column_schema(COLUMNS)},
    )
    def clip_catalog(
        context: dg.AssetExecutionContext, places: PlacesResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            rows, info = catalog_batch(context.partition_key, signatures, places.open())
        return dg.MaterializeResult(
            data_version=dg.DataVersion(info.digest),
            metadata={
                "dagster/uri": dg.MetadataValue.path(info.path),
                "dagster/partition_row_count": info.rows,
                "rows": info.rows,
                "bytes": info.bytes,
                **statuses(rows),
                "clips": info.rows,
                "entries": records(map(_entry, rows.to_pylist()), _SHOWN),
            },
        )

    return clip_catalog


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a person reads it: `embeddings 21, captions 8` for lists of names and counts."""
    counts = zip(row["names"], row["frame_counts"], strict=True)
    return {**row, "frames": ", ".join(f"{name} {count}" for name, count in counts if count)}
