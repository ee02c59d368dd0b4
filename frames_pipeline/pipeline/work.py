"""The work of a worker process: decode some clips of one video, and commit their frames.

If the store has frames of the same bytes under another name, they are copied instead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import av

from frames_pipeline.clips import Clip
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.assembly import FramesBySignature
from frames_pipeline.decoding.backends import Decoder, driver_version
from frames_pipeline.errors import (
    FramesPipelineError,
    NoFramesError,
    NoKeyFrameError,
    SourceError,
    detail_of,
)
from frames_pipeline.extract import extract_spans
from frames_pipeline.frames import Outcome
from frames_pipeline.pipeline.content_index import ContentIndex, Origin, copied_frames
from frames_pipeline.pipeline.families import family_of
from frames_pipeline.pipeline.open_video import open_video
from frames_pipeline.pipeline.outcomes import Result, Results, failed, stored
from frames_pipeline.pipeline.suspects import linear_reason
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.store import FrameStore
from frames_pipeline.workers.local import preload

preload(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Facts shared by every clip of a batch."""

    source: VideoSource
    """Source of the videos."""
    store: FrameStore
    """Store for their frames."""
    batch: str
    """Key of the batch."""
    decoder: Decoder
    """The decoder."""
    limits: Limits
    """Resource limits for one source and one clip of it."""
    suspects: frozenset[str] = frozenset()
    """Keys of suspect families: their videos are decoded linearly."""


@dataclass(frozen=True, slots=True)
class Task:
    """Clips of one video to decode in one pass, for the signatures that all of them lack."""

    job: Job
    """Facts shared by the batch."""
    video: Video
    """The video, as observed."""
    fingerprint: str
    """Fingerprint of its bytes when it was observed."""
    clips: tuple[Clip, ...]
    """The clips."""
    signatures: tuple[FrameExtractionSignature, ...]
    """The signatures."""

    def fail(self, error: FramesPipelineError) -> Results:
        """Return a failed result for every clip and signature, with the same reason."""
        results: Results = {}
        for clip in self.clips:
            results |= self.fail_clip(clip, error)
        return results

    def fail_clip(self, clip: Clip, error: FramesPipelineError) -> Results:
        """Return a failed result of one clip for every signature."""
        return {
            (signature, clip.clip_id): self.failed(clip, signature, error)
            for signature in self.signatures
        }

    def failed(
        self, clip: Clip, signature: FrameExtractionSignature, error: FramesPipelineError
    ) -> Result:
        """Return the failed result of one clip for one signature."""
        return failed(
            clip.clip_id,
            self.video.key,
            self.fingerprint,
            signature,
            status="skipped" if isinstance(error, NoKeyFrameError) else "failed",
            reason=error.reason,
            detail=detail_of(error),
        )


def run_task(task: Task) -> Results:
    """Decode and commit the clips of a task.

    Raises:
        SourceError: The video cannot be read.
        TransientError: The source or the store cannot be reached.
        StoreError: Frames cannot be stored.
        MemoryError: Memory ran out.
    """
    origins = ContentIndex(task.job.store.objects)
    origin = origins.find(task.fingerprint)
    here = Origin(task.job.batch, task.video.key)
    results: Results = {}
    if origin not in (None, here):
        task.job.source.check_unchanged(task.video)
        results = _copy(task, origin)
    done = {clip_id for _, clip_id in results}
    left = replace(task, clips=tuple(clip for clip in task.clips if clip.clip_id not in done))
    if left.clips:
        results |= _decode(left)
        if origin != here and any(result.commit for result in results.values()):
            origins.note(task.fingerprint, here)
    return results


def _decode(task: Task) -> Results:
    """Decode every clip of a task."""
    results: Results = {}
    task.job.source.check_unchanged(task.video)
    with open_video(task.job.source, task.video, task.job.limits) as media:
        for clip in task.clips:
            clip.check_time_base(media.index.time_base)
        spans = [clip.span for clip in task.clips]
        since = time.monotonic()
        family = family_of(media).key
        reason = linear_reason(family, task.job.suspects)
        for number, found in extract_spans(
            media, spans, task.signatures, decoder=task.job.decoder, linear=reason
        ):
            clip = task.clips[number]
            if isinstance(found, SourceError):
                results |= task.fail_clip(clip, found)
            else:
                results |= _commit(task, clip, _of_family(found, family), since)
            since = time.monotonic()
    return results


def _of_family(found: FramesBySignature, family: str) -> FramesBySignature:
    """Return the same frames with the family of their video."""
    return {
        signature: frames.with_outcome(
            replace(frames.outcome, decode=replace(frames.outcome.decode, family=family))
        )
        for signature, frames in found.items()
    }


def _copy(task: Task, origin: Origin) -> Results:
    """Copy the clips with frames already stored from the same bytes."""
    results: Results = {}
    for clip in task.clips:
        since = time.monotonic()
        found: FramesBySignature = {}
        for signature in task.signatures:
            frames = copied_frames(
                task.job.store,
                origin,
                clip,
                signature,
                fingerprint=task.fingerprint,
                suspects=task.job.suspects,
            )
            if frames is None:
                break
            found[signature] = frames
        else:
            results |= _commit(task, clip, found, since)
    return results


def _commit(task: Task, clip: Clip, found: FramesBySignature, since: float) -> Results:
    """Commit a clip's frames, unless the file changed while decoding; local copies never change."""
    task.job.source.check_read(task.video)
    results: Results = {}
    for signature, frames in found.items():
        if not len(frames):
            error = _no_frames(frames.outcome)
            results[signature, clip.clip_id] = task.failed(clip, signature, error)
    commits = task.job.store.write_clip(
        task.job.batch,
        clip,
        {signature: frames for signature, frames in found.items() if len(frames)},
        fingerprint=task.fingerprint,
        provenance=_provenance(task),
    )
    seconds = time.monotonic() - since
    for signature, commit in commits.items():
        results[signature, clip.clip_id] = stored(task.video.key, commit, seconds=seconds)
    return results


def _no_frames(outcome: Outcome) -> SourceError:
    """Return the error for a clip without frames for one of its signatures."""
    if not outcome.missing:
        return NoKeyFrameError(outcome.detail)
    detail = f": {outcome.detail}" if outcome.detail else ""
    return NoFramesError(f"none of {len(outcome.missing)} wanted frames decodes{detail}")


def _provenance(task: Task) -> dict[str, str]:
    return {
        "video_key": task.video.key,
        "source": task.job.source.url,
        "av": av.__version__,
        "ffmpeg": av.ffmpeg_version_info,
        "nvidia_driver": driver_version(),
    }
