"""Files from bug reports with unusual edit lists or clocks: every frame, in order, and its time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
import pytest

from frames_pipeline.container.media import open_media
from tests.corpus.clocks import Ticks, between, even, overlapping
from tests.corpus.decoding import decode_planned
from tests.corpus.totals import Count
from tests.oracle import CORPUS, corpus_md5s, corpus_rows, needs_corpus, plain_frames
from tests.suites import live_from


class Expected(NamedTuple):
    """The expected result for a file; by default a plain decode's timestamps."""

    detail: str = ""
    """The reported defect of its timestamps."""
    times: Callable[[Ticks], Ticks] = lambda pts: pts
    """Maps a plain decode's timestamps to the expected ones."""
    determined: int | None = None
    """Frames before a missing packet. The frames after it differ between decoders: ffmpeg 5.1 gives
    different ones with one thread and with two."""


REPORTS: Final = {
    "ed_beyond.mp4": Expected(),
    "ed_dwell.mp4": Expected(),
    "ed_emptymid.mp4": Expected(),
    "ed_emptystart_trim.mp4": Expected(),
    "ed_neg.mp4": Expected(),
    "ed_reorder.mp4": Expected(),
    "ed_skip.mp4": Expected(),
    "ed_trimboth.mp4": Expected(),
    "ed_trimend.mp4": Expected(),
    "ed_twice.mp4": Expected(),
    "ed_v1.mp4": Expected(),
    "ed_zerodur.mp4": Expected(),
    "ts_back.ts": Expected("the clock jumps once", even),
    "ts_fwd1h.ts": Expected("the clock jumps once", even),
    "ts_fwdwrap.ts": Expected("the clock jumps 2 times", even),
    "ts_joint.ts": Expected("of 100 times, 2 repeated", overlapping),
    "ts_outlier_back.ivf": Expected("of 48 times, 1 out of order", between(30)),
    "ts_outlier_fwd.ivf": Expected("of 48 times, 1 out of order", between(20)),
    "ts_swap.ivf": Expected("of 48 times, 2 exchanged with a neighbour's", sorted),
    "vfr_dup.ivf": Expected("of 48 times, 1 repeated", between(30)),
    "vfr_dup.mkv": Expected(determined=30),
    "vfr_dup0.mp4": Expected("of 60 times, 1 repeated", between(1)),
    "vfr_dup1.mp4": Expected("of 60 times, 1 repeated", between(31)),
    "vfr_ok.mp4": Expected(),
    "vfr_phone.mov": Expected(),
}


FRAMES: Final = {row["file"]: row["decoded_frames"] or 0 for row in corpus_rows("reports")}


@needs_corpus
@pytest.mark.parametrize("name", live_from(3, REPORTS))
def test_every_frame_is_there_in_order_and_at_its_time(name: str, count: Count) -> None:
    expected, path = REPORTS[name], CORPUS / "reports" / name
    plain = list(plain_frames(path))
    with open_media(path) as media:
        index = media.index
        rows = index.presentation
        alone = [decode_planned(media, rows[[n]], "md5") for n in range(len(rows))]
        every = decode_planned(media, np.sort(rows), "md5")
    shown = [decode.digests[row] for row, decode in zip(rows.tolist(), alone, strict=True)]

    assert index.num_frames == int(FRAMES[name])
    known = slice(expected.determined)
    assert shown[known] == [frame.raw_md5() for frame in plain][known]
    assert shown[known] == [every.digests[row] for row in rows.tolist()][known]
    assert len(shown) == len(plain) == len(every.digests)
    assert index.timestamps_detail == expected.detail
    assert index.timestamps == ("repaired" if expected.detail else "container")
    pts = [frame.pts for frame in plain if frame.pts is not None]
    assert index.shown_pts.tolist() == expected.times(pts)
    count("frames of odd edit lists and clocks, each alone", len(shown))
    count("MD5s of frames", len(shown))


@needs_corpus
@pytest.mark.parametrize("name", live_from(3, REPORTS))
def test_ffmpeg_5_decodes_the_same(name: str) -> None:
    """The MD5s come from another FFmpeg than PyAV's."""
    listed = corpus_md5s(name)
    if listed is None:
        assert not int(FRAMES[name])
        return
    found = [frame.raw_md5() for frame in plain_frames(CORPUS / "reports" / name)]
    known = slice(REPORTS[name].determined)
    assert (len(found), found[known]) == (len(listed), listed[known])


@needs_corpus
def test_a_file_with_one_bad_time_is_as_long_as_without() -> None:
    with open_media(CORPUS / "reports" / "vfr_dup.ivf") as media:
        pts, time_base = media.index.shown_pts, media.index.time_base
    assert int(pts[-1]) * time_base == Fraction("7.84")
