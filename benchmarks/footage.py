"""Videos to measure: the corpus, and longer ones looped from it without re-encoding."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.video.stream import VideoStream

CORPUS = Path(os.environ.get("FRAMES_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
"""Folder that contains `bench`, the folder of ten-second videos."""


def footage(name: str, *, loops: int, cache: Path) -> Path:
    """Return the path of a corpus video, looped a number of times."""
    source = CORPUS / "bench" / name
    if loops == 1:
        return source
    made = cache / f"{source.stem}-x{loops}{source.suffix}"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = made.with_stem(f"{made.stem}.unfinished")
        _loop(source, unfinished, loops)
        unfinished.rename(made)
    return made


def _loop(source: Path, made: Path, loops: int) -> None:
    """Write the packets of a video repeatedly, each time shifted by its length."""
    with av.open(str(made), "w") as writer:
        copy: VideoStream | None = None
        for loop in range(loops):
            with av.open(str(source)) as reader:
                stream = reader.streams.video[0]
                copy = copy or writer.add_stream_from_template(stream)
                length = stream.duration or 0
                for packet in reader.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue  # the last packet is empty
                    packet.pts += loop * length
                    packet.dts += loop * length
                    packet.stream = copy
                    writer.mux(packet)
