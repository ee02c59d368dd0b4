"""A caption per clip."""

from collections.abc import Callable

import dagster as dg

from dagster_defs.metadata import (
    column_lineage,
    column_schema,
    of_captions,
    of_rows,
    records,
    statuses,
)
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.captioning import CaptionProvider
from frames_pipeline.pipeline import caption_batch
from frames_pipeline.tables import CAPTIONS as COLUMNS
from frames_pipeline.tables import OUTCOMES


def build_captions(
    names: Names,
    frames: str,
    signature: FrameExtractionSignature,
    open_provider: Callable[[], CaptionProvider],
    *,
    version: str,
    name: str = "",
) -> dg.AssetsDefinition:
    """The asset of captions, made from the frames of one named signature.

    Args:
        names: What it is called, and what it is made from.
        frames: The signature's name.
        signature: The signature.
        open_provider: Makes the provider when the step runs, secrets and all.
        version: What identifies its answers.
        name: What the captions are called, beside those that have no name.
    """

    @dg.asset(
        key=names.captions(name),
        deps=[names.frames(frames)],
        description="What a model says of each clip, with the frames that it was shown.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=names.partitions,
        code_version=version,
        metadata={"dagster/column_schema": column_schema(COLUMNS)},
    )
    def clip_captions(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            provider = open_provider()
            report = caption_batch(
                context.partition_key, signature, workspace.open(), provider, name=name
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                **of_rows(report),
                "dagster/column_lineage": column_lineage(COLUMNS, {names.frames(frames): OUTCOMES}),
                **statuses(report.rows),
                **of_captions(report, provider),
                "captions": records(report.rows.to_pylist(), ("clip_id", "status", "text")),
            },
        )

    return clip_captions
