"""Dry runs: estimate the work of an extraction, and of the tables made from its frames.

A dry run reads only stored tables. It opens no video, and loads a model only to measure its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from frames_pipeline._renamed import old_parameters
from frames_pipeline.decoding.convert import PixelSpec, geometry
from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.frames import FrameBatch, pixel_bytes
from frames_pipeline.models import Provider
from frames_pipeline.pipeline.derive import clips_up_to_date
from frames_pipeline.pipeline.extraction import clips_to_extract
from frames_pipeline.pipeline.ingest import shown_size
from frames_pipeline.pipeline.kinds import kind_of
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sampling import estimated_frames
from frames_pipeline.signature import FrameExtractionSignature, samples_in
from frames_pipeline.tables import ClipRow, OutcomeRow, present

_COMPRESSION: Final = 0.6
"""Stored bytes per raw byte for batches without frames; measured on natural video."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of the remaining work for one step of a batch, from earlier runs."""

    batch: str
    """Key of the batch."""
    step: str
    """`frames`, or the name of a kind of derived table: `embeddings`, `quality`, `captions`."""
    name: str
    """Name of the definition, if the batch has several tables of this kind."""
    signature: str
    """Key of the signature."""
    clips: int
    """Clips of the batch."""
    to_do: tuple[str, ...]
    """Clips to do: not committed from the bytes that their videos had at the last scan, or with
    outdated rows. Rows stay valid if a clip is extracted again with the same pixels."""
    frames: int
    """Approximate number of frames to extract, or to read."""
    bytes: int
    """Approximate bytes of these frames in the store."""
    cpu_seconds: float | None
    """Approximate seconds of one core; `None` if unknown. Signatures that are extracted together
    share this time."""


@old_parameters(places="workspace")
def estimate_changes(
    batch: str, signatures: Iterable[FrameExtractionSignature], workspace: Workspace
) -> list[Estimate]:
    """Return the work that an extraction of a batch would do now, per signature.

    Args:
        batch: A batch with clips.
        signatures: Signatures to extract.
        workspace: Workspace of the batch.
    """
    cut = workspace.read(ClipRow, batch)
    before = _before(batch, cut, workspace)
    changes = []
    for signature in dict.fromkeys(signatures):
        lacking = clips_to_extract(batch, signature, workspace)
        amounts = [_amount(signature, clip, before) for clip in lacking]
        seconds = sum(_seconds(clip) for clip in lacking)
        changes.append(
            Estimate(
                batch=batch,
                step="frames",
                name="",
                signature=signature.key,
                clips=len(cut),
                to_do=tuple(clip.clip_id for clip in lacking),
                frames=sum(frames for frames, _ in amounts),
                bytes=round(sum(size for _, size in amounts)),
                cpu_seconds=None if before.cost is None else seconds * before.cost,
            )
        )
    return changes


@old_parameters(places="workspace")
def estimate_rows(
    batch: str,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    step: str,
    provider: Provider,
    name: str = "",
    ask: Callable[[FrameBatch], object] | None = None,
) -> Estimate:
    """Return the work that a provider would do now to make a table's rows.

    Args:
        batch: A batch with clips.
        signature: Signature of the rows' frames, extracted or not.
        workspace: Workspace of the batch.
        step: Name of a kind of derived table: `embeddings`, `quality`, `captions`.
        provider: The provider of the rows.
        name: Name of the definition, if the batch has several tables of this kind.
        ask: Runs the provider on a clip, to measure its time. It runs twice on a clip to do, since
            the first call loads the model. `None`: the time stays unknown.

    Raises:
        ConfigError: The kind is unknown, or the provider does not take the signature's samples.
    """
    kind = kind_of(step)
    kind.check_samples(provider, signature, name=name)
    cut = workspace.read(ClipRow, batch)
    lacking = {clip.clip_id for clip in clips_to_extract(batch, signature, workspace)}
    commits = workspace.store.published(batch, signature)
    rows = workspace.table(kind.table, batch, part=name)
    up_to_date = clips_up_to_date(rows, commits, signature, kind=kind, provider=provider)
    due = lacking | (commits.keys() - up_to_date)
    to_do = [clip for clip in cut if clip.clip_id in due]
    before = _before(batch, cut, workspace)
    amounts = [
        (commit.num_frames, commit.bytes)
        if (commit := commits.get(clip.clip_id)) and clip.clip_id not in lacking
        else _amount(signature, clip, before)
        for clip in to_do
    ]
    frames = sum(count for count, _ in amounts)
    stored = (commits[clip.clip_id] for clip in to_do if clip.clip_id in commits)
    sample = next((commit for commit in stored if commit.num_frames), None)
    seconds = None if frames else 0.0
    if ask is not None and sample is not None:
        seconds = frames * _seconds_per_frame(
            ask, workspace.store.read_commit(batch, signature, sample)
        )
    return Estimate(
        batch=batch,
        step=step,
        name=name,
        signature=signature.key,
        clips=len(cut),
        to_do=tuple(clip.clip_id for clip in to_do),
        frames=frames,
        bytes=round(sum(size for _, size in amounts)),
        cpu_seconds=seconds,
    )


def _seconds_per_frame(ask: Callable[[FrameBatch], object], clip: FrameBatch) -> float:
    """Return the processor seconds per frame, of all threads, of the second call."""
    ask(clip)
    start = time.process_time()
    ask(clip)
    return (time.process_time() - start) / len(clip)


@dataclass(frozen=True, slots=True)
class _Before:
    """Cost of earlier extractions of the batch."""

    compression: float
    """Stored bytes per raw byte."""
    cost: float | None
    """Core seconds per second of video, for the slowest signature."""


def _before(batch: str, cut: Iterable[ClipRow], workspace: Workspace) -> _Before:
    lengths = {clip.clip_id: clip.duration_seconds or 0.0 for clip in cut}
    stored = raw = 0
    costs = []
    for signature in workspace.store.signatures(batch):
        try:
            manifest = workspace.store.manifest(batch, signature)
        except CommitNotFoundError:
            continue
        if not manifest.clips:
            continue
        commits, size = manifest.clips.values(), pixel_bytes(samples_in(manifest.signature))
        stored += sum(commit.bytes for commit in commits)
        raw += sum(size * commit.num_frames * commit.height * commit.width for commit in commits)
        done = [
            (row.seconds, lengths.get(row.clip_id, 0.0))
            for row in workspace.read(OutcomeRow, batch, part=signature)
            if row.frames_decoded
        ]
        if length := sum(length for _, length in done):
            costs.append(sum(seconds for seconds, _ in done) / length)
    return _Before(stored / raw if raw else _COMPRESSION, max(costs, default=None))


def _amount(
    signature: FrameExtractionSignature, clip: ClipRow, before: _Before
) -> tuple[int, float]:
    """Return the frames of a clip, and their bytes in the store."""
    frames = estimated_frames(signature, Fraction(_seconds(clip)))
    return frames, frames * _frame_bytes(signature, clip) * before.compression


def _seconds(clip: ClipRow) -> float:
    """Return the length of a clip that was cut."""
    return present(clip.duration_seconds, "duration_seconds")


def _frame_bytes(signature: FrameExtractionSignature, clip: ClipRow) -> int:
    """Raw bytes of a frame."""
    size = geometry(PixelSpec.of(signature), shown_size(signature, clip)).output
    return pixel_bytes(signature.samples) * size.height * size.width
