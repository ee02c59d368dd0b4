"""`python -m benchmarks.requests`: count the requests of each step to a local S3 server.

Measures a batch of videos with one clip each, and one with several clips; one signature.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.in_process import InProcess
from benchmarks.simulate import write_videos
from frames_pipeline import FrameExtractionSignature, open_frames
from frames_pipeline.clipping import Clipping, FixedStride, WholeVideo
from frames_pipeline.io.objects import Objects
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.pipeline import (
    Workspace,
    catalog_batch,
    compare_with_signature,
    cut_clips,
    discover,
    embed_batch,
    extract_batch,
    find_disorder,
    observe_videos,
)
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.sources.batches import Batching

if TYPE_CHECKING:
    from tests.s3 import S3

_SIGNATURE = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
_VERBS = ("PUT", "GET", "HEAD", "LIST")


def main() -> None:
    """Print a table for each way of clipping."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("--videos", type=int, default=32)
    videos = parser.parse_args().videos
    from tests.s3 import moto, proxied  # noqa: PLC0415 - beside this folder in a checkout

    with moto() as port:
        for clipping in (WholeVideo(), FixedStride(0.25, 0.25, 0)):
            with proxied(port) as s3:
                print(f"\n{clipping!r}\n")
                _table(s3, videos, clipping)


def _table(s3: S3, videos: int, clipping: Clipping) -> None:
    source = Objects(f"{s3.url}/videos", s3.options)
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder), videos)
        for path in sorted(Path(folder).rglob("*.mp4")):
            source.put(path.name, path.read_bytes())
    root, options = f"{s3.url}/root", s3.options
    workspace = Workspace.at(source.url, root, source_options=options, root_options=options)
    s3.count()
    (batch,) = discover(
        workspace, Batching(batch_size=videos, max_wait_s=0), now=time.time() + 9
    ).sealed
    print(f"list and seal: {dict(s3.count())}")
    workers, provider = InProcess(), open_embedding_provider("perceptual")
    store, key = workspace.store, batch.key
    steps: dict[str, Callable[[], object]] = {
        "observe": lambda: observe_videos(batch, workspace),
        "cut": lambda: cut_clips(batch, workspace, clipping, workers=workers),
        "extract": lambda: extract_batch(batch, [_SIGNATURE], workspace, workers=workers),
        "extract, nothing to do": lambda: extract_batch(
            batch, [_SIGNATURE], workspace, workers=workers
        ),
        "checks": lambda: _checks(workspace, key),
        "embed": lambda: embed_batch(key, _SIGNATURE, workspace, provider),
        "catalog": lambda: catalog_batch(key, {"e": _SIGNATURE}, workspace),
        "read all": lambda: _read(root, options),
        "verify": lambda: store.verify(key),
        "verify --deep": lambda: store.verify(key, deep=True),
        "collect garbage": store.collect_garbage,
        "pack": lambda: _pack(s3, root),
        "pack, nothing new": lambda: _pack(s3, root),
        "read all of the pack": lambda: _read_pack(s3),
    }
    clips = 0
    print(f"| step | {' | '.join(_VERBS)} | per clip |\n|---|{'---:|' * 5}")
    for name, step in steps.items():
        step()
        asked: Counter[str] = s3.count()
        clips = clips or (len(store.clips(key, _SIGNATURE)) if name == "extract" else 0)
        s3.count()
        per_clip = f"{asked.total() / clips:.2f}" if clips else ""
        print(f"| {name} | {' | '.join(str(asked[verb]) for verb in _VERBS)} | {per_clip} |")
    print(f"{clips} clips of {videos} videos")


def _checks(workspace: Workspace, key: str) -> None:
    """Run the checks that read every clip."""
    manifest = workspace.store.manifest(key, _SIGNATURE)
    described = workspace.store.describe(manifest)
    assert workspace.store.verify_manifest(manifest).ok
    assert not find_disorder(manifest, workspace, described=described)
    compare_with_signature(manifest, _SIGNATURE, workspace, described=described)


def _read(root: str, options: dict[str, Any]) -> None:
    frames = open_frames(root, signature=_SIGNATURE, storage_options=options)
    for clip in frames:
        frames.read(clip)


def _pack(s3: S3, root: str) -> None:
    frames = open_frames(root, signature=_SIGNATURE, storage_options=s3.options)
    pack_frames(frames, f"{s3.url}/pack", storage_options=s3.options)


def _read_pack(s3: S3) -> None:
    packed = open_pack(f"{s3.url}/pack", storage_options=s3.options)
    for clip in packed:
        packed.read(clip)


if __name__ == "__main__":
    main()
