"""`python -m benchmarks.batch`: costs of a batch besides decoding, and the gain of a second worker.

Videos have `--loops` clips of ten seconds, from one video of the corpus; two frames per second,
224x224. Each figure comes from its own process, in turn. CPU time includes all child processes.

- decode: decode every clip and discard its frames.
- decode and store: store them, too.
- batch: `cut_clips` and `extract_batch`, with worker processes.
- run: Dagster's job, from videos to the catalog, with the checks and the start of its process,
  which imports Dagster and loads the definitions. With one worker, the difference to decoding and
  storing is its own cost; two workers that share caches take longer for the same decoding.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing.forkserver
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.footage import footage
from frames_pipeline import FrameExtractionSignature, FrameStore, PyavDecoder
from frames_pipeline.clipping import FixedStride
from frames_pipeline.clips import Clip
from frames_pipeline.container.media import open_media
from frames_pipeline.extract import extract_spans
from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.workers.local import Workers

_SIGNATURE = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
_CLIPPING = FixedStride(10, 10, 0)
_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def main() -> None:
    """Print a table, and the two figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--video", default="h264_1080_g250.mp4", help="Video of the corpus.")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--loops", type=int, default=8, help="Clips per video.")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--at", type=Path, help="Working folder; by default a temporary one.")
    parser.add_argument("--one", choices=list(_WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_spent(_WAYS[arguments.one], arguments.at)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.at) as folder:
        here = Path(folder)
        _fill(here / "videos", arguments, cache=here / "footage")
        for _ in range(arguments.rounds):
            for way in _WAYS:
                found.setdefault(way, []).append(_measured(way, here))
    _report(found)


def _measured(way: str, folder: Path) -> dict[str, float]:
    shutil.rmtree(folder / "root", ignore_errors=True)
    shutil.rmtree(folder / "home", ignore_errors=True)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.batch", "--one", way]
    command += ["--at", str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def _report(found: dict[str, list[dict[str, float]]]) -> None:
    figures = {
        way: {name: median(one[name] for one in runs) for name in runs[0]}
        for way, runs in found.items()
    }
    print("| way | before the work, CPU s | CPU, s | of it in the parent, s | wall, s |")
    print("|---|---:|---:|---:|---:|")
    for way, one in figures.items():
        print(f"| {way} | ", end="")
        print(*(f"{one[name]:.1f}" for name in ("start", "cpu", "parent", "wall")), "", sep=" | ")
    for way in ("run, 1 worker", "run, 2 workers"):
        for label, start in ((way, 0), (f"{way}, with its process's start", 1)):
            beside = [
                run["cpu"] + start * run["start"] - stored["cpu"]
                for run, stored in zip(found[way], found["decode and store"], strict=True)
            ]
            share = [one / plain["cpu"] for one, plain in zip(beside, found["decode"], strict=True)]
            print(f"{label}: beside decode and store {median(beside):.1f} s, ", end="")
            print(f"{median(share):.1%} of decode")
    single, double = (figures[f"batch, {workers}"] for workers in ("1 worker", "2 workers"))
    paths = [one["parent"] + one["sent"] for one in (single, double)]
    print(
        f"CPU of the longest path: {paths[0]:.1f} s and {paths[1]:.1f} s with two workers, ", end=""
    )
    print(f"{paths[0] / paths[1]:.2f} times; wall {single['wall'] / double['wall']:.2f} times")
    print(f"event log: {figures['run, 1 worker']['sent'] / 1000:,.0f} kB; load {os.getloadavg()}")


def _spent(prepare: Callable[[Path], Callable[[], float]], folder: Path) -> dict[str, float]:
    """Return CPU and wall seconds, without and with the start of the process."""
    work = prepare(folder)
    start = _cpu()
    since, cpu, own = time.perf_counter(), _cpu(), time.process_time()
    bytes_sent = work()
    wall, parent = time.perf_counter() - since, time.process_time() - own
    multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined] # counts its children
    cpu = _cpu() - cpu
    return {"cpu": cpu, "wall": wall, "start": start, "parent": parent, "sent": bytes_sent}


def _cpu() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _fill(folder: Path, arguments: argparse.Namespace, *, cache: Path) -> None:
    """Write videos that differ in a byte after their end."""
    folder.mkdir()
    video = footage(arguments.video, loops=arguments.loops, cache=cache).read_bytes()
    for number in range(-(-arguments.clips // arguments.loops)):
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        (folder / f"{number:03d}.mp4").write_bytes(video + box)


def _decode(folder: Path, store: FrameStore | None = None) -> float:
    for path in sorted((folder / "videos").iterdir()):
        with open_media(path) as media:
            clips: list[Clip] = list(_CLIPPING.cut(media, path.name))
            spans = [clip.span for clip in clips]
            for number, frames in extract_spans(media, spans, [_SIGNATURE], decoder=PyavDecoder()):
                assert isinstance(frames, dict), frames
                if store is not None:
                    store.write_clip("b", clips[number], frames)
    return 0


def _decode_and_store(folder: Path) -> float:
    return _decode(folder, FrameStore(folder / "root"))


def _batch(folder: Path, processes: int) -> float:
    """Run the batch; return the CPU time of the busiest worker."""
    workspace = Workspace.at(str(folder / "videos"), str(folder / "root"))
    batch, workers = _sealed(workspace), Workers(processes)
    cut_clips(batch, workspace, _CLIPPING, workers=workers)
    longest = 0.0

    def look(done: int, total: int) -> None:
        nonlocal longest
        longest = max(longest, *map(_cpu_of, _workers()))

    report = extract_batch(batch, [_SIGNATURE], workspace, workers=workers, progress=look)[
        _SIGNATURE
    ]
    assert report.extracted == len(report.manifest.clips)
    return longest


def _workers() -> list[int]:
    """Return the child processes of the fork server."""
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    children = Path(f"/proc/{server}/task/{server}/children").read_text()
    return [int(child) for child in children.split()]


def _cpu_of(process: int) -> float:
    """Return the CPU seconds of a process, as counted by the kernel."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sealed(workspace: Workspace) -> Batch:
    (batch,) = discover(workspace, Batching(1000, max_wait_s=0), now=time.time() + 9).sealed
    return batch


def _run(folder: Path, processes: int) -> Callable[[], float]:
    """Return a function that runs the job and returns the bytes of its events."""
    import dagster as dg  # noqa: PLC0415 - the others have no need of it

    from dagster_defs import FramesComponent  # noqa: PLC0415
    from dagster_defs.attributes import Signature, Stride  # noqa: PLC0415

    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    os.environ["DAGSTER_HOME"] = str(home)
    job = (
        FramesComponent(
            source=str(folder / "videos"),
            root=str(folder / "root"),
            clipping=Stride(kind="fixed_stride", clip_len_s=10, clip_stride_s=10),
            signatures={"embeddings": Signature(target_fps=2, target_res=[224, 224])},
            extraction={"processes": processes},
        )
        .definitions()
        .resolve_job_def("process_batch")
    )

    with dg.DagsterInstance.get() as instance:
        instance.get_dynamic_partitions(
            "video_batch"
        )  # creates the tables, which happens once per instance

    def work() -> float:
        batch = _sealed(Workspace.at(str(folder / "videos"), str(folder / "root")))
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("video_batch", [batch.key])
            result = job.execute_in_process(
                partition_key=batch.key, instance=instance, run_config=_QUIET
            )
            assert result.success
        return sum(map(_logged, home.rglob("*.db")))

    return work


def _logged(path: Path) -> int:
    """Return the bytes of events in a database."""
    with sqlite3.connect(path) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if "event_logs" not in tables:
            return 0
        (found,) = database.execute("SELECT sum(length(event)) FROM event_logs").fetchone()
    return int(found or 0)


_WAYS: dict[str, Callable[[Path], Callable[[], float]]] = {
    "decode": lambda folder: partial(_decode, folder),
    "decode and store": lambda folder: partial(_decode_and_store, folder),
    "batch, 1 worker": lambda folder: partial(_batch, folder, 1),
    "batch, 2 workers": lambda folder: partial(_batch, folder, 2),
    "run, 1 worker": lambda folder: _run(folder, 1),
    "run, 2 workers": lambda folder: _run(folder, 2),
}

if __name__ == "__main__":
    main()
