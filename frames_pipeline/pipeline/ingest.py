"""From a folder of videos to clips: seal batches, observe videos, cut clips."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, TypeAlias

import pyarrow as pa
from av.video.format import VideoFormat

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clipping import Clipping
from frames_pipeline.clips import Clip
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.convert import chroma_block
from frames_pipeline.decoding.crop import window
from frames_pipeline.decoding.geometry import Size, squared
from frames_pipeline.decoding.probe import probe_media
from frames_pipeline.errors import (
    RETRIED,
    ClipFault,
    FramesPipelineError,
    IntegrityError,
    SingleShotError,
    SourceChangedError,
    SourceNotFoundError,
    TooShortError,
    detail_of,
    typed,
)
from frames_pipeline.frames import Crop
from frames_pipeline.pipeline.open_video import open_video
from frames_pipeline.pipeline.source_formats import format_columns, picture_of
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batch
from frames_pipeline.sources.batching import Batching
from frames_pipeline.sources.entries import PassedOver
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.tables import ClipRow, FormatRow, VideoRow, present, table_digest
from frames_pipeline.workers.local import Workers

_CUTTING: Final = b"cutting"
"""Metadata key of a table of clips for its clipping."""
_TIMES: Final = b"times"
_TIMES_RULE: Final = b"1"
"""Revision of the rule for timestamps: docs/adr/0013-times.md is the first."""
_BESIDE_CLIPS: Final = (
    "pixel_format",
    "container_crop",
    *(column.name for column in FormatRow.columns()),
)
"""Columns added since version 0.1 that follow from a video's bytes."""
_GONE: Final = "gone"
"""Status of a missing video. The status of an unreadable one is the reason."""
_VideoBytes: TypeAlias = tuple[str, str]
"""Key of a video, and the fingerprint of its bytes."""
_SKIPPED: Final = (TooShortError.reason, SingleShotError.reason)


@dataclass(frozen=True, slots=True)
class Discovery:
    """Result of listing the source."""

    sealed: tuple[Batch, ...]
    """Batches sealed now."""
    waiting: int
    """Number of videos that are not in a batch yet."""
    listed: Mapping[str, Video]
    """Videos under the source, by key."""
    passed_over: tuple[PassedOver, ...] = ()
    """Entries of the source that do not count as videos, by reason."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sealed batch with files that changed since they were last observed."""

    batch: str
    """Key of the batch."""
    state: str
    """Digest of the current listing of its files: equal for the same change."""


@old_parameters(places="workspace")
def discover(
    workspace: Workspace, batching: Batching, *, now: float, at_most: int | None = None
) -> Discovery:
    """List the source, and seal the videos that are due into batches.

    Args:
        workspace: Workspace of the source and the batches.
        batching: Rules that seal videos into batches.
        now: Seconds since the epoch.
        at_most: Maximum number of batches to seal now; other videos wait.
    """
    listing = workspace.source.look()
    listed = {video.key: video for video in listing.videos}
    known = workspace.batches.sealed_videos()
    waiting = [video for key, video in listed.items() if key not in known]
    groups = batching.groups(waiting, now=now)[:at_most]
    sealed = workspace.batches.seal_all(groups, source=workspace.source.url)
    left = len(waiting) - sum(len(batch.videos) for batch in sealed)
    return Discovery(tuple(sealed), left, listed, listing.passed_over)


@old_parameters(places="workspace")
def find_changes(
    batches: Iterable[str],
    found: Discovery,
    workspace: Workspace,
    *,
    settled: float,
    now: float | None = None,
) -> list[Change]:
    """Return batches with files that were written, removed or restored since the last scan.

    A batch that was never observed has not changed: its first run is due anyway. A batch with a
    damaged `videos` table counts as changed, so that it is observed again and its table rewritten.

    Args:
        batches: Keys of sealed batches.
        found: Result of `discover`.
        workspace: Workspace of the batches.
        settled: Time in seconds since the epoch. A batch with a later file is skipped, since the
            file may be incomplete.
        now: Current time in seconds since the epoch; default: this machine's clock. A file with a
            time in the future does not delay its batch.
    """
    moment, changes = time.time() if now is None else now, []
    for batch in batches:
        before = _rows_before(batch, workspace)
        if before is None:
            changes.append(Change(batch, "damaged"))
            continue
        listed = [found.listed.get(row.video_key) for row in before]
        changed = [
            video
            for row, video in zip(before, listed, strict=True)
            if (row.status == _GONE) != (video is None)
            or (video is not None and not video.is_same_file(video_of(row)))
            or row.status == SourceChangedError.reason
        ]
        if changed and all(v is None or v.last_change(moment) <= settled for v in changed):
            changes.append(Change(batch, hashlib.sha256(repr(listed).encode()).hexdigest()[:16]))
    return changes


@old_parameters(places="workspace")
def observe_videos(batch: Batch, workspace: Workspace) -> pa.Table:
    """Observe every video of a batch, and publish the table `videos`, with columns `VIDEOS`.

    Reads bytes only of files written since the last scan. A missing or unreadable video stays in
    the table with that status.
    """
    known = {row.video_key: row for row in _rows_before(batch.key, workspace) or ()}
    rows = [_observed(workspace.source, key, known.get(key)) for key in batch.videos]
    table = VideoRow.to_table(rows)
    workspace.tables.write("videos", batch.key, table)
    return table


def _rows_before(batch: str, workspace: Workspace) -> list[VideoRow] | None:
    """Return the rows last observed, or `None` if their table is damaged and will be replaced."""
    try:
        return workspace.read(VideoRow, batch)
    except IntegrityError:
        return None


def videos_version(videos: pa.Table) -> str:
    """Return a digest over the videos and their bytes. It ignores modification times."""
    return table_digest(videos.select(["video_key", "fingerprint", "status"]))


@old_parameters(places="workspace", cutting="clipping")
def cut_clips(
    batch: Batch,
    workspace: Workspace,
    clipping: Clipping,
    *,
    limits: Limits | None = None,
    workers: Workers | None = None,
    retry_failed: bool = False,
) -> pa.Table:
    """Cut every video of a batch, and publish the table `clips`, with columns `CLIPS`.

    Reads only videos with new bytes or a new clipping. A video without clips has one row with the
    reason.

    Args:
        batch: The batch.
        workspace: Workspace of the batch.
        clipping: Rule that cuts videos into clips.
        limits: Resource limits for one source.
        workers: Number of processes, and time limit for one video.
        retry_failed: Try failed videos again, even with unchanged bytes.

    Raises:
        ConfigError: The clipping cannot run on this machine. Raised before anything is read.
    """
    clipping.check()
    videos = VideoRow.from_table(observe_videos(batch, workspace))
    before = workspace.table("clips", batch.key)
    known, outdated = _known_clips(before, clipping), _counted_by_an_earlier_version(before)
    if retry_failed:
        known = {video: rows for video, rows in known.items() if rows[0].status != "failed"}
    known = {video: rows for video, rows in known.items() if rows[0].reason not in RETRIED}
    tasks = [
        _ProbeTask(workspace.source, video_of(row), row.fingerprint, clipping, limits or Limits())
        for row in videos
        if row.status == "ok" and (row.video_key, row.fingerprint) not in known.keys() - outdated
    ]
    for task, found in (workers or Workers()).map(_probe, tasks):
        key = (task.video.key, task.fingerprint)
        if isinstance(found, ClipFault):
            known[key] = [_uncut(*key, reason=found.reason, detail=detail_of(found))]
        elif isinstance(found, FramesPipelineError):
            raise found
        else:
            known[key] = found
    rows = [row for video in videos for row in _clips_of(video, known)]
    metadata = {_CUTTING: repr(clipping), _TIMES: _TIMES_RULE}
    table = ClipRow.to_table(rows).replace_schema_metadata(metadata)
    workspace.tables.write("clips", batch.key, table)
    return table


def clip_of(row: ClipRow) -> Clip:
    """Return the clip of a row with status `ok`."""
    return Clip(
        video_key=row.video_key,
        start=present(row.start_pts, "start_pts"),
        stop=present(row.end_pts, "end_pts"),
        time_base=Fraction(
            present(row.time_base_num, "time_base_num"), present(row.time_base_den, "time_base_den")
        ),
        num_frames=present(row.num_frames, "num_frames"),
    )


def video_of(row: VideoRow) -> Video:
    """Return the video of a row."""
    return Video(row.video_key, row.size or 0, row.modified or 0.0, row.etag)


@dataclass(frozen=True, slots=True)
class _ProbeTask:
    source: VideoSource
    video: Video
    fingerprint: str
    clipping: Clipping
    limits: Limits


def _probe(task: _ProbeTask) -> list[ClipRow]:
    """Return the rows of one video's clips; runs in a worker process."""
    with open_video(task.source, task.video, task.limits) as media:
        index = probe_media(media)
        clips = task.clipping.cut(media, task.video.key)
        task.source.check_read(task.video)
    return [_clip_row(clip, index, task.fingerprint) for clip in clips]


def _observed(source: VideoSource, key: str, known: VideoRow | None) -> VideoRow:
    """Return the row of a video; observe it again if it changes meanwhile."""
    row = _seen(source, key, known)
    return _seen(source, key, known) if row.status == SourceChangedError.reason else row


def _seen(source: VideoSource, key: str, known: VideoRow | None) -> VideoRow:
    uri = f"{source.url}/{key}"
    video = Video(key, 0, 0.0)
    try:
        video = source.find(key)
        fingerprint = _fingerprint(source, video, known)
    except Exception as error:
        fault = typed(error)
        if isinstance(fault, SourceNotFoundError):
            return _gone(key, uri, known, detail=str(fault))
        if not isinstance(fault, ClipFault):
            raise fault from error
        return _video_row(video, uri, "", status=fault.reason, detail=detail_of(fault))
    return _video_row(video, uri, fingerprint, status="ok", detail="")


def _fingerprint(source: VideoSource, video: Video, known: VideoRow | None) -> str:
    """Return the known fingerprint if the file looks unchanged; otherwise compute it."""
    if known is not None and known.fingerprint and video.is_same_file(video_of(known)):
        return known.fingerprint
    return source.fingerprint(video)


def _video_row(video: Video, uri: str, fingerprint: str, *, status: str, detail: str) -> VideoRow:
    return VideoRow(
        video_key=video.key,
        uri=uri,
        size=video.size,
        modified=video.modified,
        etag=video.etag,
        fingerprint=fingerprint,
        status=status,
        detail=detail,
    )


def _gone(key: str, uri: str, known: VideoRow | None, *, detail: str) -> VideoRow:
    """Return the row of a video that is gone, with its last known facts."""
    if known is None:
        known = VideoRow(key, uri, None, None, "", "", _GONE, detail)
    return replace(known, uri=uri, status=_GONE, detail=detail)


def shown_size(signature: FrameExtractionSignature, clip: ClipRow) -> Size:
    """Return the size of a clip's frames before resizing, by the header of its video."""
    height, width = present(clip.height, "height"), present(clip.width, "width")
    crop = clip.container_crop
    if signature.crop == "container" and crop is not None:
        rows, columns = chroma_block(VideoFormat(present(clip.pixel_format, "pixel_format")))
        part = window(Crop(*crop), height, width, rows=rows, columns=columns)
        height, width = (height, width) if part is None else (part.height, part.width)
    picture = picture_of(clip)
    if signature.pixel_aspect == "square" and picture is not None:
        height, width = squared(Size(height, width), picture.shown_pixel_aspect)
    turned = signature.rotation == "apply" and present(clip.rotation, "rotation") % 180 != 0
    return Size(width, height) if turned else Size(height, width)


def is_size_known(signature: FrameExtractionSignature, clip: ClipRow) -> bool:
    """Return whether the row has the facts for `shown_size`.

    Version 0.1 recorded neither the crop nor the pixel aspect.
    """
    is_crop_known = signature.crop == "coded" or clip.pixel_format is not None
    return is_crop_known and (signature.pixel_aspect == "coded" or picture_of(clip) is not None)


def clips_version(clips: pa.Table) -> str:
    """Return a digest over the clips, without facts that follow from bytes with a fingerprint.

    So a table with these columns has the same digest as a table of version 0.1 without them.
    """
    beside = [name for name in _BESIDE_CLIPS if name in clips.column_names]
    return table_digest(clips.drop_columns(beside))


def _known_clips(table: pa.Table | None, clipping: Clipping) -> dict[_VideoBytes, list[ClipRow]]:
    """Return rows by video and fingerprint, if they were cut by the same clipping."""
    known: dict[_VideoBytes, list[ClipRow]] = {}
    if table is None or (table.schema.metadata or {}).get(_CUTTING) != repr(clipping).encode():
        return known
    for row in ClipRow.from_table(table):
        known.setdefault((row.video_key, row.fingerprint), []).append(row)
    return known


def _counted_by_an_earlier_version(table: pa.Table | None) -> set[_VideoBytes]:
    """Return (video, fingerprint) pairs with counted times that the present rule may replace."""
    if table is None or (table.schema.metadata or {}).get(_TIMES) == _TIMES_RULE:
        return set()
    counted = [row for row in ClipRow.from_table(table) if row.timestamps == "counted"]
    return {(row.video_key, row.fingerprint) for row in counted}


def _clips_of(video: VideoRow, known: Mapping[_VideoBytes, list[ClipRow]]) -> list[ClipRow]:
    """Return the clips of a video. A missing video keeps its clips, and their frames."""
    key = (video.video_key, video.fingerprint)
    if key in known:
        return known[key]
    reason = SourceNotFoundError.reason if video.status == _GONE else video.status
    return [_uncut(*key, reason=reason, detail=video.detail)]


def _clip_row(clip: Clip, index: PacketIndex, fingerprint: str) -> ClipRow:
    return ClipRow(
        clip_id=clip.clip_id,
        video_key=clip.video_key,
        fingerprint=fingerprint,
        start_pts=clip.start,
        end_pts=clip.stop,
        time_base_num=clip.time_base.numerator,
        time_base_den=clip.time_base.denominator,
        start_seconds=clip.start_seconds,
        duration_seconds=clip.duration_seconds,
        num_frames=clip.num_frames,
        width=index.width,
        height=index.height,
        codec=index.codec,
        rotation=index.rotation,
        timestamps=index.timestamps,
        status="ok",
        reason="",
        detail="",
        pixel_format=index.pixel_format or None,
        container_crop=None if index.container_crop is None else tuple(index.container_crop),
        **format_columns(index.picture),
    )


def _uncut(video_key: str, fingerprint: str, *, reason: str, detail: str) -> ClipRow:
    status = "skipped" if reason in _SKIPPED else "failed"
    return ClipRow.uncut(video_key, fingerprint, status=status, reason=reason, detail=detail)
