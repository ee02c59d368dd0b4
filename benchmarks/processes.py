"""`python -m benchmarks.processes`: cost of worker processes against threads.

Sixty clips of ten seconds are extracted and stored, in turn by worker processes with limits and by
as many threads of one process without limits, each time in a new interpreter. CPU seconds count
every process. On a machine with other work they are a better measure than wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.footage import footage
from frames_pipeline import FrameExtractionSignature, FramesPipelineError
from frames_pipeline.clipping import FixedStride
from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
from frames_pipeline.sources.batches import Batching
from frames_pipeline.workers.local import Workers

T = TypeVar("T")
R = TypeVar("R")

_VIDEOS: Final = ("h264_720_g250.mp4", "h264_720_g30.mp4", "h264_1080_g250.mp4", "hevc_720.mp4")
_COPIES: Final = 3
_LOOPS: Final = 5
_EMPTY_BOX: Final = b"\0\0\0\x08free"
_SIGNATURES: Final = (
    FrameExtractionSignature(target_fps=1),
    FrameExtractionSignature(target_fps=2, target_res=(224, 224)),
)


@dataclass(frozen=True, slots=True)
class Threads(Workers):
    """Threads instead of processes, without limits or kills."""

    def map(
        self,
        work: Callable[[T], R],
        tasks: Iterable[T],
        *,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        with ThreadPoolExecutor(self.count) as pool:
            futures = {pool.submit(work, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()


_KINDS: Final = {"threads": Threads, "workers": Workers}


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of one extraction."""

    wall_s: float
    cpu_s: float
    clips: int


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.one:
        print(json.dumps(asdict(_extract(arguments.one, arguments.folder, arguments.processes))))
        return
    with tempfile.TemporaryDirectory(prefix="frames-processes-") as name:
        folder = Path(name)
        _prepare(folder, arguments.cache)
        costs: dict[str, list[Cost]] = {kind: [] for kind in _KINDS}
        for number in range(arguments.rounds):
            for kind in list(_KINDS)[:: -1 if number % 2 else 1]:
                costs[kind].append(_in_fresh_interpreter(kind, folder, arguments.processes))
                print(kind, costs[kind][-1], file=sys.stderr, flush=True)
    _report(costs)


def _report(costs: dict[str, list[Cost]]) -> None:
    clips = costs["workers"][0].clips
    print(f"{clips} clips of 10 s; median of {len(costs['workers'])} rounds, fastest in brackets")
    for name in ("wall_s", "cpu_s"):
        taken = {kind: [getattr(cost, name) for cost in costs[kind]] for kind in _KINDS}
        middle = {kind: statistics.median(seconds) for kind, seconds in taken.items()}
        least = {kind: min(seconds) for kind, seconds in taken.items()}
        shown = ", ".join(f"{kind} {middle[kind]:.2f} ({least[kind]:.2f})" for kind in _KINDS)
        ratio, best = (each["workers"] / each["threads"] for each in (middle, least))
        print(f"{name}: {shown}; workers / threads {ratio:.3f} ({best:.3f})")


def _prepare(folder: Path, cache: Path) -> None:
    """Make a sealed batch, cut into clips of ten seconds."""
    (folder / "videos").mkdir()
    for name in _VIDEOS:
        made = footage(name, loops=_LOOPS, cache=cache)
        for copy in range(_COPIES):
            data = made.read_bytes() + copy * _EMPTY_BOX  # equal bytes are decoded once
            (folder / "videos" / f"{copy}-{made.name}").write_bytes(data)
    workspace = _workspace(folder)
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=time.time() + 1).sealed
    cut_clips(batch, workspace, FixedStride(10, 10, 5))


def _extract(kind: str, folder: Path, processes: int) -> Cost:
    workspace = _workspace(folder)
    (batch,) = workspace.batches.keys()
    since = time.monotonic(), _cpu_seconds()
    reports = extract_batch(batch, _SIGNATURES, workspace, workers=_KINDS[kind](processes))
    wall_s, cpu_s = time.monotonic() - since[0], _cpu_seconds() - since[1]
    (clips,) = {report.extracted for report in reports.values()}
    return Cost(wall_s, cpu_s, clips)


def _in_fresh_interpreter(kind: str, folder: Path, processes: int) -> Cost:
    shutil.rmtree(folder / "root" / "frames", ignore_errors=True)
    shutil.rmtree(folder / "root" / "tables" / "outcomes", ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.processes", "--one", kind]
    command += ["--folder", str(folder), "--processes", str(processes)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Cost(**json.loads(result.stdout))


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process, its children, and their ended children."""
    pids = [os.getpid()]
    for thread in Path("/proc/self/task").iterdir():
        pids += map(int, (thread / "children").read_text().split())
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _workspace(folder: Path) -> Workspace:
    return Workspace.at(str(folder / "videos"), str(folder / "root"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="Runs of each kind.")
    parser.add_argument("--processes", type=int, default=2, help="Number of workers or threads.")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "frames-bench")
    parser.add_argument("--one", choices=_KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
