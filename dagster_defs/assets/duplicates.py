"""Near-duplicate clips of all batches."""

from dataclasses import asdict

import dagster as dg

from dagster_defs.metadata import column_schema, records
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource, keys_of, resource_of
from dagster_defs.retries import retrying_transients
from frames_pipeline import pipeline
from frames_pipeline.tables import NearDuplicateRow


def build_near_duplicates(
    names: Names, compared: dg.AssetKey, *, name: str, min_similarity: float
) -> dg.AssetsDefinition:
    """Return the asset of near-duplicates among all batches. It has no partitions.

    Args:
        names: Names of the component.
        compared: Key of the asset with the vectors to compare.
        name: Part of their table.
        min_similarity: Least cosine similarity of near-duplicates.
    """

    @dg.asset(
        key=names.near_duplicates,
        deps=[compared],
        description="Clips that nearly equal an earlier clip of any batch. Leave them out to keep "
        "one of each. Compares the clips of all batches.",
        group_name=names.of("downstream"),
        kinds={"parquet"},
        required_resource_keys=keys_of(names, WorkspaceResource),
        code_version=f"leaders-1-{min_similarity}",
        metadata={"dagster/column_schema": column_schema([NearDuplicateRow])},
    )
    def near_duplicates(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            report = pipeline.mark_near_duplicates(
                workspace.open(), name=name, min_similarity=min_similarity
            )
        rows = NearDuplicateRow.from_table(report.rows)
        columns = [column.name for column in NearDuplicateRow.columns()]
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
                "most_similar": records(map(asdict, rows), columns),
            },
        )

    return near_duplicates
