"""`python -m benchmarks.readers`: cost per frame for training; see docs/measurements/readers.md.

All readers get the same clips and sizes: from the store, from WebDataset shards of JPEG, and
decoded on the fly by torchcodec. Every reader has its own process with one thread, and runs in turn
with the others. The samples are windows of frames as uint8 tensors, without a model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import zarr

from benchmarks.footage import CORPUS
from benchmarks.worker import cpu_seconds
from frames_pipeline import FrameExtractionSignature, FrameStore, extract_frames, open_frames
from frames_pipeline.export import Encoding, export_webdataset
from frames_pipeline.readers.datasets import Windows, iterable_dataset

_DOCS: Final = Path(__file__).parents[1] / "docs"
_BATCH: Final = "b"
_VIDEOS: Final = ("h264_720_g250.mp4", "h264_720_g30.mp4", "hevc_720.mp4", "vp9_720.webm")
_RATE: Final = 8
_QUALITY: Final = 90
_NEXT: Final = """\
## Where to go next

- [readers.md](../guides/readers.md): read frames in your training loop.
- [benchmarks.md](benchmarks.md): the cost of extracting the frames.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """The common input of all readers."""

    folder: Path
    size: int
    length: int

    @property
    def signature(self) -> FrameExtractionSignature:
        return FrameExtractionSignature(target_fps=_RATE, target_res=(self.size, self.size))

    def shards(self) -> list[str]:
        return sorted(map(str, (self.folder / f"webdataset-{self.size}").glob("*.tar")))


def _store(task: Task) -> Iterator[int]:
    import torch

    frames = open_frames(task.folder / "store", signature=task.signature)
    for sample in iterable_dataset(frames, Windows(task.length), seed=0):
        yield len(torch.from_numpy(sample["frames"]))


def _zarr(task: Task) -> Iterator[int]:
    """Read as any Zarr reader does: windows of the array, unchecked against the commit."""
    import torch

    frames = open_frames(task.folder / "store", signature=task.signature)
    for clip in frames:
        array: Any = zarr.open_group(frames[clip].url, mode="r")["frames"]
        for start in range(0, array.shape[0] - task.length + 1, task.length):
            yield len(torch.from_numpy(array[start : start + task.length]))


def _webdataset(task: Task) -> Iterator[int]:
    """Read clips as samples; Pillow decodes the pictures, as is webdataset's default."""
    import torch
    import webdataset  # noqa: PLC0415

    dataset = webdataset.WebDataset(task.shards(), shardshuffle=False).decode("rgb8")
    for sample in dataset:
        names = sorted(name for name in sample if name.endswith(".jpg"))
        for start in range(0, len(names) - task.length + 1, task.length):
            window = [sample[name] for name in names[start : start + task.length]]
            yield len(torch.from_numpy(np.stack(window)))


def _torchcodec(task: Task) -> Iterator[int]:
    """Read windows in order from one decoder per video: torchcodec's best case."""
    import torch
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415
    from torchcodec.transforms import Resize  # noqa: PLC0415

    torch.set_num_threads(1)
    frames = open_frames(task.folder / "store", signature=task.signature)
    for clip in frames:
        stored = frames[clip]
        times = [float(Fraction(int(pts)) * stored.time_base) + 1e-4 for pts in stored.pts]
        decoder = VideoDecoder(
            str(CORPUS / "bench" / clip),
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            seek_mode="approximate",
            transforms=[Resize((task.size, task.size))],
        )
        for start in range(0, len(times) - task.length + 1, task.length):
            yield len(decoder.get_frames_played_at(times[start : start + task.length]).data)


READERS: Final[dict[str, Callable[[Task], Iterator[int]]]] = {
    "frames-pipeline": _store,
    "zarr alone": _zarr,
    "WebDataset JPEG": _webdataset,
    "torchcodec": _torchcodec,
}


def prepare(task: Task) -> tuple[int, int]:
    """Fill the store and the shards; return the bytes of each."""
    store = FrameStore(task.folder / "store", durable=False)
    for video in _VIDEOS:
        frames = extract_frames(CORPUS / "bench" / video, [task.signature])
        store.write_clip(_BATCH, video, frames)
    manifest = store.commit_batch(_BATCH, task.signature)
    exported = export_webdataset(
        open_frames(task.folder / "store", signature=task.signature),
        task.folder / f"webdataset-{task.size}",
        encoding=Encoding("jpeg", quality=_QUALITY),
        sample="clip",
    )
    return sum(commit.bytes for commit in manifest.clips.values()), exported.bytes


def _serve(connection: Connection[Any, Any], name: str, task: Task) -> None:
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        wall, cpu = time.perf_counter(), cpu_seconds()
        frames = sum(READERS[name](task))
        connection.send((frames, cpu_seconds() - cpu, time.perf_counter() - wall))


def measure(task: Task, rounds: int) -> dict[str, list[tuple[int, float, float]]]:
    """Return (frames, CPU seconds, wall seconds) of every round but the first, by reader."""
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection[Any, Any]] = {}
    for name in READERS:
        ends[name], theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs, name, task), daemon=True).start()
        theirs.close()
    runs: dict[str, list[tuple[int, float, float]]] = {name: [] for name in READERS}
    for number in range(rounds + 1):
        names = list(READERS)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            ends[name].send(None)
            runs[name].append(ends[name].recv())
            print(f"{task.size}: {number}/{rounds} {name}", file=sys.stderr, flush=True)
    return {name: found[1:] for name, found in runs.items()}


def report(task: Task, rounds: int) -> str:
    """Return a table of one size."""
    stored, exported = prepare(task)
    runs = measure(task, rounds)
    [count] = {frames for found in runs.values() for frames, _, _ in found}
    ours = [cpu for _, cpu, _ in runs["frames-pipeline"]]
    lines = [
        f"## {task.size} x {task.size}, windows of {task.length}",
        "",
        f"{count} frames an epoch. On disk: store {stored / 1e6:.1f} MB, "
        f"WebDataset JPEG {exported / 1e6:.1f} MB.",
        "",
        "| reader | CPU, µs a frame | frames per CPU second | frames per second | CPU / ours |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in runs.items():
        cpu = median(cpu for _, cpu, _ in found)
        wall = median(wall for _, _, wall in found)
        times = median(theirs / mine for (_, theirs, _), mine in zip(found, ours, strict=True))
        lines.append(
            f"| {name} | {1e6 * cpu / count:.0f} | {count / cpu:.0f} | {count / wall:.0f} "
            f"| {times:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="Measured runs per reader.")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="Folder for the report.")
    arguments = parser.parse_args()
    tools = ("torch", "torchcodec", "webdataset", "zarr", "pillow")
    today = datetime.now(UTC).date()
    head = f"""\
# Reading for training: benchmark

How much does a frame cost your training loop if you read it from the store, from WebDataset shards,
or decode it on the fly?

`python -m benchmarks.readers --rounds {arguments.rounds}` made this page on {today}.
The next run replaces it, so edit `benchmarks/readers.py` instead.

- Machine: {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}
- Versions: {", ".join(f"{tool} {version(tool)}" for tool in tools)}
- {len(_VIDEOS)} videos of ten seconds at 720p, {_RATE} frames per second:
  {", ".join(_VIDEOS)}.
- Each reader runs in a process of its own without workers, in turn with the others. Files are in
  the page cache. Figures are medians over the rounds; the ratio is the median of the ratios within
  a round.
- `frames-pipeline` is `iterable_dataset`: it hashes every object and compares it with its commit.
  `zarr alone` reads the same windows with `zarr.open_group`, without comparing them.
- JPEG has quality {_QUALITY}, 4:2:0, so its pixels differ from those of the store. torchcodec reads
  windows in order from one decoder per video. This is its best case: in random order it would seek
  for each window.
"""
    sections = []
    for size in (224, 448):
        with tempfile.TemporaryDirectory() as folder:
            sections.append(report(Task(Path(folder), size, 8), arguments.rounds))
    page = "\n\n".join([head.rstrip(), *sections, _NEXT])
    (arguments.docs / "measurements" / "readers.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
