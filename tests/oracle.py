"""Plain decodes by FFmpeg: the oracle of the exactness tests.

This module never imports the package under test.
"""

from __future__ import annotations

import csv
import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

CORPUS = Path(os.environ.get("FRAMES_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.BITEXACT
)

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus; set FRAMES_CORPUS")


def corpus_rows(*folders: str) -> list[dict[str, Any]]:
    """Return the rows of ORACLE.tsv, made with ffprobe and ffmpeg 5.1."""
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


def corpus_md5s(name: str) -> list[str] | None:
    """Return the MD5 of every frame of a corpus file in its native format, by ffmpeg 5.1.

    Without `-flags bitexact` the rounding of its MPEG-4 decoder depends on the processor. Files
    affected by this have a list made with the flag.
    """
    for folder in ("framemd5_bitexact", "framemd5"):
        listed = CORPUS / folder / f"{name}.md5"
        if listed.exists():
            return listed.read_text().split()
    return None


@dataclass(frozen=True)
class PlainFrame:
    """One frame of a plain decode."""

    frame: VideoFrame
    pts: int | None
    key: bool
    """Whether the container marks its packet as a key frame, or the decoder, if pts are missing."""

    def raw_md5(self) -> str:
        """Return the MD5 of the planes without padding, as FFmpeg's framemd5 does."""
        return raw_md5(self.frame)

    def rgb(self, height: int, width: int, *, rotation: int = 0) -> NDArray[np.uint8]:
        """Return the documented pixels: native as FFmpeg's default, else accurate.

        Args:
            height: Height of the shown picture.
            width: Width of the shown picture.
            rotation: Rotation of the stored frame in counter-clockwise degrees.
        """
        if rotation % 180:
            height, width = width, height
        native = (self.frame.height, self.frame.width) == (height, width)
        flags = Interpolation.BICUBIC if native else ACCURATE
        stored = self.frame.reformat(
            width=width, height=height, format="rgb24", interpolation=int(flags), threads=1
        ).to_ndarray()
        return np.rot90(stored, rotation // 90)


def plain_frames(path: Path) -> Iterator[PlainFrame]:
    """Yield every frame of a linear decode; skips packets that fail."""
    with av.open(str(path), metadata_errors="replace") as container:
        videos = [
            s for s in container.streams.video if not s.disposition & s.disposition.attached_pic
        ]
        # an animated AVIF also has a still picture
        moving = max(videos, key=lambda s: s.frames) if path.suffix == ".avif" else videos[0]
        context = moving.codec_context
        context.thread_count = 1
        context.options = {"flags": "+bitexact"}  # MPEG-4 rounds as its standard says, on every CPU
        keys: dict[int, bool] = {}
        for packet in _packets(container, moving):
            if packet is not None and packet.pts is not None:
                keys[packet.pts] = packet.is_keyframe
            try:
                decoded = context.decode(packet)
            except (av.FFmpegError, ValueError):
                continue
            if context.codec.canonical_name == "vp9":
                decoded = decoded[-1:]  # the last spatial layer of a packet, as libvpx does
            for frame in decoded:
                key = bool(frame.key_frame) if frame.pts is None else keys[frame.pts]
                yield PlainFrame(frame, frame.pts, key)


def _packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[Packet[VideoStream] | None]:
    """Yield every readable packet, and `None` at the end, which drains the decoder."""
    with suppress(
        av.FFmpegError, ValueError, IndexError
    ):  # damage that the demuxer stops at is an end, too
        for packet in container.demux(stream):
            yield packet if packet.size else None
        return
    yield None


def plain_decode(path: Path) -> list[PlainFrame]:
    """Return every frame at once, for small videos."""
    return list(plain_frames(path))


def raw_md5(frame: VideoFrame) -> str:
    """Return the MD5 of a frame's planes in its native format, without line padding."""
    return raw_digest(frame, "md5")


def raw_digest(frame: VideoFrame, algorithm: str = "sha1") -> str:
    """Return the digest of a frame's planes in its native format, without line padding."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for number, plane in enumerate(frame.planes):
        if frame.format.name == "pal8" and number == 1:
            digest.update(bytes(plane))  # the palette has no lines
            continue
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        digest.update(lines[: plane.height, : line_bytes(frame, number)].tobytes())
    return digest.hexdigest()


def line_bytes(frame: VideoFrame, plane: int) -> int:
    """Return the bytes of pixels in one line of a plane."""
    name = frame.format.name
    if name in {"rgb24", "bgr24"}:
        return frame.width * 3
    if name in {"rgba", "bgra", "argb", "abgr", "0rgb", "bgr0"}:
        return frame.width * 4
    depth = frame.format.components[0].bits
    return frame.planes[plane].width * (2 if depth > 8 else 1)


def positions_of(
    policy: str,
    times: Sequence[Fraction],
    keys: Sequence[bool],
    *,
    rate: Fraction | None = None,
    count: int | None = None,
) -> list[int]:
    """Return the positions that a policy selects among frames at some times, by its definition."""
    n = len(times)
    if policy == "uniform":
        assert count is not None
        return [(2 * i + 1) * n // (2 * count) for i in range(count)]
    if policy == "keyframes":
        return [position for position, key in enumerate(keys) if key]
    if policy != "sequence":
        return {"first": [0], "middle": [(n - 1) // 2], "last": [n - 1]}[policy]
    assert rate is not None
    chosen: list[int] = []
    while (target := times[0] + len(chosen) / rate) < times[-1] + 1 / (2 * rate):
        later = bisect_left(times, target)
        near = range(max(0, later - 1), min(n, later + 1))
        chosen.append(min(near, key=lambda i: (abs(times[i] - target), i)))
    return chosen
