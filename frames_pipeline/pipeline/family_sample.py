"""Sample one video per family of a batch and decode it plainly. Differences make it suspect."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from frames_pipeline.clips import Clip
from frames_pipeline.container.limits import Limits
from frames_pipeline.errors import FramesPipelineError, SourceError, WorkerError
from frames_pipeline.pipeline.family_check import FamilyTask, FrameDifference, Judgement, judge
from frames_pipeline.pipeline.ingest import clip_of, video_of
from frames_pipeline.pipeline.suspects import Suspect, Suspects, suspect_clips
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, Manifest
from frames_pipeline.tables import ClipRow, VideoRow, present
from frames_pipeline.workers.local import Workers

_TRIED: Final = 3
"""Maximum number of videos to try per family."""


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """Result for a family, from a plain decode of one of its videos."""

    family: str
    """Key of the family; only the codec if no video of it could be opened."""
    video: str
    """The decoded video; the last one tried if none could be judged."""
    decoded: int
    """Number of frames in the plain decode."""
    compared: int
    """Number of frames compared with it: stored frames, and some extracted alone."""
    differences: tuple[FrameDifference, ...]
    """Frames that differ."""
    skipped: str = ""
    """Reason that no frame was compared; empty otherwise."""
    suspect_clips: tuple[str, ...] = ()
    """Ids of the batch's clips with suspect frames, because the family is suspect."""

    @property
    def found(self) -> str:
        """Describe the differences in one line; empty if there are none."""
        if not self.differences:
            return ""
        return f"{len(self.differences)} of {self.compared} frames differ: {self.differences[0]}"


def check_families(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    chance: random.Random,
    limits: Limits | None = None,
    workers: Workers | None = None,
) -> list[FamilyReport]:
    """Report a plain decode for each family in a batch, and mark families that differ as suspect.

    If a video cannot be judged, because it is gone, changed or damaged, the next one of its family
    takes its place.

    Args:
        manifest: The batch's frames.
        signature: The signature of these frames.
        workspace: Workspace of the batch.
        chance: Random generator for the choice of videos and frames.
        limits: Resource limits for one source.
        workers: Number of processes, and time limit for one video.

    Raises:
        FramesPipelineError: An error that is not specific to a video.
    """
    suspects = Suspects(workspace.store.objects)
    tasks = _tasks(manifest, signature, workspace, suspects=suspects.keys())
    tasks = _drawn(tasks, chance, limits or Limits())
    reports: dict[str, FamilyReport] = {}
    while tasks:
        chosen = [waiting.pop() for _, waiting in sorted(tasks.items())]
        for task, found in (workers or Workers()).map(judge, chosen):
            reports[task.family] = _reported(task, found)
            if isinstance(found, Judgement) and any(one.by_plan for one in found.differences):
                suspects.mark(_suspect(task, found))
        tasks = {
            name: waiting for name, waiting in tasks.items() if waiting and reports[name].skipped
        }
    known, commits = suspects.keys(), manifest.clips.values()
    return [
        replace(
            report,
            suspect_clips=suspect_clips(
                manifest.batch_key, commits, workspace, known & {report.family}
            ),
        )
        for _, report in sorted(reports.items())
    ]


def _tasks(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    suspects: frozenset[str],
) -> dict[str, list[FamilyTask]]:
    """Return the videos with frames in the batch, by family.

    Frames of version 0.1 do not record their family. All such frames of a codec count as one
    family.
    """
    videos = {row.video_key: row for row in workspace.read(VideoRow, manifest.batch_key)}
    of_video: dict[tuple[str, str, str], list[tuple[Clip, ClipCommit]]] = {}
    for row in workspace.read(ClipRow, manifest.batch_key):
        commit = manifest.clips.get(row.clip_id)
        if commit is not None and row.video_key in videos:
            family = commit.outcome.decode.family or present(row.codec, "codec")
            video = (family, row.video_key, commit.fingerprint)
            of_video.setdefault(video, []).append((clip_of(row), commit))
    tasks: dict[str, list[FamilyTask]] = {}
    for (family, key, fingerprint), stored in of_video.items():
        task = FamilyTask(
            family=family,
            source=workspace.source,
            store=workspace.store,
            batch=manifest.batch_key,
            signature=signature,
            video=video_of(videos[key]),
            fingerprint=fingerprint,
            clips=tuple(stored),
            suspects=suspects,
        )
        tasks.setdefault(family, []).append(task)
    return tasks


def _drawn(
    tasks: Mapping[str, Sequence[FamilyTask]], chance: random.Random, limits: Limits
) -> dict[str, list[FamilyTask]]:
    """Choose a few videos of each family, in reverse order of trial."""
    return {
        family: [
            replace(task, limits=limits, seed=chance.getrandbits(32))
            for task in chance.sample(some, min(_TRIED, len(some)))
        ]
        for family, some in sorted(tasks.items())
    }


def _reported(task: FamilyTask, found: Judgement | FramesPipelineError) -> FamilyReport:
    """Return the report for a family from one video, or the reason that there is none.

    Raises:
        FramesPipelineError: An error that is not specific to the video.
    """
    if isinstance(found, SourceError | WorkerError):
        return FamilyReport(task.family, task.video.key, 0, 0, (), skipped=str(found))
    if isinstance(found, FramesPipelineError):
        raise found
    nothing = "" if found.compared else "no frame of its start is stored or decodes undamaged"
    return FamilyReport(
        found.family.key,
        task.video.key,
        found.decoded,
        found.compared,
        found.differences,
        skipped=nothing,
    )


def _suspect(task: FamilyTask, found: Judgement) -> Suspect:
    return Suspect.of(
        found.family,
        batch=task.batch,
        signature=task.signature.key,
        video=task.video.key,
        found=[str(one) for one in found.differences],
    )
