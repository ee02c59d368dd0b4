"""The catalog of clips."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_defs.assets.derived import Derivation
from dagster_defs.metadata import column_lineage, column_schema, records, statuses
from dagster_defs.names import Names
from dagster_defs.resources import (
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature, pipeline
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.kinds import KINDS, catalog_rows
from frames_pipeline.tables import CatalogRow, ClipRow, DecisionRow

if TYPE_CHECKING:
    import pyarrow as pa

    from frames_pipeline.tables import TableInfo

_SHOWN = (
    "clip_id", "status", "detail", "duration_seconds", "frames", "sharpness", "exposure", "motion",
    "keep", "drop_reasons", "caption", "where",
)  # fmt: skip


def build_catalog(
    names: Names,
    signatures: Mapping[str, FrameExtractionSignature],
    deps: Collection[dg.AssetKey],
    *,
    selection: Selection,
    derived: Sequence[Derivation] = (),
) -> dg.AssetsDefinition:
    """Return the asset that joins the tables of the other assets.

    Args:
        names: Names of the component.
        signatures: The named signatures.
        deps: Assets to wait for.
        selection: Rules for clips to keep.
        derived: Definitions of the tables to join.
    """
    parts = {kind: [made.part for made in derived if made.kind.name == kind] for kind in KINDS}

    @dg.asset(
        key=names.catalog,
        deps=list(deps),
        description="One row per clip: video, span, paths and status of its frames, quality, "
        "embeddings, caption. Columns of tables that do not exist yet are empty.",
        group_name=names.of("downstream"),
        kinds={"parquet"},
        partitions_def=names.partitions,
        required_resource_keys=keys_of(names, WorkspaceResource),
        code_version=hashlib.sha256(repr(selection).encode()).hexdigest()[:16],
        metadata={"dagster/column_schema": column_schema(catalog_rows())},
    )
    def clip_catalog(
        context: dg.AssetExecutionContext,
    ) -> dg.MaterializeResult[None]:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            rows, info = pipeline.catalog_batch(
                context.partition_key,
                signatures,
                workspace.open(),
                selection=selection,
                definitions=parts,
            )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(info.digest),
            metadata=_metadata(rows, info, _lineage(names, signatures, derived)),
        )

    return clip_catalog


def _metadata(
    rows: "pa.Table", info: "TableInfo", lineage: dg.TableColumnLineage
) -> dict[str, Any]:
    kept = rows["keep"].to_pylist()
    return {
        "dagster/uri": dg.MetadataValue.path(info.path),
        "dagster/partition_row_count": info.rows,
        "dagster/column_lineage": lineage,
        "rows": info.rows,
        "bytes": info.bytes,
        **statuses(rows),
        "kept_clips": kept.count(True),
        "dropped_clips": kept.count(False),
        "clips": info.rows,
        "entries": records(_entries(rows), _SHOWN),
    }


def _lineage(
    names: Names, signatures: Iterable[str], derived: Iterable[Derivation]
) -> dg.TableColumnLineage:
    """Return columns of the catalog, with the columns that they are joined or computed from."""
    made_of: dict[str, list[tuple[dg.AssetKey, str]]] = {"uri": [(names.videos, "uri")]}
    for name, column in {
        "signatures": "signature", "frame_statuses": "status", "frame_counts": "frames",
    }.items():  # fmt: skip
        made_of[name] = [(names.frames(signature), column) for signature in signatures]
    for made in derived:
        if made.kind.catalog is not None:
            for column, source in made.kind.catalog.sources.items():
                made_of.setdefault(column, []).append((made.key(names), source))
    return column_lineage(catalog_rows(), {names.clips: ClipRow}, made_of)


def _entries(rows: "pa.Table") -> Iterator[dict[str, Any]]:
    """Return rows for people: `embeddings 21, captions 8` for lists of names and counts."""
    typed = zip(CatalogRow.from_table(rows), DecisionRow.from_table(rows), strict=True)
    for (entry, decision), row in zip(typed, rows.to_pylist(), strict=True):
        counts = zip(entry.names, entry.frame_counts, strict=True)
        yield {
            **row,
            "frames": ", ".join(f"{name} {count}" for name, count in counts if count),
            "drop_reasons": "; ".join(decision.drop_reasons),
            "where": ", ".join(filter(None, entry.frame_paths)),
        }
