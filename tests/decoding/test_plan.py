"""A plan feeds all that the wanted frames are predicted from, from a point of entry, and stops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline.decoding.plan import entry_rows, plan_decode, plan_linear
from tests.streams import Stream, streams

OPEN_GROUPS = Stream(
    #    I0    P1   b2      I3     b4(leading) b5        P6   b7
    refs=[set(), {0}, {0, 1}, set(), {1, 3}, {1, 3, 4}, {3}, {3, 6}],
    place=[0, 2, 1, 5, 3, 4, 7, 6],
    flagged={0, 3},
    droppable={2, 5, 7},
)


@st.composite
def streams_and_wanted(draw: st.DrawFn) -> tuple[Stream, NDArray[np.int64]]:
    """A stream, and some of the rows that it shows."""
    stream = draw(streams())
    shown = np.sort(stream.index().presentation).tolist()
    wanted = draw(st.sets(st.sampled_from(shown), min_size=1, max_size=6)) if shown else set()
    return stream, np.array(sorted(wanted), np.int64)


def runs_of(stream: Stream, wanted: list[int]) -> list[list[int]]:
    plan = plan_decode(stream.index(), np.array(wanted, np.int64))
    return [run.tolist() for run in plan.runs]


def test_a_run_starts_at_the_last_entry_and_ends_with_the_last_wanted_row() -> None:
    assert runs_of(OPEN_GROUPS, [1]) == [[0, 1]]
    assert runs_of(OPEN_GROUPS, [6]) == [[3, 4, 6]]  # row 4 may be referred to, for all one knows
    assert runs_of(OPEN_GROUPS, [7]) == [[3, 4, 6, 7]]


def test_a_leading_picture_needs_the_group_before() -> None:
    assert entry_rows(OPEN_GROUPS.index()).tolist() == [0, 0, 0, 3, 0, 0, 3, 3]
    assert runs_of(OPEN_GROUPS, [4]) == [[0, 1, 3, 4]]
    assert runs_of(OPEN_GROUPS, [5]) == [[0, 1, 3, 4, 5]]


def test_leading_pictures_of_hevc_are_left_out_unless_wanted() -> None:
    """No other picture may refer to them."""
    hevc = Stream(**(vars(OPEN_GROUPS) | {"codec": "hevc"}))
    assert runs_of(hevc, [6]) == [[3, 6]]
    assert runs_of(hevc, [5, 6]) == [[0, 1, 3, 4, 5, 6]]


def test_wanted_rows_of_one_stretch_share_a_run() -> None:
    assert runs_of(OPEN_GROUPS, [2, 7]) == [[0, 1, 2, 3, 4, 6, 7]]  # they touch
    assert runs_of(OPEN_GROUPS, [1, 7]) == [[0, 1], [3, 4, 6, 7]]
    assert runs_of(OPEN_GROUPS, []) == []


@given(streams_and_wanted())
def test_all_that_a_wanted_frame_is_predicted_from_is_fed_in_its_run(
    case: tuple[Stream, NDArray[np.int64]],
) -> None:
    stream, wanted = case
    plan = plan_decode(stream.index(), wanted)
    fed = [set(run.tolist()) for run in plan.runs]
    event(f"runs: {len(fed)}")
    for row in wanted.tolist():
        [run] = [run for run in fed if row in run]
        assert stream.needed_by(row) <= run


@given(streams_and_wanted())
def test_a_run_is_from_an_entry_to_a_wanted_row_in_decode_order(
    case: tuple[Stream, NDArray[np.int64]],
) -> None:
    stream, wanted = case
    index = stream.index()
    before = -1
    for run in plan_decode(index, wanted).runs:
        assert run[0] == 0 or index.entry[run[0]]
        assert run[-1] in wanted
        assert before < run[0]
        assert np.all(np.diff(run) > 0)
        before = int(run[-1])


@given(streams())
def test_the_entry_of_a_row_is_the_last_that_is_not_shown_after_it(stream: Stream) -> None:
    index = stream.index()
    order = index.order.tolist()
    for row, entry in enumerate(entry_rows(index).tolist()):
        possible = [
            e for e in stream.flagged if e <= row and (order[row] < 0 or order[e] <= order[row])
        ]
        assert entry == max(possible, default=0)


@given(streams_and_wanted())
def test_what_nobody_needs_is_not_fed(case: tuple[Stream, NDArray[np.int64]]) -> None:
    stream, wanted = case
    index = stream.index()
    for run in plan_decode(index, wanted).runs:
        if index.entry[run[0]]:  # else the decoder recovers somewhere, and all of it is fed
            assert not np.any(index.disposable[np.setdiff1d(run[1:], wanted)])


def sure_references(stream: Stream) -> Callable[[int, int], list[list[int]]]:
    """What headers tell where they name the frames that each one is predicted from."""
    return lambda start, stop: [sorted(rows) for rows in stream.refs[start:stop]]


@given(streams_and_wanted())
def test_where_references_are_known_nothing_else_is_fed(
    case: tuple[Stream, NDArray[np.int64]],
) -> None:
    stream, wanted = case
    index = stream.index()
    covered: set[int] = set()
    for run in plan_decode(index, wanted, sure_references(stream)).runs:
        rows = set(run.tolist())
        own = rows & set(wanted.tolist())
        needed = set().union(*(stream.needed_by(row) for row in own))
        if index.entry[run[0]]:
            assert rows == needed | {int(run[0])}
        assert needed <= rows
        covered |= own
    assert covered == set(wanted.tolist())


def test_a_reference_to_before_the_entry_is_not_believed() -> None:
    """A header that had to be guessed names more than there is; decoding may start there."""
    guessed = [[0], [0], [0, 1], [0, 2], [3]]
    stream = Stream(
        refs=[set(), {0}, {0, 1}, set(), {3}], place=[0, 2, 1, 3, 4], flagged={0, 3}, droppable={2}
    )
    plan = plan_decode(stream.index(), np.array([4]), lambda start, stop: guessed[start:stop])
    assert [run.tolist() for run in plan.runs] == [[3, 4]]


@given(streams_and_wanted())
def test_a_linear_plan_feeds_everything_that_a_plan_does(
    case: tuple[Stream, NDArray[np.int64]],
) -> None:
    stream, wanted = case
    plan, linear = (
        plan_decode(stream.index(), wanted),
        plan_linear(stream.index(), wanted, reason="damage"),
    )
    assert linear.is_linear
    assert linear.reason == "damage"
    assert not plan.is_linear
    assert plan.packets <= linear.packets
    [everything] = linear.runs
    np.testing.assert_array_equal(everything, np.arange(wanted.max(initial=-1) + 1))
    assert all(np.isin(run, everything).all() for run in plan.runs)


@given(streams_and_wanted(), st.data())
def test_wanting_more_never_feeds_less(
    case: tuple[Stream, NDArray[np.int64]], data: st.DataObject
) -> None:
    stream, wanted = case
    fewer = wanted[[data.draw(st.booleans()) for _ in wanted]]
    more, less = (
        {row for run in plan_decode(stream.index(), rows).runs for row in run.tolist()}
        for rows in (wanted, fewer)
    )
    assert less <= more


@given(streams_and_wanted(), st.data())
def test_known_damage_anywhere_means_everything_from_the_start(
    case: tuple[Stream, NDArray[np.int64]], data: st.DataObject
) -> None:
    stream, wanted = case
    lost = np.zeros(len(stream), np.bool_)
    lost[data.draw(st.integers(0, len(stream) - 1))] = True
    plan = plan_decode(stream.index(corrupt=lost), wanted)
    assert plan.is_linear
    assert plan.packets == wanted.max(initial=-1) + 1


def test_the_decoder_is_flushed_where_an_edit_starts() -> None:
    """Two edits show the same group: rows 3 to 5 repeat the packets of rows 0 to 2."""
    twice = Stream(
        refs=[set(), {0}, {0, 1}, set(), {3}, {3, 4}],
        place=[0, 2, 1, 3, 5, 4],
        flagged={0, 3},
        droppable=set(),
    )
    wanted = np.array([2, 4])
    edits = twice.index(edits=np.array([3]))
    assert [run.tolist() for run in plan_decode(edits, wanted).runs] == [[0, 1, 2], [3, 4]]
    assert [run.tolist() for run in plan_decode(twice.index(), wanted).runs] == [[0, 1, 2, 3, 4]]
    linear = plan_linear(edits, wanted, reason="damage was met")
    assert [run.tolist() for run in linear.runs] == [[0, 1, 2], [3, 4]]
    before = plan_linear(edits, np.array([2]), reason="damage was met")
    assert [run.tolist() for run in before.runs] == [[0, 1, 2]]
