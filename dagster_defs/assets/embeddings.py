"""A vector per frame."""

import dagster as dg

from dagster_defs.metadata import code_version, column_lineage, column_schema, of_rows
from dagster_defs.names import Names
from dagster_defs.resources import PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.pipeline import embed_batch
from frames_pipeline.tables import OUTCOMES, embeddings_schema


def build_embeddings(
    names: Names, name: str, signature: FrameExtractionSignature, provider: EmbeddingProvider
) -> dg.AssetsDefinition:
    """The asset of embeddings, made from the frames of one named signature."""

    @dg.asset(
        key=names.embeddings,
        deps=[names.frames(name)],
        description=f"A vector of {provider.dimensions} numbers per frame, by provider "
        f"`{provider.name}`. Every row says which frame it is of.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=names.partitions,
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
            metadata={
                **of_rows(report),
                "dagster/column_lineage": column_lineage(
                    embeddings_schema(provider.dimensions), {names.frames(name): OUTCOMES}
                ),
                "dimensions": provider.dimensions,
            },
        )

    return frame_embeddings
