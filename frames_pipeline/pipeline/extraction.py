"""From the clips of a batch to frames in the store: every signature in one decode.

What is done is not done again. A clip whose frames are committed for a signature, from the same
bytes of its video, is passed over; so is one that failed and would fail again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from frames_pipeline.batches import Batch
from frames_pipeline.clips import Clip
from frames_pipeline.decoders import Decoder, open_decoder
from frames_pipeline.errors import (
    RETRIED,
    ClipFault,
    CommitNotFoundError,
    ConfigError,
    FramesPipelineError,
    InternalError,
    WorkerError,
)
from frames_pipeline.extract import check_pixels
from frames_pipeline.media import Limits
from frames_pipeline.pipeline.ingest import clip_of, video_of
from frames_pipeline.pipeline.origins import is_copied
from frames_pipeline.pipeline.outcomes import Result, Results, failed, stored
from frames_pipeline.pipeline.places import Places, Row
from frames_pipeline.pipeline.repair import repair_store
from frames_pipeline.pipeline.suspects import Suspects, is_suspect
from frames_pipeline.pipeline.work import Job, Task, run_task
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, Manifest
from frames_pipeline.tables import OUTCOMES, table_of
from frames_pipeline.videos import Video
from frames_pipeline.withdrawal import error as withdrawal_error
from frames_pipeline.workers import Workers

CLIPS_PER_TASK: Final = 32
"""Clips of one video that are decoded in one pass: more save demuxing, fewer spread wider."""

Progress = Callable[[int, int], None]
"""Called with the number of clips that are done, and of those to do."""


@dataclass(frozen=True, slots=True)
class FramesReport:
    """How a batch came out for one signature."""

    signature: FrameExtractionSignature
    """The signature."""
    manifest: Manifest
    """What is published: clips with their frames."""
    outcomes: pa.Table
    """One row per clip, with the columns of `OUTCOMES`."""
    extracted: int
    """Clips that were decoded for it now; the others were copied, or done before."""
    copied: int
    """Clips whose frames were copied now, from the same bytes under another name."""
    packets_fed: int
    """Packets that were fed to a decoder now, for all signatures that were asked for together."""
    frames_decoded: int
    """Frames that came out of it, likewise."""
    seconds: float
    """Wall-clock seconds that it took, likewise."""


def extract_batch(
    batch: Batch | str,
    signatures: Iterable[FrameExtractionSignature],
    places: Places,
    *,
    decoder: Decoder | str | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
    retry_failed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
) -> dict[FrameExtractionSignature, FramesReport]:
    """Extract, store and publish the frames of a batch's clips.

    A clip that cannot be decoded is an outcome in a table; the others are not affected.

    Args:
        batch: A batch whose clips are cut.
        signatures: What is wanted; all of it comes from one decode.
        places: Where videos, frames and tables are.
        decoder: A decoder or its name; the CPU's if it is not given.
        limits: What one source, and one clip of it, may take.
        workers: How many processes, and how long one clip may take.
        retry_failed: Try clips again that failed with the same bytes.
        repair: Mend the batch's documents and tables (`pipeline.repair`), read what is stored,
            and extract clips again whose commits or objects are damaged.
        progress: Told whenever clips are done.

    Raises:
        ConfigError: The request cannot be met. Raised before anything is decoded.
        TransientError: Something could not be reached. What was done stays done.
        ConflictError: The batch was withdrawn, before or meanwhile: nothing is published.
        StoreError: Frames cannot be stored.
    """
    since = time.monotonic()
    key = batch if isinstance(batch, str) else batch.key
    job = Job(places.source, places.store, key, open_decoder(decoder), limits or Limits())
    wanted = tuple(dict.fromkeys(signatures))
    if not wanted:
        message = "no signature given; say which frames are wanted"
        raise ConfigError(message)
    check_pixels(wanted, job.decoder)
    job = replace(job, suspects=Suspects(places.store.objects).keys())
    if places.batches.is_withdrawn(key):
        raise withdrawal_error(key)
    if repair:
        repair_store(places, [key], signatures=wanted, dry_run=False)
    cut = places.rows("clips", key)
    before: Results = {}
    for signature in wanted:
        readable = places.store.inspect(key, signature).commits if repair else None
        done = _done_before(
            signature, key, cut, places,
            retry_failed=retry_failed, suspects=job.suspects, readable=readable,
        )  # fmt: skip
        before |= _undamaged(done, signature, key, places) if repair else done
    videos = {row["video_key"]: video_of(row) for row in places.rows("videos", key)}
    tasks = list(_tasks(job, cut, videos, wanted, done=before))
    if job.source.is_copied:
        tasks.reverse()  # of what does not all fit on this machine, what was cut last is there
    for signature in {signature for task in tasks for signature in task.signatures}:
        places.store.claim(key, signature)  # each task takes along that it is done
    now = _run(tasks, workers or Workers(), progress)
    seconds = time.monotonic() - since
    return {
        signature: _publish(signature, key, cut, places, before=before, now=now, seconds=seconds)
        for signature in wanted
    }


def clips_to_extract(
    batch: str, signature: FrameExtractionSignature, places: Places, *, retry_failed: bool = False
) -> list[Row]:
    """The clips that `extract_batch` would work on: what is neither committed nor known to fail."""
    cut, suspects = places.rows("clips", batch), Suspects(places.store.objects).keys()
    done = _done_before(signature, batch, cut, places, retry_failed=retry_failed, suspects=suspects)
    return [clip for clip in cut if (signature, clip["clip_id"]) not in done]


def _undamaged(
    done: Results, signature: FrameExtractionSignature, batch: str, places: Places
) -> Results:
    """What is done and whole; everything stored is read."""
    damaged = _damaged(signature, batch, places)
    return {name: result for name, result in done.items() if name[1] not in damaged}


def _done_before(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[Row],
    places: Places,
    *,
    retry_failed: bool,
    suspects: Collection[str],
    readable: Mapping[str, ClipCommit] | None = None,
) -> Results:
    """What stands: committed from the same bytes and not suspect, or failed with them."""
    told = {row["clip_id"]: row for row in _told_before(signature, batch, places)}
    commits = _commits(signature, batch, cut, places, suspects, readable=readable)
    done: Results = {}
    for clip in cut:
        clip_id = clip["clip_id"]
        row = told.get(clip_id, {})
        stands = row.get("fingerprint") == clip["fingerprint"]
        if commit := commits.get(clip_id):
            is_told = stands and row["status"] in ("ok", "partial")
            done[signature, clip_id] = (
                Result(row, commit) if is_told else stored(clip["video_key"], commit)
            )
        elif clip["status"] != "ok":
            done[signature, clip_id] = _not_cut(clip, signature)
        elif row.get("status") in ("ok", "partial"):
            continue  # what was stored then is suspect, or gone
        elif stands and not retry_failed and row["reason"] not in RETRIED:
            done[signature, clip_id] = Result(row, None)
    return done


def _told_before(signature: FrameExtractionSignature, batch: str, places: Places) -> list[Row]:
    """Outcomes of the last run, unless a version with other columns wrote them.

    What that version committed stands by the commits; what failed then is tried again.
    """
    table = places.table("outcomes", batch, part=signature.key)
    return table.to_pylist() if table is not None and table.schema.equals(OUTCOMES) else []


def _damaged(signature: FrameExtractionSignature, batch: str, places: Places) -> set[str]:
    """Clips of which something is missing, cut short or changed in the store."""
    return {fault.clip_id for fault in places.store.verify(batch, signature, deep=True).faults}


def _commits(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[Row],
    places: Places,
    suspects: Collection[str],
    *,
    readable: Mapping[str, ClipCommit] | None,
) -> dict[str, ClipCommit]:
    """Commits of the batch's clips, from the bytes that they have now, of no suspect family.

    The manifest is one request. Clips that it does not have may be committed all the same: a run
    that was killed before it published leaves such. Commits that were read one by one, because some
    are damaged, are taken as they are.
    """
    wanted = {row["clip_id"]: row for row in cut if row["status"] == "ok"}

    def current(commits: Mapping[str, ClipCommit]) -> dict[str, ClipCommit]:
        return {
            clip_id: commit
            for clip_id, row in wanted.items()
            if (commit := commits.get(clip_id)) is not None
            and commit.fingerprint == row["fingerprint"]
            and not is_suspect(commit.outcome.decode, suspects, codec=row["codec"])
        }

    if readable is not None:
        return current(readable)
    try:
        published = current(places.store.manifest(batch, signature).clips)
    except CommitNotFoundError:
        published = {}
    if len(published) == len(wanted):
        return published
    return current(places.store.clips(batch, signature))


def _tasks(
    job: Job,
    cut: Sequence[Row],
    videos: Mapping[str, Video],
    signatures: Sequence[FrameExtractionSignature],
    *,
    done: Results,
) -> Iterator[Task]:
    """What is left to do, in passes over one video each."""
    passes: dict[tuple[str, str, tuple[FrameExtractionSignature, ...]], list[Clip]] = {}
    for row in cut:
        lacking = tuple(s for s in signatures if (s, row["clip_id"]) not in done)
        if lacking:
            one_pass = (row["video_key"], row["fingerprint"], lacking)
            passes.setdefault(one_pass, []).append(clip_of(row))
    for (video, fingerprint, lacking), clips in passes.items():
        for start in range(0, len(clips), CLIPS_PER_TASK):
            part = tuple(clips[start : start + CLIPS_PER_TASK])
            yield Task(job, videos[video], fingerprint, part, lacking)


def _run(tasks: Sequence[Task], workers: Workers, progress: Progress | None) -> Results:
    """Do the tasks; those that took their worker along, or met a bug, are done again by clip."""
    results: Results = {}
    total, done = sum(len(task.clips) for task in tasks), 0
    again: list[Task] = []
    for queue in (tasks, again):
        for task, found in workers.map(run_task, queue, weight=lambda task: len(task.clips)):
            if isinstance(found, WorkerError | InternalError) and len(task.clips) > 1:
                again += [replace(task, clips=(clip,)) for clip in task.clips]
                continue
            if isinstance(found, ClipFault):
                results |= task.fail(found)
            elif isinstance(found, FramesPipelineError):
                raise found
            else:
                results |= found
            done += len(task.clips)
            if progress is not None:
                progress(done, total)
    return results


def _publish(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[Row],
    places: Places,
    *,
    before: Results,
    now: Results,
    seconds: float,
) -> FramesReport:
    """Publish the manifest and the table of outcomes."""
    results = {clip["clip_id"]: (before | now)[signature, clip["clip_id"]] for clip in cut}
    committed = [result.commit for result in results.values() if result.commit]
    manifest = places.store.commit_batch(batch, signature, committed)
    outcomes = table_of([result.row for result in results.values()], OUTCOMES)
    places.tables.write("outcomes", batch, outcomes, part=signature.key)
    decoded = {
        clip: result.commit.outcome.decode for (_, clip), result in now.items() if result.commit
    }
    copied = sum(
        done_for == signature
        and result.commit is not None
        and is_copied(result.commit.outcome.decode)
        for (done_for, _), result in now.items()
    )
    return FramesReport(
        signature=signature,
        manifest=manifest,
        outcomes=outcomes,
        extracted=sum(done_for == signature for done_for, _ in now) - copied,
        copied=copied,
        packets_fed=sum(report.packets_fed for report in decoded.values()),
        frames_decoded=sum(report.frames_decoded for report in decoded.values()),
        seconds=seconds,
    )


def _not_cut(clip: Row, signature: FrameExtractionSignature) -> Result:
    return failed(
        clip["clip_id"],
        clip["video_key"],
        clip["fingerprint"],
        signature,
        status=clip["status"],
        reason=clip["reason"],
        detail=clip["detail"],
    )
