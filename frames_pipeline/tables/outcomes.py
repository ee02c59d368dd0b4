"""Rows of the table of outcomes: the result of each clip for a signature.

To add a column, add a field with a default to `OutcomeRow`, and set it in `of_commit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from frames_pipeline._lazy import lazy_module, lazy_values
from frames_pipeline.tables.columns import Row
from frames_pipeline.tables.rows import (
    ClipId,
    Detail,
    Fingerprint,
    Reason,
    Signature,
    Status,
    VideoKey,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from frames_pipeline.store import ClipCommit
else:
    pa = lazy_module("pyarrow")


@dataclass(frozen=True, slots=True)
class OutcomeRow(Row):
    """Result of extracting a clip for a signature. The defaults describe a failed clip."""

    TABLE: ClassVar[str] = "outcomes"

    clip_id: ClipId
    video_key: VideoKey
    fingerprint: Fingerprint
    signature: Signature
    status: Status
    reason: Reason
    detail: Detail
    frames: Annotated[int, "Frames stored, repeats included."] = 0
    missing: Annotated[tuple[int, ...], "Wanted positions that did not decode."] = ()
    corrupt: Annotated[tuple[int, ...], "Stored positions with possibly damaged pixels."] = ()
    timestamps: Annotated[str, "container, or repaired or counted where it lacks some."] = ""
    decoder: Annotated[str, "Decoder that ran."] = ""
    device: Annotated[str, "Its device: cpu, or a GPU by name."] = ""
    choice: Annotated[str, "Reason for this decoder; empty if requested by name."] = ""
    fallback: Annotated[str, "Reason for a linear decode; empty if by plan."] = ""
    packets_fed: Annotated[int, "Packets fed to the decoder."] = 0
    frames_decoded: Annotated[int, "Frames that it returned."] = 0
    bytes: Annotated[int, "Bytes stored."] = 0
    seconds: Annotated[float, "Wall-clock seconds it took."] = 0.0

    @classmethod
    def of_commit(cls, commit: ClipCommit, *, video_key: str, seconds: float = 0.0) -> OutcomeRow:
        """Return the row of a clip with committed frames, whole or in part."""
        outcome = commit.outcome
        return cls(
            clip_id=commit.clip_id,
            video_key=video_key,
            fingerprint=commit.fingerprint,
            signature=commit.signature_key,
            status=outcome.status,
            reason="" if outcome.status == "ok" else "damaged",
            detail=outcome.detail,
            frames=commit.num_frames,
            missing=tuple(outcome.missing),
            corrupt=tuple(outcome.corrupt),
            timestamps=outcome.timestamps,
            decoder=outcome.decode.decoder,
            device=outcome.decode.device,
            choice=outcome.decode.choice,
            fallback=outcome.decode.fallback,
            packets_fed=outcome.decode.packets_fed,
            frames_decoded=outcome.decode.frames_decoded,
            bytes=commit.bytes,
            seconds=seconds,
        )


OUTCOMES: pa.Schema
"""Columns of `OutcomeRow`: one row per clip and signature."""

__getattr__ = lazy_values(__name__, {"OUTCOMES": OutcomeRow.schema})
