"""What FFmpeg makes of a file decoded plainly: the oracle of the exactness tests.

Nothing here imports the package under test.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

CORPUS = Path(os.environ.get("FRAMES_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.BITEXACT
)


def corpus_rows(*folders: str) -> list[dict[str, Any]]:
    """The rows of ORACLE.tsv, made with ffprobe and ffmpeg 5.1."""
    rows = []
    for folder in folders:
        table = CORPUS / folder / "ORACLE.tsv"
        if table.exists():
            with table.open(newline="") as file:
                rows += [
                    row | {"path": CORPUS / folder / row["file"]}
                    for row in csv.DictReader(file, delimiter="\t")
                ]
    return rows


needs_corpus = pytest.mark.skipif(
    not CORPUS.exists() and "CI" not in os.environ, reason="no corpus; set FRAMES_CORPUS"
)


@dataclass(frozen=True)
class PlainFrame:
    """One frame of a plain decode."""

    frame: VideoFrame
    pts: int | None

    def raw_md5(self) -> str:
        """MD5 of the planes without padding, as FFmpeg's framemd5 has it."""
        return raw_md5(self.frame)

    def rgb(self, height: int, width: int) -> NDArray[np.uint8]:
        """The pixels that notes and docs promise: native as FFmpeg's default, else accurate."""
        native = (self.frame.height, self.frame.width) == (height, width)
        flags = Interpolation.BICUBIC if native else ACCURATE
        return self.frame.reformat(
            width=width, height=height, format="rgb24", interpolation=int(flags)
        ).to_ndarray()


def plain_decode(path: Path, stream: int | None = None) -> list[PlainFrame]:
    """Every frame that a linear decode outputs; packets that fail are passed over."""
    frames: list[PlainFrame] = []
    with av.open(str(path), metadata_errors="replace") as container:
        videos = [
            s for s in container.streams.video if not s.disposition & s.disposition.attached_pic
        ]
        context = videos[0].codec_context
        context.thread_count = 1
        for packet in container.demux(videos[0]):
            try:
                decoded = context.decode(packet if packet.size else None)
            except (av.FFmpegError, ValueError):
                continue
            frames += [PlainFrame(frame, frame.pts) for frame in decoded]
    return frames


def raw_md5(frame: VideoFrame) -> str:
    """MD5 of a frame's planes in its native format, without the padding of lines."""
    digest = hashlib.md5(usedforsecurity=False)
    for number, plane in enumerate(frame.planes):
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        digest.update(lines[: plane.height, : line_bytes(frame, number)].tobytes())
    return digest.hexdigest()


def line_bytes(frame: VideoFrame, plane: int) -> int:
    """Bytes of one line of a plane that hold pixels."""
    name = frame.format.name
    if name in {"rgb24", "bgr24"}:
        return frame.width * 3
    if name in {"rgba", "bgra", "argb", "abgr", "0rgb", "bgr0"}:
        return frame.width * 4
    depth = frame.format.components[0].bits
    return frame.planes[plane].width * (2 if depth > 8 else 1)
