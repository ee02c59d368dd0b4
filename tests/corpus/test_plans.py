"""Whatever frames are wanted, the plan gives those that a decode of the whole stream gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from frames_pipeline import Limits
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.container.packets import DemuxedPackets
from frames_pipeline.decoding.plan import plan_linear
from tests.corpus.decoding import Decode, decode_by, decode_planned
from tests.corpus.files import INDEX_SETS, CorpusFile, each_file, is_decoded_often, random_numbers
from tests.corpus.totals import Count
from tests.oracle import plain_frames, raw_digest

Positions = NDArray[np.int64]


def random_positions(index: PacketIndex, random: np.random.Generator) -> Iterator[Positions]:
    """Endless sets of positions: sprinkled thinly or densely, and around points of entry."""
    n = index.num_frames
    entries = np.flatnonzero(index.entry[index.presentation])
    while True:
        density = float(np.exp(random.uniform(np.log(1 / n), 0)))
        sprinkled = np.flatnonzero(random.random(n) < density)
        yield sprinkled if len(sprinkled) else random.integers(n, size=1)
        yield np.unique(random.integers(n, size=3))
        around = random.choice(entries if len(entries) else np.arange(n), size=2)
        near = np.concatenate([around, around + random.integers(-4, 5, size=2)])
        yield np.unique(near.clip(0, n - 1))


def expected_digests(file: CorpusFile, index: PacketIndex) -> dict[int, str]:
    """What a plain decode gives, by row: matched by position, or by timestamp where it has gaps."""
    plain = [(frame.pts, raw_digest(frame.frame)) for frame in plain_frames(file.path)]
    if len(plain) == index.num_frames:
        return dict(zip(index.presentation.tolist(), (d for _, d in plain), strict=True))
    row_of = dict(zip(index.shown_pts.tolist(), index.presentation.tolist(), strict=True))
    return {row_of[pts]: digest for pts, digest in plain}


def differing(decode: Decode, expected: dict[int, str], wanted: Positions) -> list[int]:
    """Wanted rows that neither equal a plain decode nor are said to be damaged."""
    return [
        row
        for row in wanted.tolist()
        if decode.digests.get(row) != expected.get(row) and row not in decode.suspect
    ]


@contextmanager
def sources(file: CorpusFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Media]]:
    """Packets as they are read by default; held in memory by demuxing; read a second time."""
    with (
        open_media(file.path) as default,
        open_media(file.path) as held,
        open_media(file.path, Limits(packet_memory=0)) as reread,
    ):
        assert default.index.num_frames  # its packets are read before the functions change
        monkeypatch.setattr(
            "frames_pipeline.container.media.sampled_packets", lambda *_, **__: None
        )
        monkeypatch.setattr("frames_pipeline.container.demuxed._SEEK_OVER", 8)
        assert isinstance(held.packets, DemuxedPackets)
        assert isinstance(reread.packets, DemuxedPackets)
        yield [default, held, reread]


@each_file(is_decoded_often)
def test_any_frames_equal_a_plain_decode(
    file: CorpusFile, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever packets come from."""
    with sources(file, monkeypatch) as media:
        index = media[0].index
        expected = expected_digests(file, index)
        everything = index.presentation
        linear = decode_by(
            media[0], plan_linear(index, everything, reason="to compare"), everything
        )
        assert not differing(linear, expected, everything)
        assert bool(linear.suspect) == file.is_damaged

        random = random_numbers(file)
        sets = random_positions(index, random)
        for number, positions in zip(range(INDEX_SETS), sets, strict=False):
            wanted = np.unique(index.presentation[positions])
            decode = decode_planned(media[random.integers(3)], wanted)

            differences = differing(decode, expected, wanted)
            count("index sets", 1)
            count("packets that a linear decode feeds for them", int(wanted.max()) + 1)
            count("packets that their plans feed", decode.fed)
            count("frames of index sets, by their samples, with a plain decode", len(wanted))
            count("differences", len(differences))
            assert not differences, f"set {number}: positions {positions.tolist()}"
            assert decode.suspect <= linear.suspect
