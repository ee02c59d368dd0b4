"""Quality measures per frame."""

import dagster as dg
import pyarrow.compute as pc

from dagster_defs.metadata import code_version, column_lineage, column_schema, of_rows
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.quality import QualityProvider
from frames_pipeline.pipeline import measure_batch
from frames_pipeline.tables import OUTCOMES
from frames_pipeline.tables import QUALITY as COLUMNS


def build_quality(
    names: Names, name: str, signature: FrameExtractionSignature, provider: QualityProvider
) -> dg.AssetsDefinition:
    """The asset of quality measures, made from the frames of one named signature."""

    @dg.asset(
        key=names.quality,
        deps=[names.frames(name)],
        description="Sharpness, exposure, contrast, colourfulness, black and duplicate frames, "
        "and motion. Every row says which frame it is of.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=names.partitions,
        code_version=code_version(provider, signature),
        metadata={
            "provider": provider.parameters(),
            "dagster/column_schema": column_schema(COLUMNS),
        },
    )
    def frame_quality(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            report = measure_batch(context.partition_key, signature, workspace.open(), provider)
        rows = report.rows
        means = {
            f"mean_{name}": float(pc.mean(rows[name]).as_py())
            for name in ("sharpness", "exposure", "motion")
            if rows.num_rows
        }
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                **of_rows(report),
                "dagster/column_lineage": column_lineage(COLUMNS, {names.frames(name): OUTCOMES}),
                **means,
                "black_frames": rows["black"].to_pylist().count(True),
                "duplicate_frames": rows["duplicate"].to_pylist().count(True),
            },
        )

    return frame_quality
