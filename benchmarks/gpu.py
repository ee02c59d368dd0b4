"""`python -m benchmarks.gpu`: compare GPU and CPU decoding on one machine.

    throughput   clips of every codec, in worker processes on the CPU, or on the GPU
    latency      one clip at a time
    crossover    amount of work from which the GPU is faster, which `auto` uses

Tools that are not installed are reported and left out. This has not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Final

import av

from benchmarks.footage import CORPUS
from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.decoding.backends import open_decoder

FILES: Final = (
    "h264_720_g250.mp4",
    "h264_1080_g250.mp4",
    "hevc_720.mp4",
    "vp9_720.webm",
    "av1_720.mp4",
)
SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10)
"""Clip lengths to find the crossover with."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to decode clips."""

    name: str
    decoder: str
    pixels: str
    processes: int

    @property
    def signature(self) -> FrameExtractionSignature:
        """Two frames per second at 224x224."""
        return FrameExtractionSignature(
            target_fps=2,
            target_res=(224, 224),
            pixels=self.pixels,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one way."""

    clips_per_s: float
    frames_per_s: float
    decoder_percent: float
    """Average utilisation of the GPU's decoders, from its driver; -1 if unknown."""


def main() -> None:
    """Measure, and print a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--decoders", nargs="+", default=["pyav", "nvdec", "nvdec-cuda"])
    parser.add_argument("--clips", type=int, default=64, help="Clips per file.")
    parser.add_argument("--sessions", type=int, default=4, help="Processes that share the GPU.")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not (CORPUS / "bench").is_dir():
        sys.exit(f"no videos in {CORPUS / 'bench'}; set FRAMES_CORPUS")
    for decoder in {name.partition("-")[0] for name in arguments.decoders}:
        open_decoder(decoder)  # raises an error with advice
    ways = [_way(name, arguments.sessions) for name in arguments.decoders]
    print("\n".join(_head()))
    print("\n## Throughput\n")
    for line in _throughput(ways, arguments.clips, arguments.rounds):
        print(line, flush=True)
    print("\n## Latency of one 10-second clip, ms\n")
    for line in _latency(ways, arguments.rounds):
        print(line, flush=True)
    print("\n## Crossover: milliseconds by length of the clip\n")
    for line in _crossover(ways, arguments.rounds):
        print(line, flush=True)
    print("\n## Peers, one process, clips per second\n")
    for line in _peers(arguments.clips):
        print(line, flush=True)


def _way(name: str, sessions: int) -> Way:
    decoder, _, pixels = name.partition("-")
    cores = len(os.sched_getaffinity(0))
    processes = cores if decoder == "pyav" else sessions
    return Way(f"{name}, {processes} processes", decoder, pixels or "swscale", processes)


def _head() -> Iterator[str]:
    yield "# The GPU's decoder against the CPU's\n"
    cores = len(os.sched_getaffinity(0))
    yield f"- Machine: {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    yield f"- PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
    yield f"- GPU: {_ask_driver('name,driver_version') or 'none'}"


def _throughput(ways: Sequence[Way], clips: int, rounds: int) -> Iterator[str]:
    yield "| file | way | clips/s | frames/s | decoders busy |"
    yield "|---|---|---:|---:|---:|"
    for file in FILES:
        path = CORPUS / "bench" / file
        for way in ways:
            figures = _spread(way, path, clips, rounds)
            busy = f"{figures.decoder_percent:.0f} %" if figures.decoder_percent >= 0 else "-"
            yield (
                f"| {file} | {way.name} | {figures.clips_per_s:.1f} "
                f"| {figures.frames_per_s:.0f} | {busy} |"
            )


def _spread(way: Way, path: Path, clips: int, rounds: int) -> Figures:
    """Measure clips in worker processes that have decoded one before."""
    with ProcessPoolExecutor(way.processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(_extract, [(path, way)] * 4 * way.processes))
        taken, frames, busy = [], 0, []
        for _ in range(rounds):
            with _watching() as percents:
                since = time.perf_counter()
                frames = sum(pool.map(_extract, [(path, way)] * clips))
                taken.append(time.perf_counter() - since)
            busy += percents
    seconds = median(taken)
    return Figures(clips / seconds, frames / seconds, mean(busy) if busy else -1)


def _extract(task: tuple[Path, Way]) -> int:
    path, way = task
    return len(extract_frames(path, [way.signature], decoder=way.decoder)[way.signature])


def _latency(ways: Sequence[Way], rounds: int) -> Iterator[str]:
    yield f"| file | {' | '.join(way.decoder + ' ' + way.pixels for way in ways)} |"
    yield f"|---|{'---:|' * len(ways)}"
    for file in FILES:
        cells = [f"{1e3 * _timed(way, CORPUS / 'bench' / file, 10, rounds):.1f}" for way in ways]
        yield f"| {file} | {' | '.join(cells)} |"


def _crossover(ways: Sequence[Way], rounds: int) -> Iterator[str]:
    yield f"| file | s | megapixels | {' | '.join(w.decoder + ' ' + w.pixels for w in ways)} |"
    yield f"|---|---:|---:|{'---:|' * len(ways)}"
    for file in FILES:
        path = CORPUS / "bench" / file
        index = probe(path)
        for seconds in SECONDS:
            cells = [f"{1e3 * _timed(way, path, seconds, rounds):.1f}" for way in ways]
            work = seconds * float(index.average_rate) * index.width * index.height / 1e6
            yield f"| {file} | {seconds:g} | {work:.0f} | {' | '.join(cells)} |"


def _timed(way: Way, path: Path, seconds: float, rounds: int) -> float:
    """Return the median seconds to decode the start of a video in this process."""
    taken = []
    for _ in range(rounds + 1):
        since = time.perf_counter()
        extract_frames(path, [way.signature], end=seconds, decoder=way.decoder)
        taken.append(time.perf_counter() - since)
    return median(taken[1:])


def _peers(clips: int) -> Iterator[str]:
    yield f"| file | {' | '.join(PEERS)} |"
    yield f"|---|{'---:|' * len(PEERS)}"
    for file in FILES:
        path = CORPUS / "bench" / file
        cells = []
        for peer in PEERS.values():
            try:
                peer(path)
                since = time.perf_counter()
                for _ in range(clips // 4):
                    peer(path)
                cells.append(f"{clips // 4 / (time.perf_counter() - since):.1f}")
            except ImportError:
                cells.append("missing")
            except Exception as error:
                cells.append(f"failed: {type(error).__name__}")
        yield f"| {file} | {' | '.join(cells)} |"


def _torchcodec(path: Path) -> None:
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415

    decoder = VideoDecoder(str(path), device="cuda", seek_mode="approximate")
    decoder.get_frames_played_at([0.01 + number / 2 for number in range(20)])


def _pynvvideocodec(path: Path) -> None:
    import PyNvVideoCodec  # type: ignore[import-not-found]  # noqa: PLC0415

    decoder = PyNvVideoCodec.SimpleDecoder(str(path), gpu_id=0, use_device_memory=True)
    decoder.get_batch_frames_by_index(list(range(0, len(decoder), len(decoder) // 20)))


PEERS: Final[dict[str, Callable[[Path], None]]] = {
    "torchcodec CUDA": _torchcodec,
    "PyNvVideoCodec": _pynvvideocodec,
}


@contextmanager
def _watching() -> Iterator[list[float]]:
    """Collect the utilisation of the GPU's decoders several times a second."""
    percents: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            if found := _ask_driver("utilization.decoder"):
                percents.append(float(found.split()[0]))

    thread = threading.Thread(target=watch)
    if shutil.which("nvidia-smi"):
        thread.start()
    try:
        yield percents
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()


def _ask_driver(query: str) -> str:
    """Return a value of `nvidia-smi` for the first GPU; empty if there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
