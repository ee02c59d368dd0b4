"""The frames of a batch: one asset per named signature, all made by one decode."""

from collections.abc import Iterator, Mapping

import dagster as dg

from dagster_defs.metadata import column_lineage, column_schema, of_frames
from dagster_defs.names import Names
from dagster_defs.progress import Progress
from dagster_defs.resources import (
    DecoderResource,
    ExtractionResource,
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError, FrameExtractionSignature, pipeline
from frames_pipeline.tables import ClipRow, OutcomeRow


def build_frames(
    names: Names, signatures: Mapping[str, FrameExtractionSignature], *, pool: str
) -> dg.AssetsDefinition:
    """Return the assets of all signatures: one op, which decodes once for the selected ones."""
    by_key = {names.frames(name): signature for name, signature in signatures.items()}

    @dg.multi_asset(
        name=names.of("clip_frames"),
        specs=[_spec(names, name, signature) for name, signature in signatures.items()],
        partitions_def=names.partitions,
        can_subset=True,
        pool=pool,
        required_resource_keys=keys_of(
            names, WorkspaceResource, DecoderResource, ExtractionResource
        ),
    )
    def clip_frames(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None]]:
        workspace = resource_of(context, names, WorkspaceResource)
        decoder = resource_of(context, names, DecoderResource)
        extraction = resource_of(context, names, ExtractionResource)
        opened, batch = workspace.open(), context.partition_key
        selected = {key: by_key[key] for key in sorted(context.selected_asset_keys)}
        with retrying_transients():
            reports = pipeline.extract_batch(
                batch,
                selected.values(),
                opened,
                decoder=decoder.open(),
                limits=extraction.limits,
                workers=extraction.workers,
                retry_failed=extraction.retry_failed,
                repair=extraction.repair,
                progress=Progress(context.log),
            )
            lineage = column_lineage([OutcomeRow], {names.clips: ClipRow})
            for key, signature in selected.items():
                report = reports[signature]
                yield dg.MaterializeResult(
                    asset_key=key,
                    data_version=dg.DataVersion(report.manifest.digest),
                    metadata={
                        **of_frames(report, opened),
                        "dagster/column_lineage": lineage,
                    },
                )

    return clip_frames


def _spec(names: Names, name: str, signature: FrameExtractionSignature) -> dg.AssetSpec:
    return dg.AssetSpec(
        names.frames(name),
        deps=[names.clips],
        description=f"Frames of every clip for `{signature.key}`, in Zarr. The columns are those "
        "of the table of outcomes, with a row for the result of each clip.",
        group_name=names.of("frames"),
        kinds={"zarr"},
        code_version=signature.key,
        metadata={
            "signature": signature.key,
            "seed_key": _seed_key(signature),
            "dagster/column_schema": column_schema([OutcomeRow]),
        },
    )


def _seed_key(signature: FrameExtractionSignature) -> str:
    try:
        return signature.seed_key()
    except ConfigError:
        return "none: NeMo Curator has no such policy"
