"""The frames of a batch: one asset per named signature, all made by one decode."""

import time
from collections.abc import Iterator, Mapping

import dagster as dg

from dagster_defs.assets.clips import CLIPS
from dagster_defs.metadata import of_frames
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import DecoderResource, ExtractionResource, PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError, FrameExtractionSignature, IntegrityError
from frames_pipeline.contact_sheet import as_markdown
from frames_pipeline.pipeline import FramesReport, Places, extract_batch, sheet_of_batch

POOL = "decode"
"""Dagster pool of extraction on the CPU, for instances that limit how many run at once."""

_SECONDS_BETWEEN_REPORTS = 10


def frames_key(name: str) -> dg.AssetKey:
    """The asset of a named signature."""
    return dg.AssetKey(["clip_frames", name])


def build_frames(
    signatures: Mapping[str, FrameExtractionSignature], *, pool: str = POOL
) -> dg.AssetsDefinition:
    """The assets of all signatures, made by one op that decodes once for those selected."""
    names = {frames_key(name): name for name in signatures}

    @dg.multi_asset(
        name="clip_frames",
        specs=[
            dg.AssetSpec(
                frames_key(name),
                deps=[CLIPS],
                description=f"Frames of every clip for `{signature.key}`, in Zarr.",
                group_name="frames",
                kinds={"zarr"},
                code_version=signature.key,
                metadata={"signature": signature.key, "seed_key": _seed_key(signature)},
            )
            for name, signature in signatures.items()
        ],
        partitions_def=VIDEO_BATCH,
        can_subset=True,
        pool=pool,
    )
    def clip_frames(
        context: dg.AssetExecutionContext,
        places: PlacesResource,
        decoder: DecoderResource,
        extraction: ExtractionResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        opened, batch = places.open(), context.partition_key
        selected = {key: signatures[names[key]] for key in sorted(context.selected_asset_keys)}
        with retrying_transients():
            reports = extract_batch(
                batch,
                selected.values(),
                opened,
                decoder=decoder.open(),
                limits=extraction.limits,
                workers=extraction.workers,
                retry_failed=extraction.retry_failed,
                repair=extraction.repair,
                progress=_Progress(context.log),
            )
            for key, signature in selected.items():
                report = reports[signature]
                folder = f"{places.root}/frames/{batch}/{signature.key}"
                sheet = _contact_sheet(report, opened)
                yield dg.MaterializeResult(
                    asset_key=key,
                    data_version=dg.DataVersion(report.manifest.digest),
                    metadata={"contact_sheet": sheet, **of_frames(report, folder=folder)},
                )

    return clip_frames


def _contact_sheet(report: FramesReport, places: Places) -> dg.MetadataValue:
    """A picture; where frames are damaged in the store, the checks say so, and this why not."""
    try:
        return dg.MetadataValue.md(
            as_markdown(sheet_of_batch(report.manifest, report.signature, places))
        )
    except IntegrityError as error:
        return dg.MetadataValue.md(f"No contact sheet: {error}")


class _Progress:
    """Says every few seconds how many clips are done."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._since = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_REPORTS or done == total:
            self._last = now
            left = (now - self._since) * (total - done) / done
            self._log.info(f"{done} of {total} clips decoded, about {left:.0f} s left")


def _seed_key(signature: FrameExtractionSignature) -> str:
    try:
        return signature.seed_key()
    except ConfigError:
        return "none: NeMo Curator has no such policy"
