"""Columns of the catalog that every project has. Kinds of derived tables add their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from frames_pipeline.tables.columns import Row
from frames_pipeline.tables.rows import (
    Batch,
    BitDepth,
    Chroma,
    ClipId,
    Codec,
    Detail,
    DolbyVision,
    DurationSeconds,
    FieldOrder,
    Fingerprint,
    Matrix,
    MaxContentLight,
    PeakLuminance,
    PixelAspect,
    Pixels,
    Primaries,
    Range,
    Reason,
    StartSeconds,
    Status,
    Transfer,
    Uri,
    VideoKey,
)


@dataclass(frozen=True, slots=True)
class CatalogRow(Row):
    """A clip of the batch, and its frames: the first columns of the catalog."""

    batch: Batch
    clip_id: ClipId
    video_key: VideoKey
    uri: Uri
    fingerprint: Fingerprint
    start_seconds: StartSeconds
    duration_seconds: DurationSeconds
    width: Pixels
    height: Pixels
    codec: Codec
    status: Status
    reason: Reason
    detail: Detail
    names: Annotated[
        tuple[str, ...], "Names of the signatures, in the order of the lists that follow."
    ]
    signatures: Annotated[tuple[str, ...], "Keys of the signatures."]
    frame_statuses: Annotated[tuple[str, ...], "Status of the frames."]
    frame_counts: Annotated[tuple[int, ...], "Frames stored."]
    frame_paths: Annotated[
        tuple[str, ...], "Zarr groups, relative to the root; empty if there is none."
    ]
    suspect: Annotated[tuple[str, ...], "Names of the signatures with suspect frames."]


@dataclass(frozen=True, slots=True)
class FormatRow(Row):
    """The format of the video's pictures, as in the table `clips`.

    Null for clips that version 0.1 cut.
    """

    primaries: Primaries
    transfer: Transfer
    matrix: Matrix
    range: Range
    bit_depth: BitDepth
    chroma: Chroma
    pixel_aspect: PixelAspect
    field_order: FieldOrder
    peak_luminance: PeakLuminance
    max_content_light: MaxContentLight
    dolby_vision: DolbyVision


@dataclass(frozen=True, slots=True)
class DecisionRow(Row):
    """Whether a selection keeps the clip."""

    keep: Annotated[bool | None, "Whether the clip meets every rule; null if not measured."]
    score: Annotated[float | None, "Share of the rules of selection that it meets."]
    drop_reasons: Annotated[tuple[str, ...], "Rules that it fails, with the numbers."]
