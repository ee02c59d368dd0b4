"""From a folder of videos to clips: batches are sealed, videos observed, and cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import pyarrow as pa

from frames_pipeline.batches import Batch, Batching
from frames_pipeline.clips import Clip, Cutting
from frames_pipeline.convert import Size
from frames_pipeline.errors import (
    FramesPipelineError,
    IntegrityError,
    SingleShotError,
    SourceError,
    SourceNotFoundError,
    TooShortError,
    WorkerError,
)
from frames_pipeline.extract import probe_media
from frames_pipeline.index import PacketIndex
from frames_pipeline.media import Limits, open_media
from frames_pipeline.pipeline.places import Places, Row
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.tables import CLIPS, VIDEOS, table_digest, table_of
from frames_pipeline.videos import Video, VideoSource
from frames_pipeline.workers import Workers

_CUTTING: Final = b"cutting"
"""Name under which a table of clips says how they were cut."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a look at the source found."""

    sealed: tuple[Batch, ...]
    """Batches that were sealed now."""
    waiting: int
    """Videos that are in no batch yet."""
    listed: Mapping[str, Video]
    """Videos under the source, by key."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sealed batch whose files are not those that were last observed."""

    batch: str
    """Its key."""
    state: str
    """Digest of what is listed of its files now: equal for the same change."""


def discover(
    places: Places, batching: Batching, *, now: float, at_most: int | None = None
) -> Discovery:
    """List the source, and seal the videos that are due into batches.

    Args:
        places: Where they are found, and where batches are kept.
        batching: When videos become a batch.
        now: Seconds since the epoch.
        at_most: The most batches to seal now; the rest waits.
    """
    listed = {video.key: video for video in places.source.list()}
    known = places.batches.sealed_videos()
    waiting = [video for key, video in listed.items() if key not in known]
    groups = batching.groups(waiting, now=now)[:at_most]
    sealed = places.batches.seal_all(groups, source=places.source.url)
    left = len(waiting) - sum(len(batch.videos) for batch in sealed)
    return Discovery(tuple(sealed), left, listed)


def find_changes(
    batches: Iterable[str], found: Discovery, places: Places, *, settled: float
) -> list[Change]:
    """Batches whose files were written, went or came back since they were observed.

    A batch that was never observed has not changed: its first run is due anyway. One whose table of
    videos is damaged has changed, once: its run says so, and the other batches are looked at.

    Args:
        batches: Keys of sealed batches.
        found: What a look at the source found.
        places: Where the batches and what was observed of them are.
        settled: A batch with a file written after this, in seconds since the epoch, is passed
            over: it may still be being written.
    """
    changes = []
    for batch in batches:
        try:
            before = places.rows("videos", batch)
        except IntegrityError as error:
            changes.append(Change(batch, hashlib.sha256(str(error).encode()).hexdigest()[:16]))
            continue
        now = [found.listed.get(row["video_key"]) for row in before]
        changed = [
            video
            for row, video in zip(before, now, strict=True)
            if (row["status"] == "gone") != (video is None)
            or (video is not None and not video.is_same_file(video_of(row)))
        ]
        if changed and all(video is None or video.modified <= settled for video in changed):
            changes.append(Change(batch, hashlib.sha256(repr(now).encode()).hexdigest()[:16]))
    return changes


def observe_videos(batch: Batch, places: Places) -> pa.Table:
    """Look at every video of a batch, and keep what was seen, with the columns of `VIDEOS`.

    Bytes are read only where a file was written since the last look. A video that is gone stays
    in the table, and says so.
    """
    known = {row["video_key"]: row for row in places.rows("videos", batch.key)}
    rows = [_observed(places.source, key, known.get(key)) for key in batch.videos]
    table = table_of(rows, VIDEOS)
    places.tables.write("videos", batch.key, table)
    return table


def videos_version(videos: pa.Table) -> str:
    """Digest over which videos there are and what their bytes are, not when they were written."""
    return table_digest(videos.select(["video_key", "fingerprint", "status"]))


def cut_clips(
    batch: Batch,
    places: Places,
    cutting: Cutting,
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
        places: Where videos and tables are.
        cutting: How clips are cut.
        limits: What one source may take.
        workers: How many processes, and how long one video may take.
        retry_failed: Try videos again that failed with the same bytes.

    Raises:
        ConfigError: They cannot be cut so here. Raised before anything is read.
    """
    cutting.check()
    videos = observe_videos(batch, places).to_pylist()
    known = _known_clips(places.table("clips", batch.key), cutting)
    if retry_failed:
        known = {video: rows for video, rows in known.items() if rows[0]["status"] != "failed"}
    tasks = [
        _ProbeTask(places.source, video_of(row), row["fingerprint"], cutting, limits or Limits())
        for row in videos
        if row["status"] == "ok" and (row["video_key"], row["fingerprint"]) not in known
    ]
    for task, found in (workers or Workers()).map(_probe, tasks):
        key = (task.video.key, task.fingerprint)
        match found:
            case SourceError() | WorkerError():
                known[key] = [_uncut(*key, found)]
            case FramesPipelineError():
                raise found
            case rows:
                known[key] = rows
    rows = [row for video in videos for row in _clips_of(video, known)]
    table = table_of(rows, CLIPS).replace_schema_metadata({_CUTTING: repr(cutting)})
    places.tables.write("clips", batch.key, table)
    return table


def clip_of(row: Row) -> Clip:
    """The clip that a row of the table of clips is."""
    return Clip(
        video_key=row["video_key"],
        start=row["start_pts"],
        stop=row["end_pts"],
        time_base=Fraction(row["time_base_num"], row["time_base_den"]),
        num_frames=row["num_frames"],
    )


def video_of(row: Row) -> Video:
    """The video that a row of the table of videos is."""
    return Video(row["video_key"], row["size"] or 0, row["modified"] or 0.0, row["etag"])


@dataclass(frozen=True, slots=True)
class _ProbeTask:
    source: VideoSource
    video: Video
    fingerprint: str
    cutting: Cutting
    limits: Limits


def _probe(task: _ProbeTask) -> list[Row]:
    """The rows of one video's clips; runs in a worker process."""
    with (
        task.source.staged(task.video, max_bytes=task.limits.max_file_bytes) as path,
        open_media(path, task.limits) as media,
    ):
        index = probe_media(media)
        clips = task.cutting.cut(media, task.video.key)
    return [_clip_row(clip, index, task.fingerprint) for clip in clips]


def _observed(source: VideoSource, key: str, known: Row | None) -> Row:
    row: Row = {"video_key": key, "uri": f"{source.url}/{key}"}
    try:
        video = source.find(key)
    except SourceNotFoundError as error:
        last = (
            {"size": None, "modified": None, "etag": "", "fingerprint": ""}
            if known is None
            else {name: known[name] for name in ("size", "modified", "etag", "fingerprint")}
        )
        return row | last | {"status": "gone", "detail": str(error)}
    if known is not None and video.is_same_file(video_of(known)):
        fingerprint = known["fingerprint"]
    else:
        fingerprint = source.fingerprint(video)
    return row | {
        "size": video.size,
        "modified": video.modified,
        "etag": video.etag,
        "fingerprint": fingerprint,
        "status": "ok",
        "detail": "",
    }


def shown_size(signature: FrameExtractionSignature, clip: Row) -> Size:
    """What a frame of a clip measures before it is resized, by the header of its video."""
    height, width = clip["height"], clip["width"]
    turned = signature.rotation == "apply" and clip["rotation"] % 180 != 0
    return Size(width, height) if turned else Size(height, width)


def _known_clips(table: pa.Table | None, cutting: Cutting) -> dict[tuple[str, str], list[Row]]:
    """Rows by video and fingerprint, as far as they were cut in this way."""
    known: dict[tuple[str, str], list[Row]] = {}
    if table is None or (table.schema.metadata or {}).get(_CUTTING) != repr(cutting).encode():
        return known
    for row in table.to_pylist():
        known.setdefault((row["video_key"], row["fingerprint"]), []).append(row)
    return known


def _clips_of(video: Row, known: dict[tuple[str, str], list[Row]]) -> list[Row]:
    """The clips of a video. One that is gone keeps those that it had: their frames are kept too."""
    key = (video["video_key"], video["fingerprint"])
    return known[key] if key in known else [_uncut(*key, SourceNotFoundError(video["detail"]))]


def _clip_row(clip: Clip, index: PacketIndex, fingerprint: str) -> Row:
    return {
        "clip_id": clip.clip_id,
        "video_key": clip.video_key,
        "fingerprint": fingerprint,
        "start_pts": clip.start,
        "end_pts": clip.stop,
        "time_base_num": clip.time_base.numerator,
        "time_base_den": clip.time_base.denominator,
        "start_seconds": clip.start_seconds,
        "duration_seconds": clip.duration_seconds,
        "num_frames": clip.num_frames,
        "width": index.width,
        "height": index.height,
        "codec": index.codec,
        "rotation": index.rotation,
        "timestamps": index.timestamps,
        "status": "ok",
        "reason": "",
        "detail": "",
    }


def _uncut(video_key: str, fingerprint: str, error: FramesPipelineError) -> Row:
    nothing: Row = dict.fromkeys(CLIPS.names)
    return nothing | {
        "clip_id": video_key,
        "video_key": video_key,
        "fingerprint": fingerprint,
        "status": "skipped" if isinstance(error, TooShortError | SingleShotError) else "failed",
        "reason": error.reason,
        "detail": str(error),
    }
