"""`python -m benchmarks.fields`: cost of `colour`, `deinterlace`, `pixel_aspect` and `samples`.

Each row compares one signature with the same one without the field, on a video where the field
acts, or has nothing to do. Both take turns in this process, so a busy machine slows both alike.
Interlaced and anamorphic videos are encoded here from a corpus video.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import av

from benchmarks.footage import CORPUS
from frames_pipeline import FrameExtractionSignature, extract_frames

PLAIN = FrameExtractionSignature(target_fps=2, target_res=(224, 224), resize_mode="crop")
NATIVE = FrameExtractionSignature(target_fps=2)
SEEN = {"colour": "sdr", "deinterlace": "bwdif", "pixel_aspect": "square", "crop": "container"}


class Row(NamedTuple):
    """One comparison."""

    what: str
    video: Path
    base: FrameExtractionSignature
    fields: dict[str, Any]


def rows(folder: Path) -> list[Row]:
    """Return the comparisons, after making their videos."""
    bench, real = CORPUS / "bench", CORPUS / "real"
    h264, hevc = sorted(bench.glob("*264*720*250*"))[0], sorted(bench.glob("*hevc*"))[0]
    interlaced = _encoded(h264, folder / "interlaced.mkv", {"x264-params": "tff=1:threads=1"})
    wide = _encoded(h264, folder / "wide.mkv", {"aspect": "64:27"})
    pq = real / "exo_hdr10-video-with-sdr-container.mp4"
    nothing = "nothing to do (SDR, progressive, square)"
    return [
        Row(f"presets' fields, 224x224: {nothing}", h264, PLAIN, SEEN),
        Row(f"presets' fields, native: {nothing}", h264, replace(NATIVE, colour="accurate"), SEEN),
        Row(f"presets' fields, HEVC, 224x224: {nothing}", hevc, PLAIN, SEEN),
        Row("colour=sdr of PQ 1080p, 224x224", pq, PLAIN, {"colour": "sdr"}),
        Row("colour=sdr of PQ 1080p, native", pq, NATIVE, {"colour": "sdr"}),
        Row("deinterlace=bwdif of 720i, 2 fps", interlaced, PLAIN, {"deinterlace": "bwdif"}),
        Row(
            "deinterlace=bwdif of 720i, every frame",
            interlaced,
            replace(PLAIN, target_fps=30),
            {"deinterlace": "bwdif"},
        ),
        Row("pixel_aspect=square of 4:3 pixels, native", wide, NATIVE, {"pixel_aspect": "square"}),
        Row("samples=rgb16, native 720p", h264, NATIVE, {"samples": "rgb16"}),
        Row("samples=gray8, native 720p", h264, NATIVE, {"samples": "gray8"}),
        Row("samples=gray16, native 720p", h264, NATIVE, {"samples": "gray16"}),
        Row("samples=gray8, 224x224", h264, PLAIN, {"samples": "gray8"}),
    ]


def _encoded(source: Path, made: Path, options: dict[str, str]) -> Path:
    """Encode a video again, with options of x264."""
    with av.open(str(source)) as reader, av.open(str(made), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream("libx264", rate=Fraction(30), options={"g": "60", **options})
        copy.width, copy.height = stream.width, stream.height
        for number, frame in enumerate(reader.decode(stream)):
            frame.pts, frame.time_base = number, Fraction(1, 30)
            for packet in copy.encode(frame):
                writer.mux(packet)
        for packet in copy.encode(None):
            writer.mux(packet)
    return made


def main() -> None:
    """Print a row per comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fields", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="Measured runs of each.")
    rounds = parser.parse_args().rounds
    print("| what | frames | without, CPU ms per frame | with | ratio |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder)):
            print(_compared(row, rounds), flush=True)


def _compared(row: Row, rounds: int) -> str:
    signature = replace(row.base, **row.fields)
    frames = len(_extract(row.video, signature))  # prepares tables of colours, and reads the file
    pairs = [
        (_cpu(lambda: _extract(row.video, row.base)), _cpu(lambda: _extract(row.video, signature)))
        for _ in range(rounds)
    ]
    without, with_fields = (1000 * median(one) / frames for one in zip(*pairs, strict=True))
    ratio = median(after / before for before, after in pairs)
    return f"| {row.what} | {frames} | {without:.1f} | {with_fields:.1f} | {ratio:.3f} |"


def _extract(video: Path, signature: FrameExtractionSignature) -> Any:  # noqa: ANN401
    return extract_frames(video, [signature])[signature]


def _cpu(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
