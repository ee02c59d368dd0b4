"""Edit lists of several edits: the frames are FFmpeg's, and each equals the unedited media's."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.plan import plan_linear
from tests.corpus.decoding import decode_by, decode_planned
from tests.oracle import plain_frames, raw_digest
from tests.videos import make_video, numbers_in

FRAMES = 48
TICK = 512
"""Media timestamps per frame, at 12800 per second and 25 frames per second."""
GROUPS = "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop="
CODECS = {
    "h264": ("libx264", {"x264-params": GROUPS + "0"}),
    "h264 open": ("libx264", {"x264-params": GROUPS + "1"}),
    "hevc": ("libx265", {"x265-params": GROUPS + "0:log-level=none"}),
    "hevc open": ("libx265", {"x265-params": GROUPS + "1:log-level=none"}),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "12"}),
}
Edit = tuple[int, int]
"""Milliseconds and the media time of the start; -1 for an empty edit."""


@pytest.fixture(scope="module", params=CODECS)
def media(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an MP4 of 48 frames in groups of 12."""
    codec, options = CODECS[request.param]
    path = tmp_path_factory.mktemp("media") / f"{request.param}.mp4"
    return make_video(path, frames=FRAMES, codec=codec, options=options)


def with_edits(media: Path, edits: Sequence[Edit], path: Path) -> Path:
    """Copy the media with another edit list."""
    data = media.read_bytes()
    moov = data.rindex(b"moov") - 4  # after the samples, so offsets stay the same
    entries = b"".join(struct.pack(">IiI", *edit, 1 << 16) for edit in edits)
    elst = _box(b"elst", struct.pack(">II", 0, len(edits)) + entries)
    path.write_bytes(data[:moov] + _edited(data[moov:], _box(b"edts", elst)))
    return path


def _edited(data: bytes, edts: bytes) -> bytes:
    out = b""
    for kind, contents in _boxes(data):
        match kind:
            case b"moov":
                out += _box(kind, _edited(contents, edts))
            case b"trak":
                out += _box(kind, edts + _edited(contents, b""))
            case b"edts":
                continue
            case _:
                out += _box(kind, contents)
    return out


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += size


def _box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


def random_edits(random: Random) -> list[Edit]:
    """Return one to four edits: parts in any order, repeated, of odd lengths, and pauses."""
    edits: list[Edit] = []
    for _ in range(random.randint(1, 4)):
        if random.random() < 0.2:
            edits.append((40 * random.randint(1, 20), -1))
            continue
        start = random.randint(0, FRAMES - 4)
        length = 40 * random.randint(1, FRAMES - start) + random.choice([0, 0, 7, -13])
        edits.append((length, TICK * (start + 2) + random.choice([0, 0, 100])))
    return edits


def of_media(media: Path, edited: Path) -> list[str]:
    """Return the unedited media's digest for each packet of the edited file."""
    by_pts = {frame.pts: raw_digest(frame.frame) for frame in plain_frames(media)}
    with av.open(str(media)) as container:
        at = {p.pos: by_pts[p.pts] for p in container.demux(video=0) if p.size}
    with av.open(str(edited)) as container:
        return [at[p.pos] for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("seed", range(8))
def test_frames_are_those_that_ffmpeg_shows(media: Path, tmp_path: Path, seed: int) -> None:
    """FFmpeg may lose frames if an edit starts in an open group; here none are lost."""
    path = with_edits(media, random_edits(Random(f"{media.name}/{seed}")), tmp_path / "edited.mp4")
    expected = of_media(media, path)
    with open_media(path) as edited:
        index = edited.index
        rows = index.presentation
        every = decode_planned(edited, np.sort(rows))
        linear = decode_by(edited, plan_linear(index, rows, reason="to compare"), rows)
        alone = {row: decode_planned(edited, rows[rows == row]) for row in rows.tolist()}

    assert np.all(np.diff(index.shown_pts) > 0)
    assert every.digests == linear.digests == {row: expected[row] for row in rows.tolist()}
    assert {row: decode.digests[row] for row, decode in alone.items()} == every.digests
    assert not any(decode.suspect for decode in (every, linear, *alone.values()))

    plain = [(frame.pts, raw_digest(frame.frame)) for frame in plain_frames(path)]
    mine = [expected[row] for row in rows.tolist()]
    if "open" not in media.name:
        assert mine == [digest for _, digest in plain]
        shown = [pts for pts, _ in plain if pts is not None]
        increases = all(before < after for before, after in pairwise(shown))
        assert index.timestamps == ("container" if increases else "repaired")
        if increases:
            assert index.shown_pts.tolist() == shown


@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        ([(800, TICK * 2)], range(20)),
        ([(400, TICK * 14), (400, TICK * 14)], [*range(12, 22), *range(12, 22)]),
        ([(400, TICK * 26), (400, TICK * 2)], [*range(24, 34), *range(10)]),
        ([(200, TICK * 8), (200, TICK * 32)], [*range(6, 11), *range(30, 35)]),
        ([(400, -1), (200, TICK * 8)], range(6, 11)),
    ],
    ids=["the start", "twice", "in another order", "a part is skipped", "a pause before"],
)
def test_what_edits_show(tmp_path: Path, edits: list[Edit], shown: Sequence[int]) -> None:
    media = make_video(tmp_path / "media.mp4", frames=FRAMES, options=CODECS["h264"][1])
    path = with_edits(media, edits, tmp_path / "edited.mp4")
    every = FrameExtractionSignature(policy="uniform", num_frames=len(shown))
    batch = extract_frames(path, [every])[every]
    assert numbers_in(batch.frames) == list(shown)
    assert batch.outcome.status == "ok"
    assert batch.outcome.timestamps == probe(path).timestamps == "container"
    starts = np.cumsum([0, *(length for length, _ in edits)])[:-1]
    times = [
        int(start) + 40 * n
        for start, (length, at) in zip(starts, edits, strict=True)
        if at >= 0
        for n in range(length // 40)
    ]
    assert [pts * batch.time_base * 1000 for pts in batch.pts.tolist()] == times
