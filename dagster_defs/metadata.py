"""Metadata of a step for the UI: counts, tables, pictures, paths."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from frames_pipeline import IntegrityError, pictures, pipeline
from frames_pipeline.sources.entries import PassedOver
from frames_pipeline.tables import Row
from frames_pipeline.text.plain import as_markdown_text, fit_to_show

if TYPE_CHECKING:
    import pyarrow as pa

Metadata = dict[str, Any]

MAX_ROWS = 100
"""Maximum rows of a table in metadata: the whole table is in the store."""


FAILED_SHARE = "failed_share"
"""Key: share of the attempted clips that failed, 0 to 1."""
DECODED_PER_SECOND = "frames_decoded_per_second"
"""Key: frames from the decoder, wanted or not, per wall-clock second."""
WORTH_TIMING = 100
"""Least number of decoded frames for a rate."""


PASSED_OVER_TAG = "frames/passed_over"
"""Tag of a run: entries that the sensor passed over, by reason, as `suffix: 3, hidden: 1`."""


def tags_of(passed_over: Sequence[PassedOver]) -> dict[str, str]:
    """Return the tags of a run that the sensor requests after listing the source."""
    counts = ", ".join(f"{one.reason}: {one.count}" for one in passed_over)
    return {PASSED_OVER_TAG: counts} if counts else {}


def column_schema(rows: Iterable[type[Row]]) -> dg.TableSchema:
    """Return the columns of row classes, side by side, with their descriptions."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type_name,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for row in rows
            for column in row.columns()
        ]
    )


def stored_schema(schema: "pa.Schema") -> dg.TableSchema:
    """Return the columns of a stored table, with their descriptions."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=_type_name(field.type),
                description=(field.metadata or {}).get(b"description", b"").decode(),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def _type_name(kind: "pa.DataType") -> str:
    """Return Arrow's name of a type, with the length of vectors: `list<int64>`, `float x 96`."""
    if hasattr(kind, "list_size"):
        return f"{kind.value_type} x {kind.list_size}"
    return f"list<{kind.value_type}>" if hasattr(kind, "value_type") else str(kind)


def column_lineage(
    rows: Iterable[type[Row]],
    sources: Mapping[dg.AssetKey, type[Row]],
    made_of: Mapping[str, Sequence[tuple[dg.AssetKey, str]]] | None = None,
) -> dg.TableColumnLineage:
    """Return the source columns of a table's columns: columns of the same name, or given ones.

    Args:
        rows: Row classes of the table, side by side.
        sources: Row classes of the source tables, by asset.
        made_of: Sources of columns that have another name there, or are computed from several.
    """
    deps: dict[str, list[dg.TableColumnDep]] = {}
    there = {asset: {one.name for one in row.columns()} for asset, row in sources.items()}
    for name in (column.name for row in rows for column in row.columns()):
        same = [(asset, name) for asset, names in there.items() if name in names]
        found = (made_of or {}).get(name, same)
        if found:
            deps[name] = [dg.TableColumnDep(asset, column) for asset, column in found]
    return dg.TableColumnLineage(deps)


def records(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> dg.MetadataValue:
    """Return some columns of the first rows as a table, with texts made safe to show."""
    names = list(columns)
    shown = [row for row, _ in zip(rows, range(MAX_ROWS), strict=False)]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name, type="string") for name in names])
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(row[name]) for name in names}) for row in shown],
        schema=schema,
    )


def statuses(rows: "pa.Table") -> Metadata:
    """Count the rows by status."""
    counts = Counter(rows["status"].to_pylist())
    return {
        f"{status}_clips": dg.MetadataValue.int(counts[status])
        for status in ("ok", "partial", "failed", "skipped")
    }


def statuses_if_any(rows: "pa.Table") -> Metadata:
    """Count the rows by status, in a table with a status per row."""
    return statuses(rows) if "status" in rows.column_names else {}


def of_frames(report: "pipeline.FramesReport", workspace: "pipeline.Workspace") -> Metadata:
    """Return the metadata of one signature's frames, a picture first."""
    manifest = report.manifest
    folder = workspace.store.url(manifest.batch_key, manifest.signature_key)
    outcomes = report.rows()
    tried = [row for row in outcomes if row.status != "skipped"]
    failed = [row for row in tried if row.status == "failed"]
    copied = {clip for clip, commit in manifest.clips.items() if commit.outcome.decode.copied_from}
    decoded = [row for row in outcomes if row.clip_id not in copied]
    worst_first = sorted(outcomes, key=lambda row: row.status not in ("failed", "partial"))
    return {
        **_pictures(report, workspace),
        "dagster/uri": dg.MetadataValue.path(folder),
        "dagster/partition_row_count": dg.MetadataValue.int(sum(r.frames for r in outcomes)),
        "signature": dg.MetadataValue.text(report.signature.key),
        "clips": dg.MetadataValue.int(len(report.manifest.clips)),
        **statuses(report.outcomes),
        FAILED_SHARE: dg.MetadataValue.float(round(len(failed) / max(len(tried), 1), 4)),
        "frames": dg.MetadataValue.int(sum(row.frames for row in outcomes)),
        "bytes": dg.MetadataValue.int(sum(row.bytes for row in outcomes)),
        "decoder": dg.MetadataValue.text(_each(row.decoder for row in outcomes) or "none"),
        "device": dg.MetadataValue.text(_each(row.device for row in outcomes) or "none"),
        "decoder_choice": dg.MetadataValue.text(
            _each(row.choice for row in decoded) or "as configured"
        ),
        "clips_decoded_now": dg.MetadataValue.int(report.extracted),
        "clips_copied_now": dg.MetadataValue.int(report.copied),
        "packets_fed_now": dg.MetadataValue.int(report.packets_fed),
        "frames_decoded_now": dg.MetadataValue.int(report.frames_decoded),
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
        **_throughput(report),
        "outcomes": records(
            map(asdict, worst_first), ("clip_id", "status", "reason", "frames", "decoder", "detail")
        ),
        "signature_document": dg.MetadataValue.json(dict(report.manifest.signature)),
    }


def _pictures(report: "pipeline.FramesReport", workspace: "pipeline.Workspace") -> Metadata:
    """Return a contact sheet and a timeline; for damaged frames, the reason that there is none."""
    try:
        sheet = pipeline.sheet_of_batch(report.manifest, report.signature, workspace)
        times = pipeline.timeline_of_batch(report.manifest, workspace)
    except IntegrityError as error:
        return {
            "contact_sheet": dg.MetadataValue.md(
                f"No contact sheet: {as_markdown_text(str(error))}"
            )
        }
    return {
        "contact_sheet": dg.MetadataValue.md(pictures.as_markdown(sheet)),
        "timeline": dg.MetadataValue.md(pictures.as_markdown(times, kind="png")),
    }


def _throughput(report: "pipeline.FramesReport") -> Metadata:
    """Return the decoding rate, if enough frames were decoded to measure it."""
    if report.frames_decoded < WORTH_TIMING:
        return {}
    rate = report.frames_decoded / report.seconds
    return {DECODED_PER_SECOND: dg.MetadataValue.float(round(rate, 1))}


def of_rows(report: "pipeline.DerivedReport") -> Metadata:
    """Return the metadata of rows made from frames."""
    return {
        "dagster/uri": dg.MetadataValue.path(report.info.path),
        "dagster/partition_row_count": dg.MetadataValue.int(report.info.rows),
        "dagster/column_schema": stored_schema(report.rows.schema),
        "made_from": dg.MetadataValue.path(report.made_from),
        "rows": dg.MetadataValue.int(report.info.rows),
        "bytes": dg.MetadataValue.int(report.info.bytes),
        "clips": dg.MetadataValue.int(report.made + report.kept),
        "clips_made_now": dg.MetadataValue.int(report.made),
        "clips_kept": dg.MetadataValue.int(report.kept),
    }


def _each(values: Iterable[str]) -> str:
    """Return every text that is not empty, once."""
    return ", ".join(sorted(set(filter(None, values))))


def _cell(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, int | float | bool):
        return value
    return fit_to_show(str(value))
