"""From the clips of a batch to frames in the store: every signature in one decode.

Finished work is not repeated. A clip is skipped if its frames are committed for a signature from
the same bytes of its video, or if it failed and would fail again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clips import Clip, Progress
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.backends import Decoder, check_pixels, open_decoder
from frames_pipeline.errors import (
    RETRIED,
    ClipFault,
    ConfigError,
    FramesPipelineError,
    InternalError,
    WorkerError,
)
from frames_pipeline.pipeline.ingest import clip_of, video_of
from frames_pipeline.pipeline.outcomes import Result, Results, failed, stored
from frames_pipeline.pipeline.repair import repair_store
from frames_pipeline.pipeline.suspects import Suspects, is_suspect
from frames_pipeline.pipeline.work import Job, Task, run_task
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batch
from frames_pipeline.sources.videos import Video
from frames_pipeline.sources.withdrawal import error as withdrawal_error
from frames_pipeline.store import ClipCommit, Manifest
from frames_pipeline.tables import OUTCOMES, ClipRow, OutcomeRow, VideoRow
from frames_pipeline.workers.local import Workers

CLIPS_PER_TASK: Final = 32
"""Clips of one video per decode pass: more save demuxing, fewer spread over more processes."""


@dataclass(frozen=True, slots=True)
class FramesReport:
    """Result of a batch for one signature."""

    signature: FrameExtractionSignature
    """The signature."""
    manifest: Manifest
    """The published manifest: clips with their frames."""
    outcomes: pa.Table
    """One row per clip, with the columns of `OUTCOMES`."""
    extracted: int
    """Clips decoded by this run; the others were copied, or done before."""
    copied: int
    """Clips with frames copied by this run, from the same bytes under another name."""
    packets_fed: int
    """Packets fed to decoders by this run, for all signatures together."""
    frames_decoded: int
    """Frames decoded by this run, for all signatures together."""
    seconds: float
    """Wall-clock seconds of this run, for all signatures together."""

    def rows(self) -> list[OutcomeRow]:
        """Return the outcomes as rows."""
        return OutcomeRow.from_table(self.outcomes)


@old_parameters(places="workspace")
def extract_batch(
    batch: Batch | str,
    signatures: Iterable[FrameExtractionSignature],
    workspace: Workspace,
    *,
    decoder: Decoder | str | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
    retry_failed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
) -> dict[FrameExtractionSignature, FramesReport]:
    """Extract, store and publish the frames of a batch's clips.

    A clip that cannot be decoded becomes a row with a status and a reason; the other clips are
    unaffected.

    Args:
        batch: A batch with clips.
        signatures: Signatures to extract, all from one decode.
        workspace: Workspace of the batch.
        decoder: A decoder or its name; by default the CPU's.
        limits: Resource limits for one source and one clip of it.
        workers: Number of processes, and time limit for one clip.
        retry_failed: Try failed clips again, even from unchanged bytes.
        repair: Repair the batch's documents and tables (`pipeline.repair`), read every stored
            object, and extract clips with damaged commits or objects again.
        progress: Called whenever clips are done.

    Raises:
        ConfigError: An argument is wrong. Raised before anything is decoded.
        TransientError: Storage or another service could not be reached. Finished clips stay.
        ConflictError: The batch was withdrawn before or during the run. Nothing is published.
        StoreError: Frames cannot be stored.
    """
    since = time.monotonic()
    wanted = tuple(dict.fromkeys(signatures))
    key = batch if isinstance(batch, str) else batch.key
    job = _checked_job(key, wanted, workspace, open_decoder(decoder), limits or Limits())
    if workspace.batches.is_withdrawn(key):
        raise withdrawal_error(key)
    if repair:
        repair_store(workspace, [key], signatures=wanted, dry_run=False)
    cut = workspace.read(ClipRow, key)
    find_done = _whole_before if repair else _done_before
    before: Results = {}
    for signature in wanted:
        before |= find_done(
            signature, key, cut, workspace, retry_failed=retry_failed, suspects=job.suspects
        )
    tasks = _tasks(job, cut, workspace, wanted, done=before)
    _claim(tasks, job)
    now = _run(tasks, workers or Workers(), progress)
    seconds = time.monotonic() - since
    return {
        signature: _publish(signature, key, cut, workspace, before=before, now=now, seconds=seconds)
        for signature in wanted
    }


def _checked_job(
    batch: str,
    signatures: Sequence[FrameExtractionSignature],
    workspace: Workspace,
    decoder: Decoder,
    limits: Limits,
) -> Job:
    """Describe the work that all clips of the batch share, and check that it can be done.

    Raises:
        ConfigError: There is no signature, or the decoder cannot give its pixels.
    """
    if not signatures:
        message = "no signature given; say which frames are wanted"
        raise ConfigError(message)
    check_pixels(signatures, decoder)
    suspects = Suspects(workspace.store.objects).keys()
    return Job(workspace.source, workspace.store, batch, decoder, limits, suspects)


def _claim(tasks: Iterable[Task], job: Job) -> None:
    """Claim the store for the signatures of the tasks, before workers get it."""
    for signature in {signature for task in tasks for signature in task.signatures}:
        job.store.claim(job.batch, signature)


def clips_to_extract(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    retry_failed: bool = False,
) -> list[ClipRow]:
    """Return the clips that `extract_batch` would decode: neither committed nor known to fail."""
    cut, suspects = workspace.read(ClipRow, batch), Suspects(workspace.store.objects).keys()
    done = _done_before(
        signature, batch, cut, workspace, retry_failed=retry_failed, suspects=suspects
    )
    return [clip for clip in cut if (signature, clip.clip_id) not in done]


def _whole_before(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[ClipRow],
    workspace: Workspace,
    *,
    retry_failed: bool,
    suspects: Collection[str],
) -> Results:
    """Return the results of `_done_before` without damaged clips; read every stored object."""
    readable = workspace.store.inspect(batch, signature).commits
    done = _done_before(
        signature,
        batch,
        cut,
        workspace,
        retry_failed=retry_failed,
        suspects=suspects,
        readable=readable,
    )
    damaged = _damaged(signature, batch, workspace)
    return {name: result for name, result in done.items() if name[1] not in damaged}


def _done_before(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[ClipRow],
    workspace: Workspace,
    *,
    retry_failed: bool,
    suspects: Collection[str],
    readable: Mapping[str, ClipCommit] | None = None,
) -> Results:
    """Return results to keep: commits from the same bytes, not suspect, and lasting failures."""
    rows = {row.clip_id: row for row in _last_outcomes(signature, batch, workspace)}
    commits = _commits(signature, batch, cut, workspace, suspects, readable=readable)
    done: Results = {}
    for clip in cut:
        row = rows.get(clip.clip_id)
        result = _kept(clip, row, commits.get(clip.clip_id), signature, retry_failed=retry_failed)
        if result is not None:
            done[signature, clip.clip_id] = result
    return done


def _kept(
    clip: ClipRow,
    row: OutcomeRow | None,
    commit: ClipCommit | None,
    signature: FrameExtractionSignature,
    *,
    retry_failed: bool,
) -> Result | None:
    """Return the result of a clip that is done, or `None` if it is to be extracted.

    Args:
        clip: The clip.
        row: Its outcome of the last run.
        commit: Its commit, if it was made from the present bytes and is not suspect.
        signature: The signature.
        retry_failed: Extract failed clips again.
    """
    last = row if row is not None and row.fingerprint == clip.fingerprint else None
    if commit is not None:
        had_frames = last is not None and last.status in ("ok", "partial")
        return Result(last, commit) if last and had_frames else stored(clip.video_key, commit)
    if clip.status != "ok":
        return _not_cut(clip, signature)
    if last is None or last.status in ("ok", "partial"):  # the stored frames are suspect or missing
        return None
    return None if retry_failed or last.reason in RETRIED else Result(last, None)


def _last_outcomes(
    signature: FrameExtractionSignature, batch: str, workspace: Workspace
) -> list[OutcomeRow]:
    """Return outcomes of the last run, unless a version with other columns wrote them.

    Commits of that version stay valid; its failures are tried again.
    """
    table = workspace.table(OutcomeRow.TABLE, batch, part=signature.key)
    if table is None or not table.schema.equals(OUTCOMES):
        return []
    return OutcomeRow.from_table(table)


def _damaged(signature: FrameExtractionSignature, batch: str, workspace: Workspace) -> set[str]:
    """Return clips with a missing, truncated or changed object in the store."""
    return {fault.clip_id for fault in workspace.store.verify(batch, signature, deep=True).faults}


def _commits(
    signature: FrameExtractionSignature,
    batch: str,
    cut: Sequence[ClipRow],
    workspace: Workspace,
    suspects: Collection[str],
    *,
    readable: Mapping[str, ClipCommit] | None,
) -> dict[str, ClipCommit]:
    """Return commits of the batch's clips, made from their present bytes and not suspect.

    Reading the manifest takes one request. A run killed before publication leaves commits that are
    missing from the manifest. A repair passes `readable`: the commits that it could read one by
    one.
    """
    wanted = {row.clip_id: row for row in cut if row.status == "ok"}

    def current(commits: Mapping[str, ClipCommit]) -> dict[str, ClipCommit]:
        return {
            clip_id: commit
            for clip_id, row in wanted.items()
            if (commit := commits.get(clip_id)) is not None
            and commit.fingerprint == row.fingerprint
            and not is_suspect(commit.outcome.decode, suspects, codec=row.codec)
        }

    if readable is not None:
        return current(readable)
    published = current(workspace.store.published(batch, signature))
    if len(published) == len(wanted):
        return published
    return current(workspace.store.clips(batch, signature))


def _tasks(
    job: Job,
    cut: Sequence[ClipRow],
    workspace: Workspace,
    signatures: Sequence[FrameExtractionSignature],
    *,
    done: Results,
) -> list[Task]:
    """Return the remaining work in the order to do it."""
    videos = {row.video_key: video_of(row) for row in workspace.read(VideoRow, job.batch)}
    tasks = list(_passes(job, cut, videos, signatures, done=done))
    if job.source.is_copied:
        tasks.reverse()  # if not all copies fit on this machine, the last ones cut are still there
    return tasks


def _passes(
    job: Job,
    cut: Sequence[ClipRow],
    videos: Mapping[str, Video],
    signatures: Sequence[FrameExtractionSignature],
    *,
    done: Results,
) -> Iterator[Task]:
    """Yield the remaining work as passes over one video each."""
    passes: dict[tuple[str, str, tuple[FrameExtractionSignature, ...]], list[Clip]] = {}
    for row in cut:
        lacking = tuple(s for s in signatures if (s, row.clip_id) not in done)
        if lacking:
            one_pass = (row.video_key, row.fingerprint, lacking)
            passes.setdefault(one_pass, []).append(clip_of(row))
    for (video, fingerprint, lacking), clips in passes.items():
        for start in range(0, len(clips), CLIPS_PER_TASK):
            part = tuple(clips[start : start + CLIPS_PER_TASK])
            yield Task(job, videos[video], fingerprint, part, lacking)


def _run(tasks: Sequence[Task], workers: Workers, progress: Progress | None) -> Results:
    """Run the tasks. After a dead worker or a bug, run the clips of a task one by one."""
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
    cut: Sequence[ClipRow],
    workspace: Workspace,
    *,
    before: Results,
    now: Results,
    seconds: float,
) -> FramesReport:
    """Publish the manifest and the table of outcomes."""
    done = before | now
    results = {clip.clip_id: done[signature, clip.clip_id] for clip in cut}
    committed = [result.commit for result in results.values() if result.commit]
    manifest = workspace.store.commit_batch(batch, signature, committed)
    outcomes = OutcomeRow.to_table(result.row for result in results.values())
    workspace.tables.write("outcomes", batch, outcomes, part=signature.key)
    decoded = {
        clip: result.commit.outcome.decode for (_, clip), result in now.items() if result.commit
    }
    made = [result.commit for (done_for, _), result in now.items() if done_for == signature]
    copied = sum(bool(commit and commit.outcome.decode.copied_from) for commit in made)
    return FramesReport(
        signature=signature,
        manifest=manifest,
        outcomes=outcomes,
        extracted=len(made) - copied,
        copied=copied,
        packets_fed=sum(report.packets_fed for report in decoded.values()),
        frames_decoded=sum(report.frames_decoded for report in decoded.values()),
        seconds=seconds,
    )


def _not_cut(clip: ClipRow, signature: FrameExtractionSignature) -> Result:
    return failed(
        clip.clip_id,
        clip.video_key,
        clip.fingerprint,
        signature,
        status=clip.status,
        reason=clip.reason,
        detail=clip.detail,
    )
