"""A vector per frame, a vector per clip, and the clips that are nearly the same."""

from dataclasses import asdict

import dagster as dg

from dagster_defs.metadata import code_version, column_lineage, column_schema, of_rows, records
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.pipeline import embed_batch, mark_near_duplicates, pool_batch
from frames_pipeline.tables import (
    NEAR_DUPLICATES,
    OUTCOMES,
    NearDuplicateRow,
    clip_embeddings_schema,
    embeddings_schema,
)


def build_embeddings(
    names: Names,
    frames: str,
    signature: FrameExtractionSignature,
    provider: EmbeddingProvider,
    *,
    name: str = "",
) -> dg.AssetsDefinition:
    """The asset of embeddings, made from the frames of one named signature.

    Args:
        names: What it is called, and what it is made from.
        frames: The signature's name.
        signature: The signature.
        provider: What makes the vectors.
        name: What the embeddings are called, beside those that have no name.
    """

    @dg.asset(
        key=names.embeddings(name),
        deps=[names.frames(frames)],
        description=f"A vector per frame, by provider `{provider.name}`. Every row says which "
        "frame it is of.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=names.partitions,
        code_version=code_version(provider, signature),
        metadata={
            "provider": provider.parameters(),
            "dagster/column_schema": column_schema(embeddings_schema()),
        },
    )
    def frame_embeddings(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            report = embed_batch(
                context.partition_key, signature, workspace.open(), provider, name=name
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                **of_rows(report),
                "dagster/column_lineage": column_lineage(
                    embeddings_schema(), {names.frames(frames): OUTCOMES}
                ),
                "dimensions": report.rows.schema.field("embedding").type.list_size,
                "device": report.device,
            },
        )

    return frame_embeddings


def build_clip_embeddings(names: Names, *, name: str = "") -> dg.AssetsDefinition:
    """The asset of clips' vectors, each the mean of those of the clip's frames.

    Args:
        names: What it is called, and what it is made from.
        name: What the embeddings are called, beside those that have no name.
    """
    there = names.embeddings(name)

    @dg.asset(
        key=names.clip_embeddings(name),
        deps=[there],
        description="A vector per clip: the mean of those of its frames. Every row says which "
        "frames it is of.",
        group_name="downstream",
        kinds={"parquet"},
        partitions_def=names.partitions,
        code_version="mean-1",
        metadata={"dagster/column_schema": column_schema(clip_embeddings_schema())},
    )
    def clip_embeddings(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult[None]:
        with retrying_transients():
            report = pool_batch(context.partition_key, workspace.open(), name=name)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                **of_rows(report),
                "dagster/column_lineage": column_lineage(
                    clip_embeddings_schema(),
                    {there: embeddings_schema()},
                    {"positions": [(there, "position")]},
                ),
            },
        )

    return clip_embeddings


def build_near_duplicates(names: Names, *, name: str, min_similarity: float) -> dg.AssetsDefinition:
    """The asset of clips that are nearly the same, over all batches: it has no partitions.

    Args:
        names: What it is called, and what it is made from.
        name: What the embeddings are called whose clips' vectors are compared.
        min_similarity: The least cosine of what is nearly the same.
    """
    there = names.clip_embeddings(name)

    @dg.asset(
        key=names.near_duplicates,
        deps=[there],
        description="Clips that are nearly the same as one before them, whatever their batch: to "
        "keep one of each, leave these out. Compares all batches that there are.",
        group_name="downstream",
        kinds={"parquet"},
        code_version=f"leaders-1-{min_similarity}",
        metadata={"dagster/column_schema": column_schema(NEAR_DUPLICATES)},
    )
    def near_duplicates(workspace: WorkspaceResource) -> dg.MaterializeResult[None]:
        with retrying_transients():
            report = mark_near_duplicates(
                workspace.open(), name=name, min_similarity=min_similarity
            )
        rows = NearDuplicateRow.from_table(report.rows)
        rows.sort(key=lambda row: -row.similarity)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                "dagster/uri": dg.MetadataValue.path(report.info.path),
                "dagster/row_count": report.info.rows,
                "batches": report.batches,
                "clips": report.clips,
                "near_duplicates": report.info.rows,
                "min_similarity": min_similarity,
                "search": report.search,
                "recall": report.recall,
                "most_similar": records(map(asdict, rows), NEAR_DUPLICATES.names),
            },
        )

    return near_duplicates
