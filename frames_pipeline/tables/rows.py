"""Rows of the tables of a batch: its videos, its clips, and near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from frames_pipeline._lazy import lazy_module, lazy_values
from frames_pipeline.tables.columns import Row

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy_module("pyarrow")

Batch = Annotated[str, "Key of the batch, which is the Dagster partition."]
ClipId = Annotated[str, "Clip: a span of one video, unique in its batch."]
VideoKey = Annotated[str, "Video: its path relative to the source's root."]
Uri = Annotated[str, "Path or URL of the video."]
Fingerprint = Annotated[str, "Fingerprint of the video's bytes."]
Signature = Annotated[str, "Key of the frames' signature."]
Status = Annotated[str, "ok, partial, failed, or skipped because it is too short."]
Reason = Annotated[str, "The kind of failure; empty if there is none."]
Detail = Annotated[str, "Details of the failure; empty if the status is ok."]
StartSeconds = Annotated[float | None, "Start on the video's clock."]
DurationSeconds = Annotated[float | None, "Length."]
Pixels = Annotated[int | None, "Pixels, as the stream is coded."]
Codec = Annotated[str | None, "Name of the codec."]
Primaries = Annotated[str | None, "Colour primaries, by FFmpeg's name, as bt709 or bt2020."]
Transfer = Annotated[
    str | None, "Transfer characteristics, as bt709, smpte2084 (PQ) or arib-std-b67 (HLG)."
]
Matrix = Annotated[str | None, "Matrix coefficients, as bt709 or bt2020nc."]
Range = Annotated[str | None, "Range of the samples: limited, full or unspecified."]
BitDepth = Annotated[int | None, "Bits of a sample; 0 if unknown."]
Chroma = Annotated[str | None, "Chroma, as 4:2:0, gray or rgb; empty if unknown."]
PixelAspect = Annotated[str | None, "Width to height of a pixel, as 64:45; null: not declared."]
FieldOrder = Annotated[str | None, "progressive; tff or bff (interlaced); or unspecified."]
PeakLuminance = Annotated[float | None, "Peak of the mastering display, cd/m²; null: not declared."]
MaxContentLight = Annotated[int | None, "Maximum content light, cd/m²; null: not declared."]
DolbyVision = Annotated[int | None, "Dolby Vision profile; null: none."]


@dataclass(frozen=True, slots=True)
class VideoRow(Row):
    """A video of the batch, as it was last observed."""

    TABLE: ClassVar[str] = "videos"

    video_key: VideoKey
    uri: Uri
    size: Annotated[int | None, "Bytes."]
    modified: Annotated[float | None, "Modification time, in seconds since 1970."]
    etag: Annotated[str, "ETag of the object; empty on a disk."]
    fingerprint: Fingerprint
    status: Status
    detail: Detail


@dataclass(frozen=True, slots=True)
class ClipRow(Row):
    """A clip of the batch. A video without clips has one row, with nulls and the reason.

    Tables of version 0.1 lack the columns from `pixel_format` on.
    """

    TABLE: ClassVar[str] = "clips"

    clip_id: ClipId
    video_key: VideoKey
    fingerprint: Fingerprint
    start_pts: Annotated[int | None, "First timestamp inside, in time_base units."]
    end_pts: Annotated[int | None, "First timestamp after, in time_base units."]
    time_base_num: Annotated[int | None, "Seconds per unit of pts: numerator."]
    time_base_den: Annotated[int | None, "Seconds per unit of pts: denominator."]
    start_seconds: StartSeconds
    duration_seconds: DurationSeconds
    num_frames: Annotated[int | None, "Shown frames inside."]
    width: Pixels
    height: Pixels
    codec: Codec
    rotation: Annotated[int | None, "Degrees by which a player rotates the picture."]
    timestamps: Annotated[str | None, "container, or repaired or counted where it lacks some."]
    status: Status
    reason: Reason
    detail: Detail
    pixel_format: Annotated[str | None, "FFmpeg's name of the pixel format."] = None
    container_crop: Annotated[
        tuple[int, ...] | None,
        "Container crop in pixels: top, bottom, left, right; null: none.",
    ] = None
    primaries: Primaries = None
    transfer: Transfer = None
    matrix: Matrix = None
    range: Range = None
    bit_depth: BitDepth = None
    chroma: Chroma = None
    pixel_aspect: PixelAspect = None
    field_order: FieldOrder = None
    peak_luminance: PeakLuminance = None
    max_content_light: MaxContentLight = None
    dolby_vision: DolbyVision = None

    @classmethod
    def uncut(
        cls, video_key: str, fingerprint: str, *, status: str, reason: str, detail: str
    ) -> ClipRow:
        """Return the only row of a video without clips."""
        return cls(
            clip_id=video_key,
            video_key=video_key,
            fingerprint=fingerprint,
            start_pts=None,
            end_pts=None,
            time_base_num=None,
            time_base_den=None,
            start_seconds=None,
            duration_seconds=None,
            num_frames=None,
            width=None,
            height=None,
            codec=None,
            rotation=None,
            timestamps=None,
            status=status,
            reason=reason,
            detail=detail,
        )


@dataclass(frozen=True, slots=True)
class NearDuplicateRow(Row):
    """A clip that nearly equals an earlier, kept clip of any batch."""

    TABLE: ClassVar[str] = "near_duplicates"

    batch: Batch
    clip_id: ClipId
    kept_batch: Annotated[str, "Batch of the earlier clip."]
    kept_clip_id: Annotated[str, "The earlier clip, which is kept."]
    similarity: Annotated[float, "Cosine of the two clips' vectors, 0 to 1."]


VIDEOS: pa.Schema
"""Columns of `VideoRow`: one row per video of the batch."""

CLIPS: pa.Schema
"""Columns of `ClipRow`: one row per clip of the batch, and one per video without clips."""

NEAR_DUPLICATES: pa.Schema
"""Columns of `NearDuplicateRow`: one row per clip that nearly equals a kept one."""

__getattr__ = lazy_values(
    __name__,
    {
        "VIDEOS": VideoRow.schema,
        "CLIPS": ClipRow.schema,
        "NEAR_DUPLICATES": NearDuplicateRow.schema,
    },
)
