"""From a folder of videos to clips: batches are sealed, videos observed, and cut."""

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
from frames_pipeline.container.media import Limits
from frames_pipeline.decoding.convert import Size, chroma_block
from frames_pipeline.decoding.crop import window
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
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.sources.entries import PassedOver
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.tables import ClipRow, VideoRow, present, table_digest
from frames_pipeline.workers.local import Workers

_CUTTING: Final = b"cutting"
"""Name under which a table of clips says how they were cut."""
_TIMES: Final = b"times"
_TIMES_RULE: Final = b"1"
"""Which rule for timestamps the clips were cut by: docs/adr/0013-times.md is the first."""
_BESIDE_CLIPS: Final = ("pixel_format", "container_crop")
"""Columns that follow from a video's bytes, and that version 0.1 did not have."""
_GONE: Final = "gone"
"""Status of a video that is not there. One that is there and cannot be read has the reason for a
status."""
_VideoBytes: TypeAlias = tuple[str, str]
"""Key of a video, and the fingerprint of its bytes."""
_SKIPPED: Final = (TooShortError.reason, SingleShotError.reason)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a look at the source found."""

    sealed: tuple[Batch, ...]
    """Batches that were sealed now."""
    waiting: int
    """Videos that are in no batch yet."""
    listed: Mapping[str, Video]
    """Videos under the source, by key."""
    passed_over: tuple[PassedOver, ...] = ()
    """Entries of the source that are not taken for videos, by reason."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sealed batch with files that changed since they were last observed."""

    batch: str
    """Its key."""
    state: str
    """Digest of what is listed of its files now: equal for the same change."""


@old_parameters(places="workspace")
def discover(
    workspace: Workspace, batching: Batching, *, now: float, at_most: int | None = None
) -> Discovery:
    """List the source, and seal the videos that are due into batches.

    Args:
        workspace: Where they are found, and where batches are kept.
        batching: When videos become a batch.
        now: Seconds since the epoch.
        at_most: The most batches to seal now; the rest waits.
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
    """Batches whose files were written, went or came back since they were observed.

    A batch that was never observed has not changed: its first run is due anyway. A batch with a
    damaged `videos` table counts as changed, so that it is observed again and its table rewritten.

    Args:
        batches: Keys of sealed batches.
        found: What a look at the source found.
        workspace: Where the batches and what was observed of them are.
        settled: A batch with a file written after this, in seconds since the epoch, is passed
            over: it may still be being written.
        now: Seconds since the epoch, if not by this machine's clock: a file that claims to be from
            the future is no reason to wait for it.
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
    """Look at every video of a batch, and keep what was seen, with the columns of `VIDEOS`.

    Bytes are read only where a file was written since the last look. A video that is gone, or
    cannot be read, stays in the table, and says so.
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
    """Digest over which videos there are and what their bytes are, not when they were written."""
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
    """Cut every video of a batch, and keep the clips, with the columns of `CLIPS`.

    Only videos whose bytes, or whose way of being cut, are others than last time are read. A
    video that cannot be cut has one row, which says why.

    Args:
        batch: The batch.
        workspace: Where videos and tables are.
        clipping: How clips are cut.
        limits: What one source may take.
        workers: How many processes, and how long one video may take.
        retry_failed: Try videos again that failed with the same bytes.

    Raises:
        ConfigError: They cannot be cut so here. Raised before anything is read.
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
    """The rows of one video's clips; runs in a worker process."""
    with open_video(task.source, task.video, task.limits) as media:
        index = probe_media(media)
        clips = task.clipping.cut(media, task.video.key)
        task.source.check_read(task.video)
    return [_clip_row(clip, index, task.fingerprint) for clip in clips]


def _observed(source: VideoSource, key: str, known: VideoRow | None) -> VideoRow:
    """The row of a video; one that is written meanwhile is looked at once more."""
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
    """What a frame of a clip measures before it is resized, by the header of its video."""
    height, width = present(clip.height, "height"), present(clip.width, "width")
    crop = clip.container_crop
    if signature.crop == "container" and crop is not None:
        rows, columns = chroma_block(VideoFormat(present(clip.pixel_format, "pixel_format")))
        part = window(Crop(*crop), height, width, rows=rows, columns=columns)
        height, width = (height, width) if part is None else (part.height, part.width)
    turned = signature.rotation == "apply" and present(clip.rotation, "rotation") % 180 != 0
    return Size(width, height) if turned else Size(height, width)


def is_size_known(signature: FrameExtractionSignature, clip: ClipRow) -> bool:
    """Whether the table says enough for `shown_size`: version 0.1 recorded no crop."""
    return signature.crop == "coded" or clip.pixel_format is not None


def clips_version(clips: pa.Table) -> str:
    """Digest over the clips, without facts that follow from the bytes: fingerprints cover them.

    So a table with these columns has the same digest as a table of version 0.1 without them.
    """
    return table_digest(clips.drop_columns(list(_BESIDE_CLIPS)))


def _known_clips(table: pa.Table | None, clipping: Clipping) -> dict[_VideoBytes, list[ClipRow]]:
    """Rows by video and fingerprint, as far as they were cut in this way."""
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
    """The clips of a video. One that is gone keeps those that it had: their frames are kept too."""
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
    )


def _uncut(video_key: str, fingerprint: str, *, reason: str, detail: str) -> ClipRow:
    status = "skipped" if reason in _SKIPPED else "failed"
    return ClipRow.uncut(video_key, fingerprint, status=status, reason=reason, detail=detail)
