"""Tables that providers make from frames: one builder for every kind in the registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_defs.attributes import Definition
from dagster_defs.metadata import (
    column_lineage,
    column_schema,
    of_rows,
    records,
    statuses_if_any,
)
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource, keys_of, resource_of
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature, pipeline
from frames_pipeline.pipeline.kinds import DerivedKind, part_of
from frames_pipeline.tables import OutcomeRow


@dataclass(frozen=True, slots=True)
class Derivation:
    """A named definition of a kind: the inputs and names of its assets."""

    kind: DerivedKind[Any, Any]
    """Kind of derived table."""
    name: str
    """Name of the definition; `default` has the keys and the table part without a name."""
    definition: Definition
    """Provider and parameters."""
    signature: FrameExtractionSignature
    """Signature of the provider's input frames."""

    @property
    def part(self) -> str:
        """Part of the kind's table."""
        return part_of(self.name)

    def key(self, names: Names) -> dg.AssetKey:
        """Return the key of the asset of its rows."""
        return names.asset(self.kind.asset.key, *filter(None, [self.part]))

    def pooled_key(self, names: Names) -> dg.AssetKey | None:
        """Return the key of the asset of its rows per clip; `None` if it has none."""
        if self.kind.pooled is None or self.definition.pool is None:
            return None
        return names.asset(self.kind.pooled.asset, *filter(None, [self.part]))

    @property
    def lacks(self) -> str:
        """The setting that the provider lacks to run; empty if it can run."""
        return self.kind.lacks(self.definition.provider, self.definition.parameters)


def build_derived(names: Names, made: Derivation) -> list[dg.AssetsDefinition]:
    """Return the asset of a definition's rows, and the asset of its rows per clip if it has one."""
    rows = _build_rows(names, made)
    pooled_key = made.pooled_key(names)
    return [rows] if pooled_key is None else [rows, _build_pooled(names, made, pooled_key)]


def _build_rows(names: Names, made: Derivation) -> dg.AssetsDefinition:
    kind, frames = made.kind, names.frames(made.definition.signature)

    @dg.asset(
        key=made.key(names),
        deps=[frames],
        description=kind.asset.description.format(provider=made.definition.provider),
        group_name=names.of("downstream"),
        kinds={"parquet"},
        partitions_def=names.partitions,
        required_resource_keys=keys_of(names, WorkspaceResource),
        code_version=kind.code_version(
            made.definition.provider, made.definition.parameters, made.signature
        ),
        metadata={**_provider(made), "dagster/column_schema": column_schema([kind.row])},
    )
    def derived(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            provider = made.definition.open(kind, made.name)
            report = pipeline.derive_batch(
                kind,
                context.partition_key,
                made.signature,
                workspace.open(),
                provider,
                name=made.part,
            )
        lineage = column_lineage([kind.row], {frames: OutcomeRow})
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={
                **of_rows(report),
                "dagster/column_lineage": lineage,
                **statuses_if_any(report.rows),
                **dict[str, Any](kind.asset.facts(report, provider)),
                **_shown(kind, report),
            },
        )

    return derived


def _build_pooled(names: Names, made: Derivation, key: dg.AssetKey) -> dg.AssetsDefinition:
    pooled, there = made.kind.pooled, made.key(names)
    assert pooled is not None

    @dg.asset(
        key=key,
        deps=[there],
        description=pooled.description,
        group_name=names.of("downstream"),
        kinds={"parquet"},
        partitions_def=names.partitions,
        required_resource_keys=keys_of(names, WorkspaceResource),
        code_version=pooled.code_version,
        metadata={"dagster/column_schema": column_schema([pooled.row])},
    )
    def derived_per_clip(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            report = pipeline.pool_batch(
                context.partition_key, workspace.open(), name=made.part, kind=made.kind
            )
        lineage = column_lineage(
            [pooled.row],
            {there: made.kind.row},
            {column: [(there, source)] for column, source in pooled.sources.items()},
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(report.info.digest),
            metadata={**of_rows(report), "dagster/column_lineage": lineage},
        )

    return derived_per_clip


def _provider(made: Derivation) -> Mapping[str, Any]:
    """Return the provider's parameters, if it opens without secrets."""
    if made.kind.identifying is not None:
        return {}
    return {"provider": made.definition.open(made.kind, made.name).parameters()}


def _shown(
    kind: DerivedKind[Any, Any], report: "pipeline.DerivedReport"
) -> Mapping[str, dg.MetadataValue]:
    """Return the first rows as a table, if the kind shows some."""
    columns: Sequence[str] = kind.asset.shown
    return {kind.name: records(report.rows.to_pylist(), columns)} if columns else {}
