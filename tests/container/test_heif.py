"""AVIF and related formats: the animation, the primary picture, or a clear refusal."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, features

from frames_pipeline import (
    FrameExtractionSignature,
    UnsupportedSourceError,
    extract_frames,
    probe,
)
from tests.oracle import CORPUS, corpus_md5s, needs_corpus, raw_md5
from tests.videos import numbers_in, picture

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")

SIZE = (48, 64)


def write_avif(path: Path, frames: int, mode: str = "RGB") -> Path:
    """Write numbered pictures without FFmpeg."""
    first, *rest = [
        Image.fromarray(picture(number, *SIZE)).convert(mode) for number in range(frames)
    ]
    if rest:
        first.save(path, save_all=True, append_images=rest, duration=40)
    else:
        first.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_every_frame_of_an_animation(tmp_path: Path, frames: int, mode: str) -> None:
    path = write_avif(tmp_path / "a.avif", frames, mode)
    index = probe(path)
    assert (index.num_frames, index.height, index.width) == (frames, *SIZE)
    signature = FrameExtractionSignature(policy="uniform", num_frames=frames)
    batch = extract_frames(path, [signature])[signature]
    assert batch.outcome.status == "ok"
    assert numbers_in(batch.frames) == list(range(frames))
    assert batch.pts_seconds.tolist() == pytest.approx([0.04 * n for n in range(frames)])


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def full(kind: bytes, version: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *parts)


def write_grid(path: Path, still: Path, *, rows: int, columns: int, primary: int = 1) -> Path:
    """Write a grid of `rows` x `columns` tiles of the still (ISO/IEC 23008-12, 6.6.2.3)."""
    with av.open(str(still)) as container:
        tile = next(bytes(packet) for packet in container.demux(video=0))
    source = still.read_bytes()
    at = source.index(b"av1C") - 4
    av1c = source[at : at + int.from_bytes(source[at : at + 4], "big")]
    height, width = SIZE
    tiles = range(2, 2 + rows * columns)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, columns * width, rows * height)
    sizes = [(columns * width, rows * height), (width, height)]
    properties = box(b"ipco", *(full(b"ispe", 0, struct.pack(">II", *s)) for s in sizes), av1c)
    used = [struct.pack(">HBB", 1, 1, 1)]
    used += [struct.pack(">HBBB", item, 2, 2, 0x83) for item in tiles]
    links = full(b"ipma", 0, struct.pack(">I", len(used)), *used)
    refers = struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *tiles)
    parts = [
        full(b"hdlr", 0, struct.pack(">I4s12xB", 0, b"pict", 0)),
        full(b"pitm", 0, struct.pack(">H", primary)),
        items_info([(1, b"grid"), *((item, b"av01") for item in tiles)]),
        full(b"iref", 0, box(b"dimg", refers)),
        box(b"iprp", properties, links),
        box(b"idat", grid),
    ]
    head = box(b"ftyp", b"avif", struct.pack(">I", 0), b"avifmif1miaf")
    empty = full(b"meta", 0, *parts, workspace(tiles, 0, len(tile), len(grid)))
    start = len(head) + len(empty) + 8
    meta = full(b"meta", 0, *parts, workspace(tiles, start, len(tile), len(grid)))
    path.write_bytes(head + meta + box(b"mdat", tile))
    return path


def items_info(items: Sequence[tuple[int, bytes]]) -> bytes:
    entries = [full(b"infe", 2, struct.pack(">HH4sB", item, 0, kind, 0)) for item, kind in items]
    return full(b"iinf", 0, struct.pack(">H", len(entries)), *entries)


def workspace(tiles: Sequence[int], start: int, size: int, grid: int) -> bytes:
    """Return the item locations: the grid in `idat`, every tile at the same file offset."""
    entries = [struct.pack(">HHHHII", 1, 1, 0, 1, 0, grid)]
    entries += [struct.pack(">HHHHII", item, 0, 0, 1, start, size) for item in tiles]
    return full(b"iloc", 1, struct.pack(">BBH", 0x44, 0, len(entries)), *entries)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 2)])
def test_a_grid_is_refused_by_name(tmp_path: Path, rows: int, columns: int) -> None:
    still = write_avif(tmp_path / "still.avif", 1)
    path = write_grid(tmp_path / "grid.avif", still, rows=rows, columns=columns)
    with pytest.raises(UnsupportedSourceError, match=r"grid\.avif is a picture put together"):
        probe(path)


def test_a_picture_beside_a_grid_is_shown_if_it_is_the_primary_one(tmp_path: Path) -> None:
    still = write_avif(tmp_path / "still.avif", 1)
    path = write_grid(tmp_path / "tile.avif", still, rows=1, columns=2, primary=2)
    index = probe(path)
    assert (index.num_frames, index.height, index.width) == (1, *SIZE)


@needs_corpus
def test_the_animation_of_the_corpus() -> None:
    path = CORPUS / "reports" / "seq.avif"
    signature = FrameExtractionSignature(policy="uniform", num_frames=25)
    with av.open(str(path)) as container:
        track = [raw_md5(frame) for frame in container.decode(video=1)]
    assert track == corpus_md5s("seq.avif")
    batch = extract_frames(path, [signature])[signature]
    assert len(np.unique(batch.positions)) == len(batch.frames) == 25
