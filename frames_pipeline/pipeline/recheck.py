"""Decode some stored frames again from their source, and compare every byte.

Two checks run. The first decodes frames of the whole batch as extraction does, and finds changes by
the store, a GPU or another version. The second makes a plain decode of one video of each family,
and finds mistakes of decode plans: see `family_check`. A family that differs becomes suspect, and
later runs decode its videos linearly.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clips import Clip, Span
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import PyavDecoder, open_decoder
from frames_pipeline.decoding.device import Tolerance
from frames_pipeline.errors import (
    ClipFault,
    ConfigError,
    FramesPipelineError,
    IntegrityError,
    SourceError,
)
from frames_pipeline.extract import extract_spans
from frames_pipeline.frames import FrameBatch
from frames_pipeline.pipeline.family_check import levels_apart, on_cpu
from frames_pipeline.pipeline.family_sample import FamilyReport, check_families
from frames_pipeline.pipeline.ingest import clip_of, video_of
from frames_pipeline.pipeline.open_video import open_video
from frames_pipeline.pipeline.tolerances import tolerance_of
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sampling import select_frames
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.store import ClipCommit, FrameStore, Manifest
from frames_pipeline.tables import ClipRow, VideoRow
from frames_pipeline.workers.local import Workers, preload

preload(__name__)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A clip with stored frames that differ from its source."""

    clip_id: str
    """Id of the clip."""
    found: str
    """Description of the difference."""


@dataclass(frozen=True, slots=True)
class RecheckReport:
    """Result of decoding stored frames again."""

    clips: int
    """Number of clips decoded again."""
    frames: int
    """Number of frames compared."""
    skipped: Mapping[str, str]
    """Clips with a source that changed or cannot be read, each with the reason."""
    mismatches: tuple[Mismatch, ...]
    """Clips that differ by more than the tolerance."""
    mean_difference: float
    """Mean difference of the compared frames, in levels of 255."""
    max_difference: int
    """Maximum difference, in levels of 255."""
    tolerance: Tolerance
    """Largest allowed difference."""
    decoders: tuple[str, ...]
    """Names of the decoders of the stored frames."""
    families: tuple[FamilyReport, ...] = ()
    """Results of the plain decodes, one per family."""

    @property
    def ok(self) -> bool:
        """Whether every compared frame is within the tolerance."""
        return not self.mismatches and not self.wrong_families

    @property
    def wrong_families(self) -> tuple[FamilyReport, ...]:
        """Families with a frame that differs from a plain decode."""
        return tuple(one for one in self.families if one.differences)


@old_parameters(places="workspace")
def recheck_frames(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    frames: int = 8,
    seed: int | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
) -> RecheckReport:
    """Choose frames of a published batch at random, decode them again on the CPU, compare them.

    Frames of every decoder must be bit-identical. Frames converted on a GPU, or encoded by another
    version of the encoder, may differ as `tolerances` says. Lossy frames are encoded again. One
    video of each family in the batch is also compared with a plain decode of up
    to `family_check.PIXELS`. If they differ, the family becomes suspect in the store.

    Args:
        batch: A batch with published frames.
        signature: Signature of the frames.
        workspace: Workspace of the batch.
        frames: Number of frames; each stored frame is equally likely.
        seed: Seed of the choice; the same seed chooses the same frames.
        limits: Resource limits for one source.
        workers: Number of processes, and time limit for one clip.

    Raises:
        CommitNotFoundError: The batch is not published for the signature.
        ConfigError: `frames` is below one.
        TransientError: The source or the store cannot be reached.
    """
    if frames < 1:
        message = f"frames={frames} must be 1 or above"
        raise ConfigError(message)
    manifest = workspace.store.manifest(batch, signature)
    chance = random.Random(seed)
    chosen = _choose(manifest, frames, chance)
    tasks, recut = _tasks(manifest, signature, workspace, chosen=chosen, limits=limits or Limits())
    found = dict(_compared(tasks, workers or Workers()))
    families = check_families(
        manifest, signature, workspace, chance=chance, limits=limits, workers=workers
    )
    return _report(manifest, signature, chosen, found=found, recut=recut, families=families)


def _report(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    chosen: Collection[str],
    *,
    found: Mapping[str, _Difference | str | ClipFault],
    recut: Mapping[str, str],
    families: Iterable[FamilyReport],
) -> RecheckReport:
    """Sum up the comparisons; a clip that could not be compared counts as skipped."""
    faults = {clip: str(e) for clip, e in found.items() if isinstance(e, FramesPipelineError)}
    skipped = {**recut, **faults}
    differences = {clip: one for clip, one in found.items() if isinstance(one, _Difference)}
    means = [mean for one in differences.values() for mean in one.means]
    decoders = {manifest.clips[clip].outcome.decode.decoder for clip in chosen}
    allowed = [one.tolerance for one in differences.values()]
    return RecheckReport(
        clips=len(chosen) - len(skipped),
        frames=len(means),
        skipped=skipped,
        mismatches=_mismatches(found),
        mean_difference=sum(means) / max(len(means), 1),
        max_difference=max((max(one.largest) for one in differences.values()), default=0),
        tolerance=max(allowed, default=tolerance_of(signature, None)),
        decoders=tuple(sorted(decoders)),
        families=tuple(families),
    )


def _mismatches(found: Mapping[str, _Difference | str | ClipFault]) -> tuple[Mismatch, ...]:
    """Return the clips that differ beyond their tolerance, sorted by id."""
    wrong = {clip: one for clip, one in found.items() if isinstance(one, str)}
    for clip, one in found.items():
        if isinstance(one, _Difference) and (text := one.beyond()):
            wrong[clip] = text
    return tuple(Mismatch(*one) for one in sorted(wrong.items()))


def _choose(manifest: Manifest, count: int, chance: random.Random) -> dict[str, tuple[int, ...]]:
    """Return indexes of the chosen frames, by clip."""
    every = [
        (clip_id, index)
        for clip_id, commit in sorted(manifest.clips.items())
        for index in range(commit.num_frames)
    ]
    chosen: dict[str, tuple[int, ...]] = {}
    for clip_id, index in sorted(chance.sample(every, min(count, len(every)))):
        chosen[clip_id] = (*chosen.get(clip_id, ()), index)
    return chosen


@dataclass(frozen=True, slots=True)
class _Task:
    """Frames of one clip to decode again and compare."""

    source: VideoSource
    store: FrameStore
    batch: str
    signature: FrameExtractionSignature
    commit: ClipCommit
    video: Video
    clip: Clip
    indexes: tuple[int, ...]
    limits: Limits


def _tasks(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    chosen: Mapping[str, tuple[int, ...]],
    limits: Limits,
) -> tuple[list[_Task], dict[str, str]]:
    """Return the comparisons to run, and the clips that were cut again since with the reason."""
    videos = {row.video_key: row for row in workspace.read(VideoRow, manifest.batch_key)}
    clips = workspace.read(ClipRow, manifest.batch_key)
    rows = {row.clip_id: row for row in clips if row.video_key in videos}
    tasks = [
        _Task(
            source=workspace.source,
            store=workspace.store,
            batch=manifest.batch_key,
            signature=signature,
            commit=manifest.clips[clip_id],
            video=video_of(videos[rows[clip_id].video_key]),
            clip=clip_of(rows[clip_id]),
            indexes=indexes,
            limits=limits,
        )
        for clip_id, indexes in chosen.items()
        if clip_id in rows
    ]
    recut = "the batch was cut in another way since"
    return tasks, {clip_id: recut for clip_id in chosen if clip_id not in rows}


@dataclass(frozen=True, slots=True)
class _Difference:
    """Mean and maximum difference of each frame, in levels."""

    indexes: tuple[int, ...]
    means: tuple[float, ...]
    largest: tuple[int, ...]
    tolerance: Tolerance

    def beyond(self) -> str:
        """Describe the frames that differ by more than the tolerance; empty if there are none."""
        frames, allowed = zip(self.indexes, self.means, self.largest, strict=True), self.tolerance
        wrong = [i for i, mean, most in frames if mean > allowed.mean or most > allowed.maximum]
        if not wrong:
            return ""
        by = f"by {max(self.means):.3f} levels on average and {max(self.largest)} at most"
        return f"frames {wrong} have other pixels, {by}"


def _compared(
    tasks: Sequence[_Task], workers: Workers
) -> Iterator[tuple[str, _Difference | str | ClipFault]]:
    """Yield a result per clip: a difference, a text for a mismatch, or the error of the clip.

    Raises:
        FramesPipelineError: An error that is not specific to the clip.
    """
    for task, found in workers.map(_difference, tasks):
        if not isinstance(found, _Difference | str | ClipFault):
            raise found
        yield task.clip.clip_id, found


def _difference(task: _Task) -> _Difference | str:
    """Return the difference from frames decoded again, or the reason that they are not comparable.

    First only the chosen frames are decoded, each from the key frame before it. If they differ, the
    whole clip is decoded to find the difference.
    """
    with _opened(task) as media:
        try:
            stored = task.store.read_commit(task.batch, task.signature, task.commit)
        except IntegrityError as error:
            return str(error)
        allowed, n = tolerance_of(task.signature, stored.images), len(task.indexes)
        if _chosen_match(task, stored, media):
            return _Difference(task.indexes, (0.0,) * n, (0,) * n, allowed)
    with _opened(task) as media:
        again = _whole(task, media)
    if not np.array_equal(stored.pts, again.pts):
        return f"{len(stored)} frames are stored, and {len(again)} decode, or at other times"
    if stored.frames.shape != again.frames.shape:
        return f"frames of shape {stored.frames.shape} are stored, and {again.frames.shape} decode"
    apart = [levels_apart(stored.frames[i], again.frames[i]) for i in task.indexes]
    means, largest = zip(*apart, strict=True)
    return _Difference(task.indexes, means, largest, allowed)


@contextlib.contextmanager
def _opened(task: _Task) -> Iterator[Media]:
    """Open the source video of the frames.

    Raises:
        SourceChangedError: The video has other bytes now.
    """
    now = task.source.find_same(task.video.key, task.commit.fingerprint)
    with open_video(task.source, now, task.limits, fresh=True) as media:
        task.clip.check_time_base(media.index.time_base)
        yield media
        media.check_unchanged()


def _chosen_match(task: _Task, stored: FrameBatch, media: Media) -> bool:
    """Return whether every wanted frame is stored, and the chosen ones have the source's pixels."""
    index, signature = media.index, on_cpu(task.signature)
    rows = index.presentation[index.within(task.clip.span)]
    pts = index.pts[rows]
    wanted = select_frames(signature, pts, index.time_base, key_frame=index.key[rows])
    if not np.array_equal(stored.pts, pts[wanted]):
        return False
    alone = replace(signature, policy="first", target_fps=None, num_frames=None)
    moments = [int(stored.pts[i]) for i in task.indexes]
    spans = [Span(moment, moment + 1) for moment in moments]
    for number, found in extract_spans(media, spans, [alone], decoder=open_decoder(None)):
        if isinstance(found, SourceError):
            return False
        one = task.indexes[number]
        if not _is_same(stored.part(one, one + 1), found[alone]):
            return False
    return True


def _is_same(stored: FrameBatch, again: FrameBatch) -> bool:
    """Return whether two batches have the same images, or else the same pixels."""
    if stored.encoded is not None and stored.encoded == again.encoded:
        return True
    return np.array_equal(stored.frames, again.frames)


def _whole(task: _Task, media: Media) -> FrameBatch:
    """Decode the whole clip on the CPU.

    A clip that was decoded linearly is decoded linearly again, by one thread: some damage appears
    only then.
    """
    spans, signature = [task.clip.span], on_cpu(task.signature)
    linear = task.commit.outcome.decode.fallback
    decoded = extract_spans(media, spans, [signature], decoder=PyavDecoder(), linear=linear)
    found = dict(decoded)[0]
    if isinstance(found, SourceError):
        raise found
    return found[signature]
