"""`python -m benchmarks.simulate`: cost of each step per video, at any number of videos.

Everything is real except three things: videos have six frames and differ in a few bytes, tasks run
in this process instead of a pool, and local files are not synced. The decoding time of real clips
is measured on the corpus once, drawn at random for every clip, and added instead of spent.

Above `--clips`, videos are listed, sealed and registered, but not extracted. Other work on the
machine changes its speed by half. So each size is compared with chains of `_SMALL` videos, run in
turn with it in the same process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import av
import dagster as dg
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.footage import footage
from benchmarks.in_process import InProcess
from benchmarks.plot import write_curves
from frames_pipeline import FrameExtractionSignature, FrameStore, extract_frames, open_frames
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.pipeline import (
    Workspace,
    catalog_batch,
    cut_clips,
    discover,
    embed_batch,
    extract_batch,
    observe_videos,
    uses_of_video,
)
from frames_pipeline.sources.batches import Batching, BatchRegistry
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.tables import FrameTables

T = TypeVar("T")
R = TypeVar("R")

_FOLDER: Final = 1000
"""Videos per folder."""
_SIGNATURE: Final = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
_REAL: Final = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
_CORPUS: Final = (
    "av1_720.mp4", "h264_1080_g250.mp4", "h264_720_g12.mp4", "h264_720_g250.mp4",
    "h264_720_g30.mp4", "h264_720_nobf_g60.mp4", "hevc_720.mp4", "vp9_720.webm",
)  # fmt: skip
_SMALL: Final = 100
"""Videos of a chain to compare with."""
_BESIDE: Final = 16
"""Number of such chains per size."""
_BATCHING: Final = Batching(batch_size=32, max_wait_s=0)
PER_CLIP: Final = (
    "list and seal", "look again", "partitions", "observe", "cut", "extract and store", "embed",
    "catalog", "nothing to do", "verify", "collect garbage", "open all", "query catalog",
)  # fmt: skip
"""Steps, in order."""


@dataclass
class Spent:
    """Costs of one size."""

    videos: int
    clips: int
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds by step."""
    beside: dict[str, float] = field(default_factory=dict)
    """CPU seconds by step of a chain of `_SMALL` videos: the mean of the chains run in turn."""
    decode: float = 0.0
    """CPU seconds to decode real clips, drawn at random."""
    wall: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds of single calls, by name."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Bytes and counts."""

    def per_clip(self, *steps: str) -> float:
        """Return the CPU milliseconds per video."""
        return 1000 * sum(self.seconds[step] for step in steps) / self.videos

    def ratio(self, *steps: str) -> float:
        """Return the CPU time per video relative to that with few videos."""
        small = 1000 * sum(self.beside[step] for step in steps) / _SMALL
        return self.per_clip(*steps) / small


@dataclass
class Clock:
    """Adds up CPU time by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def of(self, step: str) -> Iterator[None]:
        since = time.process_time()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - since


def main() -> None:
    """Print the tables, and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--videos", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument(
        "--clips", type=int, default=100_000, help="Maximum number of clips to extract."
    )
    parser.add_argument("--at", type=Path, help="Working folder; by default a temporary one.")
    parser.add_argument("--into", type=Path, help="Folder to keep figures in, a file per size.")
    parser.add_argument("--plot", type=Path, help="SVG file for the curves.")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        (videos,) = arguments.videos
        with tempfile.TemporaryDirectory(dir=arguments.at) as folder:
            spent = simulate(videos, Path(folder), extracts=videos <= arguments.clips)
        print(json.dumps(dataclasses.asdict(spent)))
        return
    found = [_kept(videos, arguments) for videos in arguments.videos]
    print("\n".join(tables(found)))
    if arguments.plot:
        extracted = [one for one in found if one.clips]
        curves = {
            step: [(_SMALL, 1000 * extracted[-1].beside[step] / _SMALL)]
            + [(one.videos, one.per_clip(step)) for one in found if step in one.seconds]
            for step in PER_CLIP
        }
        write_curves(curves, arguments.plot, "videos", "processor time per video, ms")


def _kept(videos: int, arguments: argparse.Namespace) -> Spent:
    """Return the figures of a size: stored ones, or new ones from a separate process."""
    kept = arguments.into / f"{videos}.json" if arguments.into else None
    if kept is not None and kept.exists():
        return Spent(**json.loads(kept.read_text()))
    command = [sys.executable, "-m", "benchmarks.simulate", "--one", "--videos", str(videos)]
    command += ["--clips", str(arguments.clips)]
    command += ["--at", str(arguments.at)] if arguments.at else []
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(said)
    return Spent(**json.loads(said))


def simulate(videos: int, folder: Path, *, extracts: bool) -> Spent:
    """Run the chain on a number of videos, and small chains in turn with it."""
    _Chain(folder / "warm", _SMALL, Clock()).run(extracts=True)  # imports and first calls
    small, chain = Clock(), _Chain(folder / "large", videos, Clock())
    done = 0

    def beside(share: float) -> None:
        """Run small chains until this share of them is done."""
        nonlocal done
        while done < share * _BESIDE:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                _Chain(Path(place), _SMALL, small).run(extracts=True)
            done += 1

    chain.run(extracts=extracts, beside=beside)
    beside(1)
    return Spent(
        videos=videos,
        clips=videos if extracts else 0,
        seconds=chain.clock.seconds,
        beside={step: value / _BESIDE for step, value in small.seconds.items()},
        decode=_drawn(videos) if extracts else 0.0,
        wall=chain.wall,
        sizes=chain.sizes
        | {"memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024},
    )


class _Chain:
    """Some videos, and everything made from them."""

    def __init__(self, folder: Path, videos: int, clock: Clock) -> None:
        self.videos, self.clock = videos, clock
        self.source, self.root = folder / "videos", folder / "root"
        self.wall: dict[str, float] = {}
        self.sizes: dict[str, float] = {}
        write_videos(self.source, videos)
        self.workspace = self.opened()

    def opened(self) -> Workspace:
        """Return the workspace as a new process opens it."""
        root = str(self.root)
        return Workspace(
            VideoSource(str(self.source)),
            FrameStore(root, durable=False),
            FrameTables(root),
            BatchRegistry(root),
        )

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        since = time.perf_counter()
        with self.clock.of(name):
            yield
        self.wall[name] = time.perf_counter() - since

    def run(self, *, extracts: bool, beside: Callable[[float], None] = lambda _: None) -> None:
        """Run every step, and call `beside` with the share done."""
        later = time.time() + 10
        with self.step("list and seal"):
            sealed = discover(self.workspace, _BATCHING, now=later).sealed
        with self.step("look again"):
            assert not discover(self.opened(), _BATCHING, now=later).sealed
        with dg.instance_for_test() as instance, self.step("partitions"):
            instance.add_dynamic_partitions("video_batch", [batch.key for batch in sealed])
            assert len(instance.get_dynamic_partitions("video_batch")) == len(sealed)
        self.sizes["batches"] = len(sealed)
        if extracts:
            self.extract([batch.key for batch in sealed], beside)

    def extract(self, batches: list[str], beside: Callable[[float], None]) -> None:
        workspace, clock = self.workspace, self.clock
        provider, workers = open_embedding_provider("perceptual"), InProcess()
        for number, key in enumerate(batches):
            beside(number / len(batches))
            batch = workspace.batches.read(key)
            with clock.of("observe"):
                observe_videos(batch, workspace)
            with clock.of("cut"):
                cut_clips(batch, workspace, WholeVideo(), workers=workers)
            with clock.of("extract and store"):
                report = extract_batch(batch, [_SIGNATURE], workspace, workers=workers)[_SIGNATURE]
            assert report.extracted == len(batch.videos)
            with clock.of("embed"):
                embed_batch(key, _SIGNATURE, workspace, provider)
            with clock.of("catalog"):
                catalog_batch(key, {"embeddings": _SIGNATURE}, workspace)
            with clock.of("nothing to do"):
                again = extract_batch(batch, [_SIGNATURE], workspace, workers=workers)[_SIGNATURE]
            assert not again.extracted
            with clock.of("verify"):
                assert workspace.store.verify(key).ok
        with self.step("collect garbage"):
            assert not self.opened().store.collect_garbage(grace_seconds=0).objects
        with self.step("open all"):
            assert len(open_frames(self.root, signature=_SIGNATURE)) == self.videos
        self._query(len(batches))
        self._measure()

    def _query(self, batches: int) -> None:
        tables = f"{self.root}/tables/catalog/*/*.parquet"
        query = f"SELECT status, count(*), sum(list_sum(frame_counts)) FROM '{tables}' GROUP BY 1"
        _asked(f"SELECT count(*) FROM '{tables}'")
        with self.step("query catalog"):
            rows = _asked(query)
        assert rows[0][1] == self.videos
        last = f"{(self.videos - 1) // _FOLDER:06d}/{self.videos - 1:08d}.mp4"
        one = f"{self.root}/tables/catalog/batch-{batches:06d}/*.parquet"
        for name, place in {"all batches": tables, "its batch": one}.items():
            since = time.perf_counter()
            assert len(_asked(f"SELECT * FROM '{place}' WHERE video_key = '{last}'")) == 1
            self.wall[f"one clip, catalog of {name}"] = time.perf_counter() - since
        since = time.perf_counter()
        assert uses_of_video(last, self.opened()).frames
        self.wall["lineage of one video"] = time.perf_counter() - since

    def _measure(self) -> None:
        listing = FrameStore(self.root).objects.list()
        by_kind: dict[str, list[int]] = {}
        for key, info in listing.items():
            parts = key.split("/")
            kind = f"tables/{parts[1]}" if parts[0] == "tables" else parts[0]
            kind = parts[3].removesuffix(".json") if parts[0] == "frames" else kind
            by_kind.setdefault(kind, []).append(info.size)
        for kind, found in by_kind.items():
            self.sizes[f"bytes of {kind}"] = sum(found)
            self.sizes[f"objects of {kind}"] = len(found)


def _asked(query: str) -> list[tuple[Any, ...]]:
    import duckdb  # noqa: PLC0415 - a process that only lists has no need of it

    answer = duckdb.sql(query)
    assert answer is not None
    return answer.fetchall()


def write_videos(source: Path, count: int) -> None:
    """Write videos with equal frames and different bytes: a box that players skip has a number."""
    with tempfile.TemporaryDirectory() as folder:
        content = _tiny(Path(folder) / "tiny.mp4").read_bytes()
    for number in range(count):
        if number % _FOLDER == 0:
            folder_of = source / f"{number // _FOLDER:06d}"
            folder_of.mkdir(parents=True)
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        path = f"{folder_of}/{number:08d}.mp4"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, content + box)
        os.close(descriptor)


def _tiny(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(6):
            picture = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def _drawn(clips: int) -> float:
    """Return CPU seconds to decode clips of ten seconds, drawn from the corpus."""
    measured = []
    for name in _CORPUS:
        video = footage(name, loops=1, cache=Path())
        for _ in range(3):
            since = time.process_time()
            extract_frames(video, [_REAL])
            measured.append(time.process_time() - since)
    chance = random.Random(0)
    return sum(chance.choices(measured, k=clips))


def tables(found: list[Spent]) -> Iterator[str]:
    """Yield Markdown: CPU time per video with its ratio to few videos; calls; sizes."""
    yield f"| CPU per video, ms | {' | '.join(f'{one.videos:,}' for one in found)} |"
    yield f"|---|{'---:|' * len(found)}"
    for step in PER_CLIP:
        yield _row(step, [_cell(one, step) if step in one.seconds else "" for one in found])
    yield _row("all of it", [_cell(one, *PER_CLIP) if one.clips else "" for one in found])
    drawn = [f"{1000 * one.decode / one.videos:.0f}" if one.clips else "" for one in found]
    yield _row("decoding that was drawn", drawn)
    yield ""
    for title, pick in {"seconds": "wall", "bytes and counts": "sizes"}.items():
        yield f"| {title} | {' | '.join(f'{one.videos:,}' for one in found)} |"
        yield f"|---|{'---:|' * len(found)}"
        rows = [getattr(one, pick) for one in found]
        for name in rows[0]:
            yield _row(name, [_number(row[name]) if name in row else "" for row in rows])
        yield ""


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _cell(one: Spent, *steps: str) -> str:
    return f"{one.per_clip(*steps):.3f} ({one.ratio(*steps):.2f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
