"""What a change would cost: a dry run of an extraction, from tables alone. No video is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from frames_pipeline.convert import PixelSpec, geometry
from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.pipeline.extraction import clips_to_extract
from frames_pipeline.pipeline.ingest import shown_size
from frames_pipeline.pipeline.places import Places, Row
from frames_pipeline.signature import FrameExtractionPolicy, FrameExtractionSignature

_COMPRESSION: Final = 0.6
"""Stored bytes of a raw one, where the batch has no frames to tell it from: natural video."""
_KEY_FRAMES_PER_SECOND: Final = 0.5
"""As encoders set them unless told otherwise: every 250 frames or less."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be done for one batch and signature. What was done before tells it."""

    batch: str
    """Key of the batch."""
    signature: str
    """Key of the signature."""
    clips: int
    """Clips of the batch."""
    to_extract: tuple[str, ...]
    """Those that are not committed from the bytes that their videos had at the last look."""
    frames: int
    """About how many frames they will give."""
    bytes: int
    """About how many bytes those will take in the store."""
    cpu_seconds: float | None
    """About how long a core decodes them; `None` where nothing of the batch was decoded before.
    Signatures that are extracted together share it."""


def estimate_changes(
    batch: str, signatures: Iterable[FrameExtractionSignature], places: Places
) -> list[Estimate]:
    """What an extraction of a batch would do, if it were asked for these signatures now.

    Args:
        batch: A batch whose clips are cut.
        signatures: What would be asked for.
        places: Where tables and frames are.
    """
    cut = places.rows("clips", batch)
    before = _before(batch, cut, places)
    changes = []
    for signature in dict.fromkeys(signatures):
        lacking = clips_to_extract(batch, signature, places)
        frames = [_frames(signature, clip) for clip in lacking]
        raw = sum(
            count * _frame_bytes(signature, clip)
            for count, clip in zip(frames, lacking, strict=True)
        )
        seconds = sum(float(clip["duration_seconds"]) for clip in lacking)
        changes.append(
            Estimate(
                batch=batch,
                signature=signature.key,
                clips=len(cut),
                to_extract=tuple(clip["clip_id"] for clip in lacking),
                frames=sum(frames),
                bytes=round(raw * before.compression),
                cpu_seconds=None if before.cost is None else seconds * before.cost,
            )
        )
    return changes


@dataclass(frozen=True, slots=True)
class _Before:
    """What extractions of the batch took."""

    compression: float
    """Stored bytes of a raw one."""
    cost: float | None
    """Seconds of a core for a second of video, at the signature that took longest."""


def _before(batch: str, cut: Iterable[Row], places: Places) -> _Before:
    lengths = {clip["clip_id"]: clip["duration_seconds"] or 0.0 for clip in cut}
    stored = raw = 0
    costs = []
    for signature in places.store.signatures(batch):
        try:
            commits = places.store.manifest(batch, signature).clips.values()
        except CommitNotFoundError:
            continue
        stored += sum(commit.bytes for commit in commits)
        raw += sum(3 * commit.num_frames * commit.height * commit.width for commit in commits)
        done = [
            (row["seconds"], lengths.get(row["clip_id"], 0.0))
            for row in places.rows("outcomes", batch, part=signature)
            if row["frames_decoded"]
        ]
        if length := sum(length for _, length in done):
            costs.append(sum(seconds for seconds, _ in done) / length)
    return _Before(stored / raw if raw else _COMPRESSION, max(costs, default=None))


def _frames(signature: FrameExtractionSignature, clip: Row) -> int:
    """Frames that a clip gives: exact but for `sequence` and `keyframes`."""
    seconds = Fraction(clip["duration_seconds"])
    match signature.policy:
        case FrameExtractionPolicy.sequence:
            return max(1, round(seconds * signature.rate))
        case FrameExtractionPolicy.uniform:
            return signature.num_frames or 0
        case FrameExtractionPolicy.keyframes:
            return max(1, round(float(seconds) * _KEY_FRAMES_PER_SECOND))
        case _:
            return 1


def _frame_bytes(signature: FrameExtractionSignature, clip: Row) -> int:
    """Raw bytes of a frame."""
    size = geometry(PixelSpec.of(signature), shown_size(signature, clip)).output
    return 3 * size.height * size.width
