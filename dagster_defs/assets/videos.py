"""The videos of a batch: observed, never made."""

import warnings
from collections.abc import Callable
from typing import cast

import dagster as dg

from dagster_defs.metadata import column_schema, records
from dagster_defs.names import Names
from dagster_defs.resources import PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline.pipeline import observe_videos, videos_version
from frames_pipeline.tables import VIDEOS as COLUMNS


def build_videos(names: Names) -> dg.AssetsDefinition:
    """The observed asset. Its data version says which videos there are and what their bytes are."""
    spec = dg.AssetSpec(
        names.videos,
        description="The videos of a sealed batch, as they lie in their folder or bucket. A file "
        "that changes makes its batch stale, and no other.",
        group_name="ingest",
        kinds={"video"},
        partitions_def=names.partitions,
        metadata={"dagster/column_schema": column_schema(COLUMNS)},
    )

    def videos(context: dg.AssetExecutionContext, places: PlacesResource) -> dg.ObserveResult:
        opened = places.open()
        with retrying_transients():
            rows = observe_videos(opened.batches.read(context.partition_key), opened)
        return dg.ObserveResult(
            asset_key=names.videos,
            data_version=dg.DataVersion(videos_version(rows)),
            metadata={
                "videos": rows.num_rows,
                "gone": rows["status"].to_pylist().count("gone"),
                "bytes": sum(size or 0 for size in rows["size"].to_pylist()),
                "source": dg.MetadataValue.path(opened.source.url),
                "files": records(rows.to_pylist(), ("video_key", "size", "status", "fingerprint")),
            },
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        observable = dg.multi_observable_source_asset(name=names.of("videos"), specs=[spec])
        return cast(Callable[..., dg.AssetsDefinition], observable)(videos)
