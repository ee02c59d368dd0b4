"""Rows of the table of outcomes: how each clip came out for a signature."""

from __future__ import annotations

from typing import NamedTuple

from frames_pipeline.pipeline.workspace import Row
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit


class Result(NamedTuple):
    """What became of a clip for a signature: its row, and its commit unless it failed."""

    row: Row
    commit: ClipCommit | None


Results = dict[tuple[FrameExtractionSignature, str], Result]
"""By signature and clip id."""


def stored(video_key: str, commit: ClipCommit, *, seconds: float = 0.0) -> Result:
    """A clip whose frames are committed, whole or in part."""
    outcome = commit.outcome
    row = {
        "clip_id": commit.clip_id,
        "video_key": video_key,
        "fingerprint": commit.fingerprint,
        "signature": commit.signature_key,
        "status": outcome.status,
        "reason": "" if outcome.status == "ok" else "damaged",
        "detail": outcome.detail,
        "frames": commit.num_frames,
        "missing": list(outcome.missing),
        "corrupt": list(outcome.corrupt),
        "timestamps": outcome.timestamps,
        "decoder": outcome.decode.decoder,
        "device": outcome.decode.device,
        "choice": outcome.decode.choice,
        "fallback": outcome.decode.fallback,
        "packets_fed": outcome.decode.packets_fed,
        "frames_decoded": outcome.decode.frames_decoded,
        "bytes": commit.bytes,
        "seconds": seconds,
    }
    return Result(row, commit)


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
    """A clip that has no frames, and why."""
    row = {
        "clip_id": clip_id,
        "video_key": video_key,
        "fingerprint": fingerprint,
        "signature": signature.key,
        "status": status,
        "reason": reason,
        "detail": detail,
        "frames": 0,
        "missing": [],
        "corrupt": [],
        "timestamps": "",
        "decoder": "",
        "device": "",
        "choice": "",
        "fallback": "",
        "packets_fed": 0,
        "frames_decoded": 0,
        "bytes": 0,
        "seconds": 0.0,
    }
    return Result(row, None)
