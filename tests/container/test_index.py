"""The index says which frames are shown, and in which order, by timestamps that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import PacketIndex, UnsupportedSourceError
from frames_pipeline.bitstream import DISPOSABLE, ENTRY, LAYER_SHIFT, SHOWN
from frames_pipeline.clips import Span
from frames_pipeline.container.index import NO_PTS, PacketColumns, StreamFacts, build_index
from tests.streams import Stream, streams

STREAM = StreamFacts(
    codec="h264",
    width=64,
    height=48,
    time_base=Fraction(1, 12800),
    average_rate=Fraction(25),
)
KEY = SHOWN | ENTRY


def columns(
    pts: Sequence[int],
    flags: Sequence[int] | None = None,
    *,
    key: Sequence[int] = (0,),
    **changed: Any,
) -> PacketColumns:
    """Packets with these timestamps, the first a key frame."""
    n = len(pts)
    is_key = np.isin(np.arange(n), key)
    fields: dict[str, Any] = {
        "pts": np.array(pts, np.int64),
        "dts": np.arange(n) * 512,
        "duration": np.full(n, 512),
        "size": np.full(n, 100),
        "key": is_key,
        "discard": np.zeros(n, np.bool_),
        "corrupt": np.zeros(n, np.bool_),
        "flags": np.where(is_key, KEY, SHOWN) if flags is None else np.array(flags, np.int64),
    }
    return PacketColumns(**(fields | changed))


def never() -> list[int]:
    pytest.fail("headers were read although timestamps tell the order")


def build(found: PacketColumns, told: list[int] | None = None, **facts: Any) -> PacketIndex:
    """An index, by headers that tell this order."""
    stream = StreamFacts(**({name: getattr(STREAM, name) for name in STREAM.__slots__} | facts))
    return build_index(stream, found, lambda: told)


def test_timestamps_in_any_order_give_the_order_of_showing() -> None:
    index = build_index(STREAM, columns([0, 1536, 512, 1024, 2048]), never)
    assert index.order.tolist() == [0, 3, 1, 2, 4]
    assert index.presentation.tolist() == [0, 2, 3, 1, 4]
    assert index.shown_pts.tolist() == [0, 512, 1024, 1536, 2048]
    assert index.timestamps == "container"
    assert index.time_base == Fraction(1, 12800)


@given(streams(), st.integers(-(2**40), 2**40), st.data())
def test_a_streams_own_order_is_found(stream: Stream, start: int, data: st.DataObject) -> None:
    """From timestamps in order of output, uneven ones too."""
    order = stream.order()
    steps = data.draw(st.lists(st.integers(1, 2000), min_size=len(stream), max_size=len(stream)))
    times = start + np.cumsum(steps)
    pts = [int(times[rank]) if rank >= 0 else NO_PTS for rank in order]
    rows = range(len(stream))
    flags = [SHOWN * (order[r] >= 0) | ENTRY * (r in stream.flagged or r == 0) for r in rows]
    hidden = np.isin(list(rows), list(stream.discarded))
    index = build(columns(pts, flags, discard=hidden), order)

    assert index.timestamps == "container"
    assert index.order.tolist() == order
    expected = [r for r in sorted(rows, key=lambda r: order[r]) if order[r] >= 0]
    assert index.presentation.tolist() == [r for r in expected if r not in stream.discarded]
    assert index.num_frames == len(index.presentation) == np.count_nonzero(index.shown)
    assert np.all(np.diff(index.shown_pts) > 0)


@given(
    st.lists(st.integers(0, 12) | st.just(NO_PTS), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.randoms(use_true_random=False),
)
def test_frames_are_in_the_order_of_the_decoder_and_times_increase(
    pts: list[int], keys: set[int], random: Random
) -> None:
    """The order follows timestamps or headers; if they contradict each other, either."""
    keys = {0, *(key for key in keys if key < len(pts))}
    by_pts = [int(row) for row in np.argsort(pts, kind="stable")]
    shuffled = random.sample(range(len(pts)), len(pts))
    told_rows = by_pts if random.random() < 0.5 else shuffled
    index = build(columns(pts, key=sorted(keys)), [int(rank) for rank in np.argsort(told_rows)])

    presentation = index.presentation.tolist()
    is_container = index.timestamps == "container"
    event(f"{index.timestamps}, {'as told' if presentation == told_rows else 'by pts'}")
    assert presentation in (told_rows, by_pts)
    assert np.all(np.diff(index.shown_pts) > 0)
    assert is_container == (not index.timestamps_detail)
    given_pts = [pts[row] for row in presentation]
    increases = all(a < b for a, b in pairwise(given_pts)) and NO_PTS not in pts
    assert is_container == increases
    if is_container:
        assert index.shown_pts.tolist() == given_pts
    elif presentation != told_rows:
        assert len(set(pts)) == len(pts)


@pytest.mark.parametrize(
    ("pts", "detail"),
    [
        ([0, 1536, 512, 512], "of 3 times, 1 repeated"),
        ([0, 1536, NO_PTS, 1024], "of 3 times, 1 missing"),
    ],
    ids=["repeated", "one missing"],
)
def test_times_are_repaired_in_the_order_that_headers_tell(pts: list[int], detail: str) -> None:
    index = build(columns(pts, discard=np.array([True, False, False, False])), [0, 3, 1, 2])
    assert (index.timestamps, index.timestamps_detail) == ("repaired", detail)
    assert index.order.tolist() == [0, 3, 1, 2]
    assert index.presentation.tolist() == [2, 3, 1]
    assert index.shown_pts.tolist() == [512, 1024, 1536]
    assert index.pts.tolist() == [NO_PTS, 1536, 512, 1024]
    assert (index.time_base, index.last_duration) == (STREAM.time_base, 512)
    assert index.duration_seconds == 3 / 25


@pytest.mark.parametrize("dts", [np.arange(4) * 512, np.full(4, NO_PTS)], ids=["even", "none"])
def test_frames_are_counted_where_there_are_no_times(dts: NDArray[np.int64]) -> None:
    hidden = np.array([True, False, False, False])
    index = build(columns([NO_PTS] * 4, discard=hidden, dts=dts), [0, 3, 1, 2])
    assert index.timestamps == "counted"
    assert index.timestamps_detail.startswith("the container gives ")
    assert index.presentation.tolist() == [2, 3, 1]
    assert index.shown_pts.tolist() == [0, 1, 2]
    assert index.pts.tolist() == [NO_PTS, 2, 0, 1]
    assert (index.time_base, index.last_duration) == (Fraction(1, 25), 1)
    assert index.duration_seconds == 3 / 25


def test_uneven_times_of_decoding_are_taken_in_the_order_of_showing() -> None:
    """AVI leaves the slots of dropped frames empty."""
    dts = np.array([0, 1, 2, 7, 8])
    index = build(columns([NO_PTS] * 5, dts=dts), [0, 3, 1, 2, 4])
    assert index.presentation.tolist() == [0, 2, 3, 1, 4]
    assert index.shown_pts.tolist() == [0, 1, 2, 7, 8]
    detail = "the container gives times of decoding only"
    assert (index.timestamps, index.timestamps_detail) == ("repaired", detail)


def test_a_recording_that_starts_over_continues() -> None:
    first, second = [9000 + 512 * n for n in range(6)], [512 * n for n in range(6)]
    index = build(columns(first + second, key=[0, 6]), list(range(12)))
    assert (index.timestamps, index.timestamps_detail) == ("repaired", "the clock jumps once")
    assert index.presentation.tolist() == list(range(12))
    assert index.shown_pts.tolist() == [9000 + 512 * n for n in range(12)]


def test_a_recording_that_starts_over_a_little_keeps_its_order() -> None:
    """All timestamps differ, yet the key frame is shown after all earlier frames."""
    found = columns([0, 1024, 512, 2048, 1536, 1800, 2824, 2312, 3848, 3336], key=[0, 5])
    told = [0, 2, 1, 4, 3, 5, 7, 6, 9, 8]
    index = build(found, told)
    assert index.order.tolist() == told
    assert np.all(np.diff(index.shown_pts) > 0)


def test_a_codec_that_does_not_reorder_shows_frames_as_it_decodes_them() -> None:
    facts: dict[str, Any] = {"codec": "vp8", "reorders": False}
    outlier = build(columns([0, 40, 90000, 120, 160]), **facts)
    assert outlier.presentation.tolist() == [0, 1, 2, 3, 4]
    assert outlier.shown_pts.tolist() == [0, 40, 80, 120, 160]
    assert outlier.timestamps_detail == "of 5 times, 1 out of order"
    swapped = build(columns([0, 40, 120, 80, 160]), **facts)
    assert swapped.shown_pts.tolist() == [0, 40, 80, 120, 160]
    assert swapped.timestamps_detail == "of 5 times, 2 exchanged with a neighbour's"


def test_headers_are_asked_where_a_frame_is_shown_far_from_where_it_is_decoded() -> None:
    pts = [512 * n for n in range(100)]
    pts[9], pts[10] = pts[10], pts[9]  # not in the order of decoding
    pts[20] = 10**6
    index = build(columns(pts), list(range(100)))
    assert index.presentation.tolist() == list(range(100))
    assert index.shown_pts.tolist() == [512 * n for n in range(100)]


def test_each_edit_is_in_order_by_itself() -> None:
    """The second edit starts at row 3, with a hidden key frame."""
    pts, dts = [0, 1024, 512, 512, 1024, 2048, 1536], [-512, 0, 512, 0, 512, 1024, 1536]
    hidden = np.array([False, True, False, True, False, False, False])
    found = columns(pts, dts=np.array(dts), discard=hidden, key=[0, 3])
    index = build_index(STREAM, found, lambda: list(range(7)))
    assert index.edits.tolist() == [3]
    assert index.presentation.tolist() == [0, 2, 4, 6, 5]
    assert index.timestamps == "container"


def test_leading_frames_of_an_open_group_are_no_jump_back() -> None:
    """They are shown before the key frame that they follow, and after the one before."""
    found = columns([0, 512, 2048, 1024, 1536, 2560], key=[0, 2])
    assert build_index(STREAM, found, never).presentation.tolist() == [0, 1, 3, 4, 2, 5]


def test_timestamps_that_are_decode_times_are_found_out_by_the_headers() -> None:
    """AVI has no others: they increase, whatever the frames do."""
    found = columns([0, 512, 1024, 1536])
    assert build(found, [0, 3, 1, 2]).timestamps == "counted"
    assert build(found, [0, 3, 1, 2]).presentation.tolist() == [0, 2, 3, 1]
    assert build(found, [0, 1, 2, 3]).timestamps == "container"
    assert build(found, None).timestamps == "container"
    assert build_index(
        StreamFacts("vp9", 64, 48, STREAM.time_base, STREAM.average_rate, reorders=False),
        found,
        never,
    ).presentation.tolist() == [0, 1, 2, 3]


def test_what_cannot_be_ordered_is_refused() -> None:
    with pytest.raises(
        UnsupportedSourceError, match="h264 headers do not tell the order of frames; remux"
    ):
        build(columns([0, 512, 512]), None)


def test_a_row_that_gives_no_frame_has_no_place() -> None:
    """A hidden frame's timestamp is nobody's: it may be the next one's."""
    index = build_index(
        STREAM, columns([0, 512, 512, 1024], [KEY, 0, SHOWN, SHOWN]), lambda: [0, 0, 1, 2]
    )
    assert index.order.tolist() == [0, -1, 1, 2]
    assert index.shown.tolist() == [True, False, True, True]
    assert index.presentation.tolist() == [0, 2, 3]


def test_frames_that_an_edit_list_hides_keep_their_place_in_the_decoders_output() -> None:
    hidden = np.array([True, True, False, False])
    index = build_index(STREAM, columns([-1024, 0, -512, 512], discard=hidden), never)
    assert index.order.tolist() == [0, 2, 1, 3]
    assert index.presentation.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("codec", "shown"), [("h264", [2, 3]), ("hevc", [2, 3]), ("mpeg4", [0, 1, 2, 3])]
)
def test_before_the_first_entry_some_decoders_show_nothing(codec: str, shown: list[int]) -> None:
    """The tail of a group of pictures at the start of a recording."""
    found = columns([0, 512, 1024, 1536], [SHOWN, SHOWN, KEY, SHOWN], key=[2])
    assert build(found, [0, 1, 2, 3], codec=codec).presentation.tolist() == shown


def test_an_entry_that_the_container_does_not_flag_counts_too() -> None:
    found = columns([0, 512, 1024], [SHOWN, KEY, SHOWN], key=[])
    index = build(found, [0, 1, 2])
    assert index.presentation.tolist() == [1, 2]
    assert index.entry.tolist() == [False, True, False]
    assert not index.key.any()


def test_a_frame_is_disposable_in_the_highest_temporal_layer_only() -> None:
    """In a lower one, those above may refer to it."""
    flags = [KEY, SHOWN | DISPOSABLE | 1 << LAYER_SHIFT, SHOWN | DISPOSABLE | 2 << LAYER_SHIFT]
    index = build(columns([0, 1024, 512], flags))
    assert index.disposable.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("step", "rate"),
    [(512, 25), (480, 25), (256, 50), (1024, Fraction(25, 2)), (0, 25)],
    ids=["as said", "nearly", "twice", "half", "no decode times"],
)
def test_the_average_rate_is_the_containers_unless_decode_times_belie_it(
    step: int, rate: Fraction
) -> None:
    found = columns(range(0, 5120, 512), dts=np.arange(10) * step)
    assert build(found, list(range(10))).average_rate == rate


def test_missing_decode_times_belie_nothing() -> None:
    found = columns([0, 512, 1024], dts=np.array([NO_PTS, 0, 9999]))
    assert build(found, [0, 1, 2]).average_rate == 25


@pytest.mark.parametrize(("durations", "seconds"), [([512, 512, 1024], 0.12), ([0, 0, 0], 0.12)])
def test_the_last_frame_shown_stays_as_long_as_it_says_or_as_the_rate_has_it(
    durations: list[int], seconds: float
) -> None:
    """The last one shown is the second in decode order."""
    found = columns([0, 1024, 512], duration=np.array(durations))
    assert build_index(STREAM, found, never).duration_seconds == seconds


def test_a_stream_without_a_packet() -> None:
    index = build(columns([], flags=[]), [])
    assert index.num_frames == 0
    assert index.duration_seconds == 0
    assert index.shown_pts.tolist() == index.shown_key.tolist() == []


@given(streams(), st.none() | st.integers(-600, 9000), st.none() | st.integers(-600, 9000))
def test_the_frames_within_a_span_are_those_with_times_in_it(
    stream: Stream, start: int | None, stop: int | None
) -> None:
    index = stream.index()
    found = np.arange(index.num_frames)[index.within(Span(start, stop))].tolist()
    assert found == [
        position
        for position, pts in enumerate(index.shown_pts.tolist())
        if (start is None or start <= pts) and (stop is None or pts < stop)
    ]
    part = index.within(Span(start, stop))
    assert part.stop - part.start == len(found)


def test_an_index_shows_what_it_holds_and_not_its_arrays() -> None:
    index = build_index(STREAM, columns([0, 1024, 512]), never)
    assert repr(index) == "PacketIndex(h264 64x48, 3 frames, 0.120 s)"
    assert index.shown_key.tolist() == [True, False, False]
