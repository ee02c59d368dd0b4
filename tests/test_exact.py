"""Each frame extracted alone equals the frame of a linear decode, over random streams.

A frame depends on the decoder's state at its entry point: parameter sets, headers, references. So
every position is extracted by a fresh decoder.

`FRAMES_MADE_STREAMS=2000 pytest -m '' tests/test_exact.py` takes more streams than usual runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import pytest

from frames_pipeline import SourceError
from frames_pipeline.bitstream import OPEN
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.plan import plan_linear
from tests.corpus.decoding import Decode, decode_by, decode_planned
from tests.made_streams import (
    CONTAINERS,
    MadeStream,
    make_stream,
    with_numbers_reset,
    write_claimed_recovery_points,
    write_raw_h264,
)
from tests.oracle import plain_frames, raw_digest
from tests.suites import live_from

STREAMS: Final = int(os.environ.get("FRAMES_MADE_STREAMS", "54"))
"""Number of whole streams; a third as many begin in the middle or lose packets."""
TELL_LOSS: Final = ("libx264", "libx265")
"""Encoders whose streams reveal lost packets."""
KEPT_BACK: Final = ("libx264", "libx265", "mpeg1video", "mpeg2video", "libvpx", "libvpx-vp9")
"""Encoders whose decoders output nothing before an entry point."""

pytestmark = pytest.mark.filterwarnings("ignore")


def differing_alone(stream: MadeStream, linear: Decode) -> list[int]:
    """Return positions at which a frame extracted alone differs and is not marked as corrupt.

    A frame that the linear decode lists as lost may still be extracted alone.
    """
    with open_media(stream.path) as media:
        rows = media.index.presentation
    found: list[int] = []
    for position in range(len(rows)):
        with open_media(stream.path) as media:
            alone = decode_planned(media, rows[position : position + 1])
        row = int(rows[position])
        expected = linear.digests.get(row, alone.digests.get(row))
        if alone.digests.get(row) != expected and row not in alone.suspect:
            found.append(position)
    return found


def decode_linearly(stream: MadeStream) -> Decode:
    """Decode all frames of the stream in one pass from its start."""
    with open_media(stream.path) as media:
        rows = media.index.presentation
        return decode_by(media, plan_linear(media.index, rows, reason="to compare"), rows)


@pytest.mark.parametrize("seed", live_from(len(CONTAINERS), range(STREAMS)))
def test_each_frame_alone_is_that_of_a_linear_decode(tmp_path: Path, seed: int) -> None:
    stream = make_stream(tmp_path, seed, codec=list(CONTAINERS)[seed % len(CONTAINERS)])
    plain = [raw_digest(frame.frame) for frame in plain_frames(stream.path)]
    linear = decode_linearly(stream)

    assert list(linear.digests.values()) == plain, stream
    assert not linear.suspect, stream
    assert not differing_alone(stream, linear), stream


@pytest.mark.parametrize("seed", live_from(3, range(STREAMS // 9)))
def test_sets_of_frames_are_those_of_a_linear_decode(tmp_path: Path, seed: int) -> None:
    """One decoder does all runs: state from an earlier run must not matter."""
    random = Random(seed)
    stream = make_stream(tmp_path, seed, codec=("libx264", "libx265", "mpeg2video")[seed % 3])
    linear = decode_linearly(stream)
    with open_media(stream.path) as media:
        rows = media.index.presentation
        for _ in range(6):
            chosen = sorted(random.sample(range(len(rows)), k=random.randint(1, 4)))
            decode = decode_planned(media, rows[chosen])
            expected = {row: linear.digests[row] for row in rows[chosen].tolist()}
            assert decode.digests == expected, (stream, chosen)


@pytest.mark.parametrize("seed", live_from(6, range(STREAMS // 3)))
def test_a_stream_that_begins_in_the_middle_shows_what_its_decoder_shows(
    tmp_path: Path, seed: int
) -> None:
    """Pictures that decoders never output are not counted; undecodable ones are listed."""
    stream = make_stream(tmp_path, seed, codec=KEPT_BACK[seed % len(KEPT_BACK)], cut="start")
    try:
        linear = decode_linearly(stream)
    except SourceError:
        return  # no parameter set is left
    plain = [raw_digest(frame.frame) for frame in plain_frames(stream.path)]
    with open_media(stream.path) as media:
        has_entries = bool(media.index.entry.any())

    assert list(linear.digests.values()) == plain, stream
    if has_entries and "intra-refresh=1" not in str(stream.settings) and not linear.suspect:
        with open_media(stream.path) as media:
            assert media.index.num_frames == len(plain), stream
    assert not differing_alone(stream, linear), stream


@pytest.mark.parametrize("seed", live_from(6, range(STREAMS // 3)))
def test_no_frame_behind_a_lost_packet_passes_for_right(tmp_path: Path, seed: int) -> None:
    codec = TELL_LOSS[seed % len(TELL_LOSS)]
    stream = make_stream(tmp_path, seed, codec=codec, cut="loss")
    try:
        linear = decode_linearly(stream)
    except SourceError:
        return  # the packet with the parameter sets is lost
    assert not differing_alone(stream, linear), stream


def test_a_picture_that_starts_the_numbers_again_is_no_lost_one(tmp_path: Path) -> None:
    """The test inserts memory management control operation 5, which encoders rarely use."""
    plain_path, reset_path = tmp_path / "plain.h264", tmp_path / "reset.h264"
    options = {"qp": "30", "x264-params": "bframes=0:ref=1:cabac=0:weightp=0:keyint=50:8x8dct=0"}
    write_raw_h264(plain_path, options, frames=24)
    reset_path.write_bytes(with_numbers_reset(plain_path.read_bytes(), at=20))

    expected = [raw_digest(frame.frame) for frame in plain_frames(plain_path)]
    assert [raw_digest(frame.frame) for frame in plain_frames(reset_path)] == expected
    with open_media(reset_path) as media:
        rows = media.index.presentation
        decode = decode_planned(media, rows)
    assert list(decode.digests.values()) == expected
    assert not decode.suspect


@pytest.mark.parametrize("references", [1, 2, 4])
def test_a_recovery_point_that_is_none_is_no_entry(tmp_path: Path, references: int) -> None:
    """Its picture is intra, but later pictures refer to pictures before it."""
    path = tmp_path / "claims.h264"
    write_claimed_recovery_points(path, references=references)
    stream = MadeStream(path, "libx264", "h264")
    with open_media(path) as media:
        claimed = media.packets.columns.flags & OPEN > 0
        assert claimed.any()
        assert np.any(claimed & ~media.index.entry) == (references > 1)
    assert not differing_alone(stream, decode_linearly(stream))


@pytest.mark.parametrize("seed", range(4))
def test_recovery_points_of_open_groups_are_entries(tmp_path: Path, seed: int) -> None:
    """x264's recovery points are valid, as headers show."""
    path = tmp_path / "open.h264"
    pyramid, frames = ("none", "strict", "normal", "normal")[seed], (2, 3, 3, 1)[seed]
    parameters = f"open-gop=1:keyint=8:min-keyint=8:bframes={frames}:b-pyramid={pyramid}:ref=4"
    write_raw_h264(path, {"qp": "24", "x264-params": parameters}, frames=40)
    with open_media(path) as media:
        claimed = media.packets.columns.flags & OPEN > 0
        assert np.count_nonzero(claimed) > 2
        assert not np.any(claimed & ~media.index.entry)
