"""A vector per frame."""

import dagster as dg

from dagster_defs.assets.frames import frames_key
from dagster_defs.metadata import code_version, column_schema, of_rows
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.pipeline import embed_batch
from frames_pipeline.tables import embeddings_schema

EMBEDDINGS = dg.AssetKey("frame_embeddings")


def build_embeddings(
    name: str, signature: FrameExtractionSignature, provider: EmbeddingProvider
) -> dg.AssetsDefinition:
    """The asset of embeddings, made from the frames of one named signature."""

    @dg.asset(
        key=EMBEDDINGS,
        deps=[frames_key(name)],
        description=f"A vector of {provider.dimensions} numbers per frame, by provider "
        f"`{provider.name}`. Every row says which frame it is of.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=VIDEO_BATCH,
        code_version=code_version(provider, signature),
        metadata={
            "provider": provider.parameters(),
            "dagster/column_schema": column_schema(embeddings_schema(provider.dimensions)),
        },
    )
    def frame_embeddings(
        context: dg.AssetExecutionContext, places: PlacesResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            report = embed_batch(context.partition_key, signature, places.open(), provider)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={**of_rows(report), "dimensions": provider.dimensions},
        )

    return frame_embeddings
