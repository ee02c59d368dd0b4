"""Results of clips: their rows of the table of outcomes, and their commits."""

from __future__ import annotations

from typing import NamedTuple

from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit
from frames_pipeline.tables import OutcomeRow


class Result(NamedTuple):
    """Result of a clip for a signature: its row, and its commit unless it failed."""

    row: OutcomeRow
    commit: ClipCommit | None


Results = dict[tuple[FrameExtractionSignature, str], Result]
"""Results by signature and clip id."""


def stored(video_key: str, commit: ClipCommit, *, seconds: float = 0.0) -> Result:
    """Return the result of a clip with committed frames, whole or in part."""
    return Result(OutcomeRow.of_commit(commit, video_key=video_key, seconds=seconds), commit)


def failed(
    clip_id: str,
    video_key: str,
    fingerprint: str,
    signature: FrameExtractionSignature,
    *,
    reason: str,
    detail: str,
    status: str = "failed",
) -> Result:
    """Return the result of a clip that has no frames, with the reason."""
    row = OutcomeRow(
        clip_id=clip_id,
        video_key=video_key,
        fingerprint=fingerprint,
        signature=signature.key,
        status=status,
        reason=reason,
        detail=detail,
    )
    return Result(row, None)
