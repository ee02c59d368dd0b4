"""Checks of extracted frames. Each states one fact, with its number in the metadata.

Blocking checks keep bad data from spreading: the store is complete, timestamps increase, frames fit
their signature, and few clips failed. The others warn, since their findings can be legitimate: a
black clip, the same video twice, pictures to keep as coded, a slower machine. All are one step, so
that a batch is read once rather than nine times.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from dagster_defs.drift import find_drift
from dagster_defs.metadata import records
from dagster_defs.names import Names
from dagster_defs.resources import (
    ExtractionResource,
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import FrameExtractionSignature, pipeline
from frames_pipeline.tables import ClipRow, OutcomeRow

if TYPE_CHECKING:
    from frames_pipeline.store import ClipDescription, Manifest

RECHECKED_FRAMES = 4
"""Frames to decode again per batch and signature: a sample, so that the check is quick."""
LOOKED_AT_CLIPS = 32
"""Clips per batch and signature with pixels to inspect."""
EXAMPLES = 5
"""Ids of clips to show per remark."""
MAX_BLANK_SHARE = 0.1
"""Allowed share of black or frozen clips: videos of the web have title cards and slide shows."""


@dataclass(frozen=True)
class Subject:
    """The frames of a batch and signature to check."""

    asset: dg.AssetKey
    batch: str
    signature: FrameExtractionSignature
    workspace: "pipeline.Workspace"
    extraction: ExtractionResource
    instance: dg.DagsterInstance
    max_failed_share: float

    @functools.cached_property
    def manifest(self) -> "Manifest":
        """The published frames, read once for all checks."""
        return self.workspace.store.manifest(self.batch, self.signature)

    @functools.cached_property
    def described(self) -> "Mapping[str, ClipDescription]":
        """Descriptions of its clips, read once for all checks."""
        return self.workspace.store.describe(self.manifest)


class Verdict(NamedTuple):
    """Result of a check: whether it passed, and its numbers."""

    passed: bool
    metadata: Mapping[str, Any]
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN


class Check(NamedTuple):
    """A check: its description and its function."""

    description: str
    judge: Callable[[Subject], Verdict]
    blocking: bool = False


def build_checks(
    names: Names, name: str, signature: FrameExtractionSignature, *, max_failed_share: float
) -> dg.AssetChecksDefinition:
    """Return the checks of one signature's frames: one step in which each can run alone."""
    asset = names.frames(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # checks of single partitions
        specs = [
            dg.AssetCheckSpec(
                check_name,
                asset=asset,
                description=check.description.format(max_failed_share=max_failed_share),
                blocking=check.blocking,
                partitions_def=names.partitions,
            )
            for check_name, check in CHECKS.items()
        ]

    @dg.multi_asset_check(
        name=names.of(f"checks_of_{name}"),
        specs=specs,
        can_subset=True,
        required_resource_keys=keys_of(names, WorkspaceResource, ExtractionResource),
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        subject = Subject(
            asset,
            context.partition_key,
            signature,
            resource_of(context, names, WorkspaceResource).open(),
            resource_of(context, names, ExtractionResource),
            context.instance,
            max_failed_share,
        )
        selected = {key.name for key in context.selected_asset_check_keys}
        with retrying_transients():
            for check_name, check in CHECKS.items():
                if check_name in selected:
                    verdict = check.judge(subject)._asdict()
                    yield dg.AssetCheckResult(asset_key=asset, check_name=check_name, **verdict)

    return checks


def _every_frame_committed(subject: Subject) -> Verdict:
    batch, signature = subject.batch, subject.signature
    report = subject.workspace.store.verify_manifest(subject.manifest)
    rows = subject.workspace.read(OutcomeRow, batch, part=signature.key)
    clips = subject.manifest.clips
    promised = {row.clip_id for row in rows if row.frames}
    faults = [{"fault": str(fault)} for fault in report.faults]
    return Verdict(
        report.ok and promised == set(clips),
        {
            "clips": len(clips),
            "clips_promised": len(promised),
            "objects": report.objects,
            **_listed("faults", faults, "fault"),
        },
        dg.AssetCheckSeverity.ERROR,
    )


def _timestamps_increase(subject: Subject) -> Verdict:
    wrong = pipeline.find_disorder(subject.manifest, subject.workspace, described=subject.described)
    return Verdict(not wrong, _findings("wrong", wrong), dg.AssetCheckSeverity.ERROR)


def _frames_fit_signature(subject: Subject) -> Verdict:
    fit = pipeline.compare_with_signature(
        subject.manifest, subject.signature, subject.workspace, described=subject.described
    )
    return Verdict(
        not fit.wrong and not fit.unlike_video,
        {
            "clips": fit.clips,
            **_findings("wrong", fit.wrong),
            **_findings("unlike_video", fit.unlike_video),
        },
        # a stream may change its size: the frames are usable, so this is a warning
        dg.AssetCheckSeverity.ERROR if fit.wrong else dg.AssetCheckSeverity.WARN,
    )


def _few_clips_failed(subject: Subject) -> Verdict:
    rows = subject.workspace.read(OutcomeRow, subject.batch, part=subject.signature.key)
    tried = [row for row in rows if row.status != "skipped"]
    failed = [row for row in tried if row.status == "failed"]
    share = len(failed) / len(tried) if tried else 0.0
    return Verdict(
        share <= subject.max_failed_share,
        {
            "failed_share": round(share, 4),
            "max_failed_share": subject.max_failed_share,
            "clips_tried": len(tried),
            **_listed("failed", list(map(asdict, failed)), "clip_id", "reason", "detail"),
        },
        dg.AssetCheckSeverity.ERROR,
    )


def _frames_match_source(subject: Subject) -> Verdict:
    report = pipeline.recheck_frames(
        subject.batch,
        subject.signature,
        subject.workspace,
        frames=RECHECKED_FRAMES,
        limits=subject.extraction.limits,
        workers=subject.extraction.workers,
    )
    wrong = [{"clip_id": one.clip_id, "found": one.found} for one in report.mismatches]
    skipped = [{"clip_id": clip, "why": why} for clip, why in report.skipped.items()]
    families = [
        {
            "family": one.family,
            "video": one.video,
            "frames": one.compared,
            "found": one.found or one.skipped,
            "suspect_clips": ", ".join(one.suspect_clips),
        }
        for one in report.families
    ]
    return Verdict(
        report.ok,
        {
            "clips": report.clips,
            "frames": report.frames,
            "decoders": ", ".join(report.decoders),
            "mean_difference": report.mean_difference,
            "max_difference": report.max_difference,
            "mean_tolerance": report.tolerance.mean,
            "max_tolerance": report.tolerance.maximum,
            **_listed("mismatches", wrong, "clip_id", "found"),
            **_listed("skipped", skipped, "clip_id", "why"),
            "wrong_families": ", ".join(one.family for one in report.wrong_families),
            **_listed("families", families, "family", "video", "frames", "found", "suspect_clips"),
        },
        # a wrong plan is wrong for every video of the family, also in other batches
        dg.AssetCheckSeverity.ERROR if report.wrong_families else dg.AssetCheckSeverity.WARN,
    )


def _clips_show_something(subject: Subject) -> Verdict:
    sight = pipeline.look_at_clips(subject.manifest, subject.workspace, clips=LOOKED_AT_CLIPS)
    return Verdict(
        sight.blank_share <= MAX_BLANK_SHARE,
        {
            "clips": sight.clips,
            "blank_share": round(sight.blank_share, 4),
            **_findings("blank", sight.blank),
        },
    )


def _pictures_as_shown(subject: Subject) -> Verdict:
    rows = subject.workspace.read(ClipRow, subject.batch)
    report = pipeline.compare_formats(rows, subject.signature)
    remarks = [
        {
            "remark": found.remark,
            "clips": len(found.clip_ids),
            "meaning": found.meaning,
            "examples": ", ".join(found.clip_ids[:EXAMPLES]),
        }
        for found in report.remarked
    ]
    return Verdict(
        not remarks,
        {
            "clips": report.clips,
            "clips_of_unknown_format": report.unknown,
            **{f"{found.remark}_clips": len(found.clip_ids) for found in report.remarked},
            **_listed("remarks", remarks, "remark", "clips", "meaning", "examples"),
        },
    )


def _clips_are_distinct(subject: Subject) -> Verdict:
    groups = [{"clips": ", ".join(group)} for group in pipeline.find_repeated(subject.manifest)]
    listed = _listed("repeated", groups, "clips")
    return Verdict(not groups, {"clips": len(subject.manifest.clips), **listed})


def _like_other_batches(subject: Subject) -> Verdict:
    drift = find_drift(subject.instance, subject.asset, subject.batch)
    return Verdict(not drift.found, drift.metadata())


CHECKS: Mapping[str, Check] = {
    "every_frame_committed": Check(
        "Every object of every clip in the manifest exists in the right size.",
        _every_frame_committed,
        blocking=True,
    ),
    "timestamps_increase": Check(
        "Timestamps of every clip never decrease, and are equal only for repeated frames.",
        _timestamps_increase,
        blocking=True,
    ),
    "frames_fit_signature": Check(
        "Every clip has the number and size of frames of its signature.",
        _frames_fit_signature,
        blocking=True,
    ),
    "few_clips_failed": Check(
        "At most {max_failed_share:.0%} of the clips could not be decoded.",
        _few_clips_failed,
        blocking=True,
    ),
    "frames_match_source": Check(
        f"{RECHECKED_FRAMES} random frames, decoded again from their videos on the CPU, equal the "
        "stored ones of any decoder. For one video of each family, frames equal a plain decode "
        "from its start.",
        _frames_match_source,
    ),
    "clips_show_something": Check(
        f"Of {LOOKED_AT_CLIPS} random clips, at most {MAX_BLANK_SHARE:.0%} are black or frozen. "
        "The first, middle and last frames of a frozen clip are equal.",
        _clips_show_something,
    ),
    "clips_are_distinct": Check(
        "No two clips have identical frames, as a video stored under two names does.",
        _clips_are_distinct,
    ),
    "pictures_as_shown": Check(
        "No clip is HDR, interlaced, or has pixels that are not square, while the signature leaves "
        "it as it is coded; and no clip has contradictory tags.",
        _pictures_as_shown,
    ),
    "like_other_batches": Check(
        "Compared with the medians of earlier batches, the share of failed clips is at most 10 "
        "percentage points higher, and decoding has at least half the speed.",
        _like_other_batches,
    ),
}
"""Checks by name, in the order in which they run."""


def _findings(name: str, found: "Sequence[pipeline.Finding]") -> dict[str, dg.MetadataValue]:
    rows = [{"clip_id": one.clip_id, "found": one.found} for one in found]
    return _listed(name, rows, "clip_id", "found")


def _listed(
    name: str, rows: Sequence[Mapping[str, object]], *columns: str
) -> dict[str, dg.MetadataValue]:
    """Return findings as a table; nothing without findings."""
    return {name: records(rows, columns)} if rows else {}
