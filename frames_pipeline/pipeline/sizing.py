"""What an extraction will come to, told from a sample that is really extracted.

Of some videos, chosen at random, one clip each is decoded and stored. What it took is taken for all
clips of its video, and the videos of the sample for all of them, in proportion to their bytes: the
ratio estimator of survey sampling (Cochran, "Sampling Techniques", 1977, chapter 6), with its
standard error. Videos that cannot be read count with nothing.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from frames_pipeline.clips import Cutting, WholeVideo
from frames_pipeline.decoders import PyavDecoder
from frames_pipeline.errors import ConfigError, FramesPipelineError
from frames_pipeline.extract import extract_spans, probe_media
from frames_pipeline.gather import Span
from frames_pipeline.media import Limits, open_media
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore
from frames_pipeline.videos import Video, VideoSource
from frames_pipeline.workers import Workers

_BATCH: Final = "sample"


@dataclass(frozen=True, slots=True)
class Amount:
    """A total, as far as the sample tells."""

    total: float
    """The estimate."""
    error: float
    """Its standard error: two times out of three the truth is within it. 0 where all were read."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What an extraction will come to."""

    videos: int
    """Videos under the source."""
    video_bytes: int
    """Their bytes."""
    sampled: int
    """Videos that were looked into."""
    failed: tuple[str, ...]
    """Those of them that cannot be read, with why."""
    video_seconds: Amount
    """Length of all videos."""
    clips: Amount
    """Clips that they are cut into."""
    frames: Amount
    """Frames that are stored, of all signatures."""
    frame_bytes: Amount
    """Bytes of the store."""
    objects: Amount
    """Objects of the store."""
    cpu_seconds: Amount
    """Processor time of this machine's cores, to read, decode, convert and store."""


def estimate_extraction(
    source: VideoSource,
    signatures: Iterable[FrameExtractionSignature],
    *,
    cutting: Cutting | None = None,
    sample: int = 20,
    seed: int = 0,
    limits: Limits | None = None,
    workers: Workers | None = None,
) -> Sizing:
    """Extract one clip of each of some videos, and tell what all of them will come to.

    Args:
        source: The videos.
        signatures: Which frames.
        cutting: How they are cut; whole videos if it is left out.
        sample: Videos to look into.
        seed: Chooses the same videos and clips again.
        limits: What one source, and one clip of it, may take.
        workers: How many processes, and how long one clip may take.

    Raises:
        ConfigError: There is nothing to look into, or no signature, or they cannot be cut so here.
        TransientError: Something cannot be reached.
    """
    cutting = cutting or WholeVideo()
    cutting.check()
    wanted, videos = tuple(dict.fromkeys(signatures)), source.list()
    if not wanted or not videos or sample < 1:
        message = f"{len(videos)} videos under {source.url}, {len(wanted)} signatures and a sample "
        raise ConfigError(f"{message}of {sample}: nothing to estimate from")
    chance = random.Random(seed)
    chosen = chance.sample(videos, min(sample, len(videos)))
    tasks = [
        _Task(source, video, cutting, wanted, limits or Limits(), chance.random())
        for video in chosen
    ]
    measured, failed = [], []
    for task, found in (workers or Workers()).map(_measure, tasks):
        is_bad = isinstance(found, FramesPipelineError)
        if is_bad:
            failed.append(f"{task.video.key}: {found}")
        measured.append((task.video.size, _Cost() if is_bad else found))
    total = sum(video.size for video in videos)
    amounts = {
        name: _ratio([(size, getattr(cost, name)) for size, cost in measured], total, len(videos))
        for name in ("video_seconds", "clips", "frames", "frame_bytes", "objects", "cpu_seconds")
    }
    return Sizing(len(videos), total, len(chosen), tuple(sorted(failed)), **amounts)


@dataclass(frozen=True, slots=True)
class _Task:
    """A video to look into."""

    source: VideoSource
    video: Video
    cutting: Cutting
    signatures: tuple[FrameExtractionSignature, ...]
    limits: Limits
    chance: float


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a video comes to, if its other clips are like the one."""

    video_seconds: float = 0
    clips: float = 0
    frames: float = 0
    frame_bytes: float = 0
    objects: float = 0
    cpu_seconds: float = 0


def _measure(task: _Task) -> _Cost:
    """Open and cut a video, and extract and store one of its clips."""
    since = time.process_time()
    with (
        task.source.staged(task.video, max_bytes=task.limits.max_file_bytes) as path,
        open_media(path, task.limits) as media,
        tempfile.TemporaryDirectory() as folder,
    ):
        index = probe_media(media)
        clips = task.cutting.cut(media, task.video.key)
        opened = time.process_time() - since
        clip = clips[int(task.chance * len(clips))]
        store, since = FrameStore(folder), time.process_time()
        for _, found in extract_spans(
            media, [Span(clip.start, clip.stop)], task.signatures, decoder=PyavDecoder()
        ):
            if isinstance(found, FramesPipelineError):
                raise found
            commits = store.write_clip(_BATCH, clip, found).values()
        spent = time.process_time() - since
    scale = sum(one.num_frames for one in clips) / clip.num_frames
    return _Cost(
        video_seconds=index.duration_seconds,
        clips=len(clips),
        frames=scale * sum(commit.num_frames for commit in commits),
        frame_bytes=scale * sum(commit.bytes for commit in commits),
        objects=len(clips) * sum(len(commit.objects) + 1 for commit in commits),
        cpu_seconds=opened + scale * spent,
    )


def _ratio(sample: Sequence[tuple[int, float]], total: int, count: int) -> Amount:
    """A total in proportion to bytes, from the bytes and the amounts of a sample of videos."""
    n, size = len(sample), sum(size for size, _ in sample)
    if not size:
        return Amount(0, 0)
    ratio = sum(amount for _, amount in sample) / size
    if n in (count, 1):
        return Amount(ratio * total, 0 if n == count else math.inf)
    variance = sum((amount - ratio * size) ** 2 for size, amount in sample) / (n - 1)
    return Amount(ratio * total, count * math.sqrt((1 - n / count) * variance / n))
