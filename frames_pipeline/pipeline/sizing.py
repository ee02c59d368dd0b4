"""Estimate the size, time and cost of an extraction from an extracted sample.

A few adjacent clips of some videos are decoded and stored. Their cost is scaled to all clips of
their video. Some videos are so large that a sample in proportion to bytes would probably include
them: these are always in the sample, and count only for themselves. The others are chosen at random
and represent the remaining videos, in proportion to bytes (the ratio estimator of survey sampling:
Cochran, "Sampling Techniques", 1977, chapter 6) or to their number. The estimator with the smaller
standard error in the sample is used. Unreadable videos count as zero.

Requests are those of a run from a bucket to a bucket; the table is in docs/operations/scaling.md.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clipping import Clipping, WholeVideo
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.backends import PyavDecoder
from frames_pipeline.decoding.probe import probe_media
from frames_pipeline.errors import ClipFault, ConfigError, FramesPipelineError, NoFramesError
from frames_pipeline.extract import extract_spans
from frames_pipeline.io.copies import copies
from frames_pipeline.pipeline.extraction import CLIPS_PER_TASK
from frames_pipeline.pipeline.open_video import open_video
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batching
from frames_pipeline.sources.entries import PassedOver, describe_passed_over
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.store import ClipCommit, FrameStore
from frames_pipeline.store.chunk_codecs import compression_named
from frames_pipeline.workers.local import Workers, preload

preload(__name__)

_BATCH: Final = "sample"
_CLIPS: Final = 4
"""Clips of a video to extract in one pass: a single clip would bear all cost of the start."""
_BATCH_PUTS: Final = 6
"""Write requests of a batch: the sealed list, the table of videos twice, the table of clips; two
listings of suspect families."""
_BATCH_GETS: Final = 10
"""Read requests of a batch: the sealed list, the table of videos three times, the table of clips
twice; one for suspect families; whether it was withdrawn, at the start and after each table."""
_FRAMES_PUTS: Final = 5
"""Write requests of a batch and signature: its document, the manifest, outcomes; two listings."""
_FRAMES_GETS: Final = 7
"""Read requests of a batch and signature: outcomes, the manifest twice, the document twice; whether
the batch was withdrawn, after the manifest and the outcomes."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An estimated total."""

    total: float
    """The estimate."""
    error: float
    """Standard error: two times out of three, the true total is within it. 0 if all were read."""

    def times(self, factor: float) -> Amount:
        """Return this amount times a factor."""
        return Amount(factor * self.total, factor * self.error)

    def plus(self, number: float) -> Amount:
        """Return the sum of this amount and a known number."""
        return Amount(self.total + number, self.error)


Costs = dict[str, Amount]
"""Cost by item, in the currency of the prices."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency; `None` if unknown."""

    cpu_hour: float | None = None
    """An hour of a core like one of this machine's."""
    gpu_hour: float | None = None
    """An hour of a GPU."""
    gigabyte_month: float | None = None
    """10^9 bytes stored for a month."""
    thousand_puts: float | None = None
    """1,000 requests that write or list."""
    thousand_gets: float | None = None
    """1,000 requests that read."""

    def __post_init__(self) -> None:
        """Check that every price is a number of at least 0."""
        for name, price in asdict(self).items():
            if price is not None and not 0 <= price < math.inf:
                message = f"{name}={price} is not a price; give a number that is not below 0"
                raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class Sizing:
    """Estimate of an extraction."""

    videos: int
    """Number of videos under the source."""
    video_bytes: int
    """Bytes of the videos."""
    sampled: int
    """Number of videos in the sample."""
    failed: tuple[str, ...]
    """Videos of the sample that cannot be read, with the reason."""
    video_seconds: Amount
    """Length of all videos."""
    clips: Amount
    """Number of clips."""
    frames: Amount
    """Stored frames of all signatures."""
    frame_bytes: Amount
    """Bytes of the store."""
    objects: Amount
    """Objects of the store."""
    cpu_seconds: Amount
    """CPU seconds on this machine's cores, to open videos, cut, decode, convert and store."""
    coded_frames: Amount
    """Coded frames fed to decoders."""
    puts: Amount
    """Requests that write or list, if the store is in a bucket."""
    gets: Amount
    """Requests that read, if videos and store are in a bucket."""
    passed_over: tuple[PassedOver, ...] = ()
    """Entries of the source that do not count as videos, by reason."""

    def gpu_seconds(self, frames_per_second: float) -> Amount:
        """Return the GPU seconds of decoding alone, at a rate of coded frames per second.

        Raises:
            ConfigError: The rate is not above zero.
        """
        if frames_per_second <= 0:
            message = f"frames_per_second={frames_per_second} of a GPU must be above 0"
            raise ConfigError(message)
        return self.coded_frames.times(1 / frames_per_second)

    def costs(self, prices: Prices, *, gpu_frames_per_second: float | None = None) -> Costs:
        """Return the cost of each item with a price.

        Args:
            prices: Prices; items without a price are left out of the result.
            gpu_frames_per_second: Coded frames that a GPU decodes per second. If given, adds the
                cost of decoding on the GPU; CPU time still includes decoding on the CPU.

        Raises:
            ConfigError: The GPU has a price, but its speed is not given.
        """
        costs = {}
        if prices.cpu_hour is not None:
            costs["processors"] = self.cpu_seconds.times(prices.cpu_hour / 3600)
        if prices.gpu_hour is not None:
            if gpu_frames_per_second is None:
                message = "gpu_hour has a price, and the GPU's speed is unknown; give "
                raise ConfigError(f"{message}the coded frames that it decodes per second")
            seconds = self.gpu_seconds(gpu_frames_per_second)
            costs["gpus"] = seconds.times(prices.gpu_hour / 3600)
        if prices.gigabyte_month is not None:
            costs["storage_per_month"] = self.frame_bytes.times(prices.gigabyte_month / 1e9)
        if prices.thousand_puts is not None:
            costs["puts"] = self.puts.times(prices.thousand_puts / 1000)
        if prices.thousand_gets is not None:
            costs["gets"] = self.gets.times(prices.thousand_gets / 1000)
        return costs


@old_parameters(cutting="clipping")
def estimate_extraction(
    source: VideoSource,
    signatures: Iterable[FrameExtractionSignature],
    *,
    clipping: Clipping | None = None,
    sample: int = 20,
    seed: int = 0,
    batch_size: int = Batching().batch_size,
    compression: str = "zstd",
    limits: Limits | None = None,
    workers: Workers | None = None,
) -> Sizing:
    """Estimate an extraction by extracting a few clips of some videos.

    Args:
        source: The videos.
        signatures: Signatures to extract.
        clipping: Rule that cuts videos into clips; default: whole videos.
        sample: Number of videos in the sample.
        seed: Seed of the sample; the same seed chooses the same videos and clips.
        batch_size: Videos per batch: each batch adds some requests.
        compression: Lossless compression of the frames, one of `COMPRESSIONS`.
        limits: Resource limits for one source and one clip of it.
        workers: Number of processes, and time limit for one clip.

    Raises:
        ConfigError: There is no video, no sample or no signature, or the clipping or the
            compression cannot run on this machine.
        TransientError: The source or the store cannot be reached.
    """
    clipping = clipping or WholeVideo()
    clipping.check()
    compression_named(compression).require()
    wanted, listing = tuple(dict.fromkeys(signatures)), source.look()
    videos = listing.videos
    if not wanted or not videos or sample < 1:
        message = f"{len(videos)} videos under {source.url}, {len(wanted)} signatures and a sample "
        message += f"of {sample}: nothing to estimate from; skipped entries: "
        raise ConfigError(message + describe_passed_over(listing.passed_over))
    chance = random.Random(seed)
    certain, others = _apart(videos, sample)
    drawn = chance.sample(others, min(sample - len(certain), len(others)))
    tasks = [
        _Task(source, video, clipping, wanted, limits or Limits(), chance.random(), compression)
        for video in (*certain, *drawn)
    ]
    found = dict(_measured(tasks, workers or Workers()))
    failed = {video.key: error for video, error in found.items() if not isinstance(error, _Cost)}
    costs = {v: cost if isinstance(cost, _Cost) else _Cost() for v, cost in found.items()}
    amounts = _extrapolated(costs, certain=certain, others=others)
    _add_requests(amounts, math.ceil(len(videos) / batch_size), signatures=len(wanted))
    total = sum(video.size for video in videos)
    unreadable = tuple(sorted(f"{key}: {error}" for key, error in failed.items()))
    return Sizing(
        len(videos), total, len(tasks), unreadable, passed_over=listing.passed_over, **amounts
    )


def _add_requests(amounts: dict[str, Amount], batches: int, *, signatures: int) -> None:
    """Add the requests that each batch makes beside those of its clips."""
    puts, gets = _BATCH_PUTS + _FRAMES_PUTS * signatures, _BATCH_GETS + _FRAMES_GETS * signatures
    amounts["puts"] = amounts["puts"].plus(batches * puts)
    amounts["gets"] = amounts["gets"].plus(batches * gets)


def _measured(
    tasks: Sequence[_Task], workers: Workers
) -> Iterator[tuple[Video, _Cost | ClipFault]]:
    """Yield each video with its cost, or with the reason that it cannot be read.

    Raises:
        FramesPipelineError: An error that is not specific to the video.
    """
    for task, found in workers.map(_measure, tasks):
        if not isinstance(found, _Cost | ClipFault):
            raise found
        yield task.video, found


def _apart(videos: Sequence[Video], sample: int) -> tuple[list[Video], list[Video]]:
    """Return the videos that are always in the sample, at most half of it, and all others.

    The first are those that a sample in proportion to bytes would probably include.
    """
    others = sorted(videos, key=lambda video: (-video.size, video.key))
    left, certain = sum(video.size for video in others), 0
    while certain < sample // 2 and certain < len(others) - 1:
        size = others[certain].size
        if 2 * size * (sample - certain) <= left:
            break
        left, certain = left - size, certain + 1
    return others[:certain], others[certain:]


@dataclass(frozen=True, slots=True)
class _Task:
    """A video of the sample."""

    source: VideoSource
    video: Video
    clipping: Clipping
    signatures: tuple[FrameExtractionSignature, ...]
    limits: Limits
    chance: float
    compression: str


@dataclass(frozen=True, slots=True)
class _Cost:
    """Estimated cost of a video, if its other clips are like the extracted ones."""

    video_seconds: float = 0
    clips: float = 0
    frames: float = 0
    frame_bytes: float = 0
    objects: float = 0
    cpu_seconds: float = 0
    coded_frames: float = 0
    puts: float = 0
    gets: float = 0


def _measure(task: _Task) -> _Cost:
    """Open and cut a video, and extract and store some of its clips."""
    since = time.process_time()
    with (
        open_video(task.source, task.video, task.limits) as media,
        tempfile.TemporaryDirectory(dir=copies().folder) as folder,
    ):
        opened = time.process_time() - since
        index = probe_media(media)
        clips = task.clipping.cut(media, task.video.key)
        cut = time.process_time() - since
        first = int(task.chance * (max(0, len(clips) - _CLIPS) + 1))
        chosen = clips[first : first + _CLIPS]
        store = FrameStore(folder, compression=task.compression)
        commits: list[ClipCommit] = []
        for signature in task.signatures:
            store.claim(_BATCH, signature)
        since = time.process_time()
        spans = [clip.span for clip in chosen]
        for number, found in extract_spans(media, spans, task.signatures, decoder=PyavDecoder()):
            if not isinstance(found, FramesPipelineError):
                whole = {signature: frames for signature, frames in found.items() if len(frames)}
                commits += store.write_clip(_BATCH, chosen[number], whole).values()
        spent = time.process_time() - since
    if not commits:
        message = f"none of {len(chosen)} clips of {task.video.key} gives a frame"
        raise NoFramesError(message)
    scale = sum(one.num_frames for one in clips) / sum(one.num_frames for one in chosen)
    objects = scale * sum(len(commit.objects) + 1 for commit in commits)
    fed = {commit.clip_id: commit.outcome.decode.packets_fed for commit in commits}
    passes = math.ceil(len(clips) / CLIPS_PER_TASK)
    return _Cost(
        video_seconds=index.duration_seconds,
        clips=len(clips),
        frames=scale * sum(commit.num_frames for commit in commits),
        frame_bytes=scale * sum(commit.bytes for commit in commits),
        objects=objects,
        cpu_seconds=cut + passes * opened + scale * spent,
        coded_frames=scale * sum(fed.values()),
        # one per object, and the note of the frames' location (`content_index`)
        puts=objects + 1,
        # observe: 1; cut: check, read, check again; per decode pass: the note, and a check
        gets=4 + 2 * passes,
    )


def _extrapolated(
    costs: Mapping[Video, _Cost], *, certain: Sequence[Video], others: Sequence[Video]
) -> dict[str, Amount]:
    """Return the amounts of all videos by field: certain ones as measured, others by a sample."""
    size = sum(video.size for video in others)
    drawn = [video for video in others if video in costs]
    amounts = {}
    for name in (field.name for field in fields(_Cost)):
        sample = [(video.size, getattr(costs[video], name)) for video in drawn]
        known = sum(getattr(costs[video], name) for video in certain)
        amounts[name] = _total(sample, size, len(others)).plus(known)
    return amounts


def _total(sample: Sequence[tuple[int, float]], total: int, count: int) -> Amount:
    """Return a total from a sample of (bytes, amount) pairs."""
    by_bytes, by_number = _ratio(sample, total, count), _mean(sample, count)
    return by_number if by_number.error < by_bytes.error else by_bytes


def _mean(sample: Sequence[tuple[int, float]], count: int) -> Amount:
    """Return a total in proportion to the number of videos."""
    n, mean = len(sample), sum(amount for _, amount in sample) / len(sample)
    if n in (count, 1):
        return Amount(mean * count, 0 if n == count else math.inf)
    variance = sum((amount - mean) ** 2 for _, amount in sample) / (n - 1)
    return Amount(mean * count, count * math.sqrt((1 - n / count) * variance / n))


def _ratio(sample: Sequence[tuple[int, float]], total: int, count: int) -> Amount:
    """Return a total in proportion to bytes, from a sample of (bytes, amount) pairs."""
    n, size = len(sample), sum(size for size, _ in sample)
    if not size:
        return Amount(0, 0)
    ratio = sum(amount for _, amount in sample) / size
    if n in (count, 1):
        return Amount(ratio * total, 0 if n == count else math.inf)
    variance = sum((amount - ratio * size) ** 2 for size, amount in sample) / (n - 1)
    return Amount(ratio * total, count * math.sqrt((1 - n / count) * variance / n))
