"""Ways to use several cores: clips in worker processes, or frame threads in one decoder."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.footage import footage
from frames_pipeline import FrameExtractionSignature, PyavDecoder
from frames_pipeline.clips import Span, ticks
from frames_pipeline.container.media import open_media
from frames_pipeline.extract import extract_spans

_VIDEO: Final = "hevc_720.mp4"
_LOOPS: Final = 12
_CLIP: Final = 10
_SIGNATURE: Final = FrameExtractionSignature(target_fps=2, target_res=(224, 224))


@dataclass(frozen=True, slots=True)
class Way:
    """A distribution of the work."""

    name: str
    processes: int
    threads: int
    clips: bool
    """Whether the video is cut into clips."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Costs of a way: medians over the rounds."""

    way: Way
    wall: float
    """Seconds."""
    cpu: float
    """CPU seconds of all processes and threads."""


def ways() -> list[Way]:
    """Return the ways to compare on this machine."""
    cores = len(os.sched_getaffinity(0))
    return [
        Way("clips, 1 process, 1 thread", 1, 1, clips=True),
        Way(f"clips, {cores} processes, 1 thread each", cores, 1, clips=True),
        Way(f"clips, 1 process, {cores} frame threads", 1, cores, clips=True),
        Way("one long clip, 1 thread", 1, 1, clips=False),
        Way(f"one long clip, {cores} frame threads", 1, cores, clips=False),
        Way(f"one long clip, {2 * cores} frame threads", 1, 2 * cores, clips=False),
    ]


def measure_cores(*, rounds: int, cache: Path, say: Callable[[str], None]) -> list[Spent]:
    """Measure every way in turn, several times, in processes with all imports done."""
    video, spent = footage(_VIDEO, loops=_LOOPS, cache=cache), dict[str, list[Spent]]()
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(os.sched_getaffinity(0))) as pool:
        pool.map(_work, [(video, (), 1)] * 8, chunksize=1)
        for number in range(rounds):
            say(f"cores: round {number + 1}")
            for way in ways():
                spent.setdefault(way.name, []).append(_spend(pool, way, video))
    return [
        Spent(runs[0].way, median(run.wall for run in runs), median(run.cpu for run in runs))
        for runs in spent.values()
    ]


def _spend(pool: Pool, way: Way, video: Path) -> Spent:
    length = _LOOPS * _CLIP
    clips = [(at, at + _CLIP) for at in range(0, length, _CLIP)] if way.clips else [(0, length)]
    share = -(-len(clips) // way.processes)
    tasks = [(video, clips[at : at + share], way.threads) for at in range(0, len(clips), share)]
    started = time.perf_counter()
    cpu = sum(pool.map(_work, tasks, chunksize=1))
    return Spent(way, time.perf_counter() - started, cpu)


def _work(task: tuple[Path, Sequence[tuple[int, int]], int]) -> float:
    """Return the CPU seconds for some clips of a video."""
    video, clips, threads = task
    before = resource.getrusage(resource.RUSAGE_SELF)
    with open_media(video) as media:
        base = media.index.time_base
        spans = [Span(ticks(start, base), ticks(stop, base)) for start, stop in clips]
        for _ in extract_spans(media, spans, [_SIGNATURE], decoder=PyavDecoder(threads)):
            pass
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
