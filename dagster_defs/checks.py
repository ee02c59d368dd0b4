"""Checks of what was extracted. Each states one fact, and says the number it judged by."""

import warnings
from collections.abc import Mapping, Sequence

import dagster as dg
import numpy as np

from dagster_defs.assets.frames import frames_key
from dagster_defs.metadata import records
from dagster_defs.partitions import VIDEO_BATCH
from dagster_defs.resources import ExtractionResource, PlacesResource
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.pipeline import recheck_frames
from frames_pipeline.store import StoredClip

RECHECKED_FRAMES = 4
"""Frames per batch and signature that are decoded again: a sample, so that the check is quick."""


def build_checks(
    name: str, signature: FrameExtractionSignature, *, max_failed_share: float
) -> list[dg.AssetChecksDefinition]:
    """The checks of one named signature's frames. Those that block keep bad data from spreading."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # checks of single partitions
        return _build_checks(frames_key(name), signature, max_failed_share)


def _build_checks(
    asset: dg.AssetKey, signature: FrameExtractionSignature, max_failed_share: float
) -> list[dg.AssetChecksDefinition]:

    @dg.asset_check(
        asset=asset,
        name="every_frame_committed",
        description="Every object of every clip in the manifest is there, in its size.",
        blocking=True,
        partitions_def=VIDEO_BATCH,
    )
    def every_frame_committed(
        context: dg.AssetCheckExecutionContext, places: PlacesResource
    ) -> dg.AssetCheckResult:
        with retrying_transients():
            opened, batch = places.open(), context.partition_key
            report = opened.store.verify(batch, signature)
            rows = opened.rows("outcomes", batch, part=signature.key)
            clips = opened.store.manifest(batch, signature).clips
            promised = {row["clip_id"] for row in rows if row["frames"]}
            return dg.AssetCheckResult(
                passed=report.ok and promised == set(clips),
                metadata={
                    "clips": len(clips),
                    "clips_promised": len(promised),
                    "objects": report.objects,
                    **_listed(
                        "faults", [{"fault": str(fault)} for fault in report.faults], "fault"
                    ),
                },
            )

    @dg.asset_check(
        asset=asset,
        name="timestamps_increase",
        description="Within every clip timestamps never go back, and only repeats stand still.",
        blocking=True,
        partitions_def=VIDEO_BATCH,
    )
    def timestamps_increase(
        context: dg.AssetCheckExecutionContext, places: PlacesResource
    ) -> dg.AssetCheckResult:
        with retrying_transients():
            opened, batch = places.open(), context.partition_key
            clips = opened.store.manifest(batch, signature).clips
            wrong = [
                {"clip_id": clip_id}
                for clip_id in clips
                if not _increases(opened.store.open(batch, signature, clip_id))
            ]
            return dg.AssetCheckResult(
                passed=not wrong,
                metadata={"clips": len(clips), **_listed("wrong", wrong, "clip_id")},
            )

    @dg.asset_check(
        asset=asset,
        name="few_clips_failed",
        description=f"At most {max_failed_share:.0%} of the clips could not be decoded.",
        blocking=True,
        partitions_def=VIDEO_BATCH,
    )
    def few_clips_failed(
        context: dg.AssetCheckExecutionContext, places: PlacesResource
    ) -> dg.AssetCheckResult:
        with retrying_transients():
            rows = places.open().rows("outcomes", context.partition_key, part=signature.key)
            tried = [row for row in rows if row["status"] != "skipped"]
            failed = [row for row in tried if row["status"] == "failed"]
            share = len(failed) / len(tried) if tried else 0.0
            return dg.AssetCheckResult(
                passed=share <= max_failed_share,
                metadata={
                    "failed_share": round(share, 4),
                    "max_failed_share": max_failed_share,
                    "clips_tried": len(tried),
                    **_listed("failed", failed, "clip_id", "reason", "detail"),
                },
            )

    @dg.asset_check(
        asset=asset,
        name="frames_match_source",
        description=f"{RECHECKED_FRAMES} frames, chosen at random and decoded again from their "
        "videos on the CPU, are the ones that are stored, whichever decoder made those.",
        partitions_def=VIDEO_BATCH,
    )
    def frames_match_source(
        context: dg.AssetCheckExecutionContext,
        places: PlacesResource,
        extraction: ExtractionResource,
    ) -> dg.AssetCheckResult:
        with retrying_transients():
            batch = context.partition_key
            report = recheck_frames(
                batch,
                signature,
                places.open(),
                frames=RECHECKED_FRAMES,
                limits=extraction.limits,
                workers=extraction.workers,
            )
            wrong = [{"clip_id": one.clip_id, "found": one.found} for one in report.mismatches]
            skipped = [{"clip_id": clip, "why": why} for clip, why in report.skipped.items()]
            return dg.AssetCheckResult(
                passed=report.ok,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "clips": report.clips,
                    "frames": report.frames,
                    "decoders": ", ".join(report.decoders),
                    "mean_difference": report.mean_difference,
                    "max_difference": report.max_difference,
                    "mean_tolerance": report.tolerance.mean,
                    "max_tolerance": report.tolerance.maximum,
                    **_listed("mismatches", wrong, "clip_id", "found"),
                    **_listed("skipped", skipped, "clip_id", "why"),
                },
            )

    return [every_frame_committed, timestamps_increase, few_clips_failed, frames_match_source]


def _listed(
    name: str, rows: Sequence[Mapping[str, object]], *columns: str
) -> dict[str, dg.MetadataValue]:
    """What was found as a table, where anything was."""
    return {name: records(rows, columns)} if rows else {}


def _increases(clip: StoredClip) -> bool:
    """Whether time goes on wherever the position does, and never back."""
    steps = np.diff(clip.positions)
    return bool(np.all(steps >= 0) and np.all((np.diff(clip.pts) > 0) == (steps > 0)))
