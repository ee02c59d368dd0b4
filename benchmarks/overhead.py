"""`python -m benchmarks.overhead`: cost of a run that has nothing to do.

A batch of many clips is materialized twice. Seconds count each step of the second run, from its
start to its success, with Dagster's share.
"""

from __future__ import annotations

import argparse
import shutil
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

_LOOPS: Final = 5
_CLIPS_PER_VIDEO: Final = 50


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder, dg.instance_for_test() as instance:
        source, root = Path(folder, "videos"), Path(folder, "root")
        batch = _sealed(source, root, clips, cache=Path(folder, "footage"))
        instance.add_dynamic_partitions("video_batch", [batch])
        job = _definitions(source, root).resolve_job_def("process_batch")
        job.execute_in_process(partition_key=batch, instance=instance)
        since = time.process_time()
        again = job.execute_in_process(partition_key=batch, instance=instance)
        cpu = time.process_time() - since
        seconds = _step_seconds(instance, again.run_id)
    print(f"{clips} clips, {cpu:.2f} s CPU for the run that has nothing to do:\n")
    print("| step | seconds |\n|---|---:|")
    for step, taken in [*seconds.items(), ("all", sum(seconds.values()))]:
        print(f"| {step} | {taken:.2f} |")


def _sealed(source: Path, root: Path, clips: int, *, cache: Path) -> str:
    """Make videos of `_CLIPS_PER_VIDEO` seconds, and seal them into a batch; return its key."""
    source.mkdir()
    video = footage("h264_720_g30.mp4", loops=_LOOPS, cache=cache)
    for number in range(clips // _CLIPS_PER_VIDEO):
        shutil.copy(video, source / f"{number}.mp4")
    batching = Batching(batch_size=clips, max_wait_s=0)
    (batch,) = discover(Workspace.at(str(source), str(root)), batching, now=time.time() + 1).sealed
    return batch.key


def _definitions(source: Path, root: Path) -> dg.Definitions:
    return FramesComponent(
        source=str(source),
        root=str(root),
        clipping=Stride(kind="fixed_stride", clip_len_s=1, clip_stride_s=1, min_clip_length_s=1),
        signatures={
            "embeddings": Signature(target_fps=2, target_res=[224, 224]),
            "aesthetics": Signature(target_fps=1, target_res=[360, -1]),
        },
        embeddings={"default": Definition(signature="embeddings", provider="perceptual")},
        quality={"default": Definition(signature="aesthetics", provider="technical")},
    ).definitions()


def _step_seconds(instance: dg.DagsterInstance, run: str) -> dict[str, float]:
    """Return the seconds of each step of a run, from its start to its success."""
    since: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for record in instance.all_logs(run):
        step = record.step_key or ""
        event = record.get_dagster_event().event_type if record.is_dagster_event else None
        if event == dg.DagsterEventType.STEP_START:
            since[step] = record.timestamp
        elif event == dg.DagsterEventType.STEP_SUCCESS:
            seconds[step] = record.timestamp - since[step]
    return seconds


if __name__ == "__main__":
    main()
