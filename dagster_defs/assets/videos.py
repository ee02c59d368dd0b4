"""The videos of a batch: facts about files that other programs write."""

import dagster as dg

from dagster_defs.metadata import PASSED_OVER_TAG, column_schema, records
from dagster_defs.names import Names
from dagster_defs.resources import (
    ExtractionResource,
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import pipeline
from frames_pipeline.tables import VideoRow


def build_videos(names: Names) -> dg.AssetsDefinition:
    """Return the asset that observes the files. Its data version is a digest of names and bytes.

    It is materialized, not observed, because it writes a table; ADR 0009 has the other reasons.
    """

    @dg.asset(
        key=names.videos,
        description="The videos of a sealed batch, as found in their folder or bucket. Changing a "
        "file makes only its batch stale.",
        group_name=names.of("ingest"),
        kinds={"video"},
        partitions_def=names.partitions,
        required_resource_keys=keys_of(names, WorkspaceResource, ExtractionResource),
        metadata={"dagster/column_schema": column_schema([VideoRow])},
    )
    def videos(
        context: dg.AssetExecutionContext,
    ) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        extraction = resource_of(context, names, ExtractionResource)
        opened = workspace.open()
        with retrying_transients():
            if extraction.repair:
                pipeline.repair_store(opened, [context.partition_key], dry_run=False)
            rows = pipeline.observe_videos(opened.batches.read(context.partition_key), opened)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(pipeline.videos_version(rows)),
            metadata={
                "dagster/uri": dg.MetadataValue.path(
                    f"{workspace.root}/tables/videos/{context.partition_key}"
                ),
                "dagster/partition_row_count": rows.num_rows,
                "videos": rows.num_rows,
                "gone": rows["status"].to_pylist().count("gone"),
                "cannot_be_read": sum(s not in ("ok", "gone") for s in rows["status"].to_pylist()),
                "passed_over": context.run.tags.get(PASSED_OVER_TAG, "not looked at by this run"),
                "bytes": sum(size or 0 for size in rows["size"].to_pylist()),
                "source": dg.MetadataValue.path(opened.source.url),
                "files": records(
                    rows.to_pylist(), ("video_key", "size", "status", "fingerprint", "detail")
                ),
            },
        )

    return videos
