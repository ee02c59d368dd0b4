"""The index says which frames are shown, and in which order, by timestamps that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from frames_pipeline import PacketIndex, UnsupportedSourceError
from frames_pipeline.bitstream import DISPOSABLE, ENTRY, LAYER_SHIFT, SHOWN
from frames_pipeline.index import NO_PTS, PacketColumns, StreamFacts, build_index
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
)
def test_timestamps_are_trusted_if_there_is_one_each_and_they_never_jump_back(
    pts: list[int], keys: set[int]
) -> None:
    """Back is: to before the key frame that came before the last one."""
    keys = {0, *(key for key in keys if key < len(pts))}
    jumps = any(
        pts[row] < pts[earlier]
        for row in range(len(pts))
        for key in keys
        for earlier in keys
        if earlier < key <= row
    )
    trusted = NO_PTS not in pts and len(set(pts)) == len(pts) and not jumps
    event(f"trusted: {trusted}")
    told = list(np.argsort(np.argsort(pts, kind="stable"), kind="stable"))
    index = build(columns(pts, key=sorted(keys)), [int(rank) for rank in told])

    assert index.timestamps == ("container" if trusted else "counted")
    assert np.all(np.diff(index.shown_pts) > 0)
    if trusted:
        assert index.shown_pts.tolist() == sorted(pts)
    else:
        assert index.shown_pts.tolist() == list(range(len(pts)))
        assert index.time_base == Fraction(1, 25)
        assert index.presentation.tolist() == np.argsort(told).tolist()


@pytest.mark.parametrize(
    "pts",
    [[0, 1536, 512, 512], [0, 1536, NO_PTS, 1024], [NO_PTS] * 4],
    ids=["repeated", "one missing", "all missing"],
)
def test_frames_are_counted_in_the_order_that_headers_tell(pts: list[int]) -> None:
    index = build(columns(pts, discard=np.array([True, False, False, False])), [0, 3, 1, 2])
    assert index.timestamps == "counted"
    assert index.order.tolist() == [0, 3, 1, 2]
    assert index.presentation.tolist() == [2, 3, 1]
    assert index.shown_pts.tolist() == [0, 1, 2]
    assert index.pts.tolist() == [NO_PTS, 2, 0, 1]
    assert (index.time_base, index.last_duration) == (Fraction(1, 25), 1)
    assert index.duration_seconds == 3 / 25


def test_a_recording_that_starts_over_is_counted() -> None:
    index = build(columns([9000, 9512, 0, 512], key=[0, 2]), [0, 1, 2, 3])
    assert index.timestamps == "counted"
    assert index.presentation.tolist() == [0, 1, 2, 3]


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


def test_an_index_shows_what_it_holds_and_not_its_arrays() -> None:
    index = build_index(STREAM, columns([0, 1024, 512]), never)
    assert repr(index) == "PacketIndex(h264 64x48, 3 frames, 0.120 s)"
    assert index.shown_key.tolist() == [True, False, False]
