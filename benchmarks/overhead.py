"""`python -m benchmarks.overhead`: costs of everything but decoding: start, and runs without work.

- Start: CPU seconds of a process that imports Dagster, of one that also loads a project with one
  asset, and of one that loads this code location with all definitions; medians, in turns.
- Nothing to do: a batch of many clips is materialized twice. Seconds of each step of the second
  run, from its start to its success, including Dagster's share.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import dagster as dg

from benchmarks.footage import footage
from dagster_defs import FramesComponent
from dagster_defs.attributes import Definition, Signature, Stride
from frames_pipeline.pipeline import Workspace, discover
from frames_pipeline.sources.batches import Batching

_STARTS: Final = {
    "import dagster": "import dagster",
    "a project with one asset": """
import dagster as dg
@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="batch"))
def one(): ...
dg.Definitions(assets=[one]).get_repository_def()
""",
    "this code location": """
from dagster_defs.definitions import defs
defs().get_repository_def()
""",
}
_LOOPS: Final = 5
_CLIPS_PER_VIDEO: Final = 50


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clips", type=int, default=1000)
    arguments = parser.parse_args()
    _start(arguments.rounds)
    with tempfile.TemporaryDirectory() as folder, dg.instance_for_test() as instance:
        _nothing_to_do(Path(folder), instance, arguments.clips)


def _start(rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in _STARTS}
    for _ in range(rounds):
        for name, code in _STARTS.items():
            seconds[name].append(_cpu_seconds(code))
    base = statistics.median(seconds["import dagster"])
    print("| process | CPU, s | of importing Dagster |\n|---|---:|---:|")
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"| {name} | {median:.2f} | {median / base:.2f} |")


def _cpu_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _nothing_to_do(folder: Path, instance: dg.DagsterInstance, clips: int) -> None:
    source, root = folder / "videos", folder / "root"
    source.mkdir()
    video = footage("h264_720_g30.mp4", loops=_LOOPS, cache=folder / "footage")
    for number in range(clips // _CLIPS_PER_VIDEO):
        shutil.copy(video, source / f"{number}.mp4")
    batching = Batching(batch_size=clips, max_wait_s=0)
    (batch,) = discover(Workspace.at(str(source), str(root)), batching, now=time.time() + 1).sealed
    instance.add_dynamic_partitions("video_batch", [batch.key])
    job = (
        FramesComponent(
            source=str(source),
            root=str(root),
            clipping=Stride(
                kind="fixed_stride", clip_len_s=1, clip_stride_s=1, min_clip_length_s=1
            ),
            signatures={
                "embeddings": Signature(target_fps=2, target_res=[224, 224]),
                "aesthetics": Signature(target_fps=1, target_res=[360, -1]),
            },
            embeddings={"default": Definition(signature="embeddings", provider="perceptual")},
            quality={"default": Definition(signature="aesthetics", provider="technical")},
        )
        .definitions()
        .resolve_job_def("process_batch")
    )
    for _ in range(2):
        cpu = time.process_time()
        result = job.execute_in_process(partition_key=batch.key, instance=instance)
        cpu = time.process_time() - cpu
    print(f"\n{clips} clips, {cpu:.2f} s CPU for the run that finds nothing to do:\n")
    print("| step | seconds |\n|---|---:|")
    since: dict[str, float] = {}
    total: dict[str, float] = {}
    for record in instance.all_logs(result.run_id):
        step = record.step_key or ""
        event = record.get_dagster_event().event_type if record.is_dagster_event else None
        if event == dg.DagsterEventType.STEP_START:
            since[step] = record.timestamp
        elif event == dg.DagsterEventType.STEP_SUCCESS:
            total[step] = record.timestamp - since[step]
    for step, seconds in total.items():
        print(f"| {step} | {seconds:.2f} |")
    print(f"| all | {sum(total.values()):.2f} |")


if __name__ == "__main__":
    main()
