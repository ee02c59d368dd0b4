"""The clips of a batch: spans of its videos."""

import hashlib

import dagster as dg

from dagster_defs.metadata import column_lineage, column_schema, records, statuses
from dagster_defs.names import Names
from dagster_defs.resources import (
    ExtractionResource,
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import pipeline
from frames_pipeline.clipping import Clipping
from frames_pipeline.tables import ClipRow, VideoRow

_SHOWN = (
    "clip_id", "status", "start_seconds", "duration_seconds", "num_frames", "width", "height",
    "codec", "timestamps", "detail",
)  # fmt: skip


def build_clips(names: Names, clipping: Clipping) -> dg.AssetsDefinition:
    """Return the asset that cuts videos. Its code version identifies the clipping."""

    @dg.asset(
        key=names.clips,
        deps=[names.videos],
        description=f"Spans of the batch's videos, cut by {clipping!r}. A clip is a span of "
        "timestamps, not a file. Cutting reads headers and decodes one frame per video; by shots, "
        "it decodes all frames.",
        group_name=names.of("ingest"),
        kinds={"video", "parquet"},
        partitions_def=names.partitions,
        required_resource_keys=keys_of(names, WorkspaceResource, ExtractionResource),
        code_version=hashlib.sha256(repr(clipping).encode()).hexdigest()[:16],
        metadata={"dagster/column_schema": column_schema([ClipRow]), "cutting": repr(clipping)},
    )
    def clips(
        context: dg.AssetExecutionContext,
    ) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        extraction = resource_of(context, names, ExtractionResource)
        opened = workspace.open()
        with retrying_transients():
            if extraction.repair:
                pipeline.repair_store(opened, [context.partition_key], dry_run=False)
            rows = pipeline.cut_clips(
                opened.batches.read(context.partition_key),
                opened,
                clipping,
                limits=extraction.limits,
                workers=extraction.workers,
                retry_failed=extraction.retry_failed,
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(pipeline.clips_version(rows)),
            metadata={
                "dagster/uri": dg.MetadataValue.path(
                    f"{workspace.root}/tables/clips/{context.partition_key}"
                ),
                "dagster/partition_row_count": rows.num_rows,
                "dagster/column_lineage": column_lineage([ClipRow], {names.videos: VideoRow}),
                **statuses(rows),
                "seconds_of_video": round(
                    sum(seconds or 0 for seconds in rows["duration_seconds"].to_pylist()), 3
                ),
                "spans": records(rows.to_pylist(), _SHOWN),
            },
        )

    return clips
