"""`python -m benchmarks.sizing FOLDER`: compare the estimate of an extraction with its real cost.

Both run in this process, in turn, so that its clock counts them. The run works as for batches:
videos are observed, cut, decoded and stored. With `--bucket` requests are counted, on a local S3
server.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.in_process import InProcess
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    estimate_extraction,
    extract_batch,
    observe_videos,
)
from frames_pipeline.sources.batches import Batching
from frames_pipeline.sources.videos import VideoSource

_SIGNATURES = (
    FrameExtractionSignature(target_fps=2, target_res=(224, 224)),
    FrameExtractionSignature(target_fps=1, target_res=(360, -1)),
)
_READS = ("GET", "HEAD")


def main() -> None:
    """Print a table of both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--sample", type=int, default=10**9, help="Videos to sample; by default all."
    )
    parser.add_argument("--seeds", type=int, default=3, help="Number of samples.")
    parser.add_argument("--clip-s", type=float, default=5, help="Seconds per clip.")
    parser.add_argument("--bucket", action="store_true", help="Count requests.")
    arguments = parser.parse_args()
    clipping = FixedStride(arguments.clip_s, arguments.clip_s, 0)
    source = VideoSource(str(arguments.folder))
    runs: list[dict[str, float]] = []
    estimates: list[dict[str, float]] = []
    errors: dict[str, float] = {}
    for seed in range(arguments.seeds):
        found = estimate_extraction(
            source, _SIGNATURES, clipping=clipping, sample=arguments.sample, seed=seed,
            workers=InProcess(),
        )  # fmt: skip
        names = ("clips", "frames", "frame_bytes", "objects", "cpu_seconds", "puts", "gets")
        estimates.append({name: getattr(found, name).total for name in names})
        errors = {name: getattr(found, name).error for name in names}
        if seed == 0 or not arguments.bucket:
            runs.append(_run(arguments.folder, clipping, bucket=arguments.bucket))
    print(
        "| amount | estimate | standard error | run | estimate / run |\n|---|---:|---:|---:|---:|"
    )
    for name in runs[0]:
        guess, real = median(one[name] for one in estimates), median(one[name] for one in runs)
        error = errors[name]
        print(f"| {name} | {guess:,.1f} | {error:,.1f} | {real:,.1f} | {guess / real:.2f} |")


def _run(folder: Path, clipping: FixedStride, *, bucket: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as here, _requests(bucket=bucket) as s3:
        where, root, options = str(folder), here, None
        if s3 is not None:
            videos, options = Objects(f"{s3.url}/videos", s3.options), s3.options
            for path in sorted(folder.iterdir()):
                videos.put(path.name, path.read_bytes())
            where, root = videos.url, f"{s3.url}/root"
            s3.count()
        workspace = Workspace.at(where, root, source_options=options, root_options=options)
        since = time.process_time()
        batching = Batching(batch_size=32, max_wait_s=0)
        workers, commits = InProcess(), []
        for batch in discover(workspace, batching, now=time.time() + 9).sealed:
            observe_videos(batch, workspace)
            cut_clips(batch, workspace, clipping, workers=workers)
            reports = extract_batch(batch, _SIGNATURES, workspace, workers=workers)
            commits += [c for one in reports.values() for c in one.manifest.clips.values()]
        spent = time.process_time() - since
        amounts: dict[str, float] = {
            "clips": len({commit.clip_id for commit in commits}),
            "frames": sum(commit.num_frames for commit in commits),
            "frame_bytes": sum(commit.bytes for commit in commits),
            "objects": sum(len(commit.objects) + 1 for commit in commits),
        }
        if s3 is None:
            return amounts | {"cpu_seconds": spent}
        asked: Counter[str] = s3.count()
        reads = sum(asked[verb] for verb in _READS)
        return amounts | {"puts": asked.total() - reads, "gets": reads}


@contextlib.contextmanager
def _requests(*, bucket: bool) -> Iterator[Any]:
    """Provide a bucket that counts requests, if one is wanted."""
    if not bucket:
        yield None
        return
    from tests.s3 import moto, proxied  # noqa: PLC0415 - beside this folder in a checkout

    with moto() as port, proxied(port) as s3:
        yield s3


if __name__ == "__main__":
    main()
