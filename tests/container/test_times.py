"""Good timestamps are kept, others are interpolated, and a clock that jumps continues."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from frames_pipeline import FrameExtractionSignature, FrameStore, extract_frames, probe
from frames_pipeline.container.times import NO_PTS, FrameTimes, frame_times
from tests.oracle import plain_decode
from tests.videos import X264, make_video, numbers_in

MS = Fraction(1, 1000)
EVERY = FrameExtractionSignature(policy="uniform", num_frames=48)

steps = st.sampled_from([20, 33, 40, 41, 280, 700])


def times_of(pts: Sequence[int], *, clock_may_jump: bool = False) -> FrameTimes:
    return frame_times(
        np.array(pts, np.int64),
        time_base=MS,
        rate=Fraction(25),
        clock_may_jump=clock_may_jump,
    )


class Faulty(NamedTuple):
    """Timestamps of a recording, some of them broken."""

    right: list[int]
    """The original timestamps."""
    given: list[int]
    """The container's timestamps."""
    broken: set[int]
    """Positions at which they differ."""
    kinds: set[str]
    """The kinds of faults."""


@st.composite
def faulty_times(draw: st.DrawFn) -> Faulty:
    """Draw timestamps with missing, repeated, far off or exchanged ones eight frames apart."""
    count = draw(st.integers(9, 80))
    right = list(accumulate(draw(st.lists(steps, min_size=count, max_size=count))))
    given, broken, kinds = right.copy(), set(), set()
    for at in range(4, count - 4, 8):
        kind = draw(st.sampled_from(["none", "missing", "repeated", "ahead", "back", "exchanged"]))
        match kind:
            case "none":
                continue
            case "missing":
                given[at] = NO_PTS
            case "repeated":
                given[at] = right[at - 1]
            case "ahead":
                given[at] = right[at + 3] + draw(st.integers(1, 2**40))
            case "back":
                given[at] = right[at - 3] - draw(st.integers(1, 2**40))
            case "exchanged":
                given[at], given[at + 1] = right[at + 1], right[at]
        kinds.add(kind)
        broken |= {at, at + 1} if kind == "exchanged" else {at}
    return Faulty(right, given, broken, kinds)


@given(faulty_times(), st.booleans())
def test_good_times_are_kept_and_the_others_lie_between_them(
    times: Faulty, clock_may_jump: bool
) -> None:
    found = times_of(times.given, clock_may_jump=clock_may_jump)
    event(f"{sorted(times.kinds)}")
    assert found.source == ("repaired" if times.broken else "container")
    assert bool(found.detail) == bool(times.broken)
    assert found.time_base == MS
    ticks = found.ticks.tolist()
    for at, (tick, right) in enumerate(zip(ticks, times.right, strict=True)):
        if at not in times.broken or times.kinds == {"exchanged"}:
            assert tick == right
        else:
            assert ticks[at - 1] < tick < ticks[at + 1]


@given(
    st.lists(st.just(NO_PTS) | st.integers(0, 30) | st.integers(-(2**62), 2**62), max_size=60),
    st.booleans(),
)
def test_whatever_is_given_times_increase_and_none_is_lost(
    pts: list[int], clock_may_jump: bool
) -> None:
    found = times_of(pts, clock_may_jump=clock_may_jump)
    event(found.source)
    assert len(found.ticks) == len(pts)
    assert np.all(np.diff(found.ticks) > 0)
    assert found.step > 0
    assert (found.source == "container") == (not found.detail)
    if found.source == "container":
        assert found.ticks.tolist() == pts
    if found.source == "counted":
        assert found.ticks.tolist() == list(range(len(pts)))
        assert found.time_base == Fraction(1, 25)
    if found.source == "repaired":  # kept in the container's unit, or divided evenly
        assert MS / found.time_base == int(MS / found.time_base)


@given(
    st.lists(steps, min_size=1, max_size=300),
    st.lists(st.tuples(st.integers(0, 299), st.integers(1, 2**40)), max_size=4),
)
def test_a_clock_that_jumps_ahead_bounds_how_long_a_frame_stays(
    durations: list[int], jumps: list[tuple[int, int]]
) -> None:
    """No frame stays longer than ten seconds, or 16 frames of its stream."""
    durations = durations.copy()
    for at, ahead in jumps:
        durations[at % len(durations)] += ahead
    pts = [0, *accumulate(durations)]
    found = times_of(pts, clock_may_jump=True)
    longest = max(10_000, 16 * int(np.median(durations)))
    event(found.source)
    assert np.all(np.diff(found.ticks) <= longest)
    if all(duration <= longest for duration in durations):
        assert found.ticks.tolist() == pts
    assert times_of(pts).ticks.tolist() == pts


@given(
    st.integers(8, 100), st.integers(8, 100), st.sampled_from([20, 33, 40]), st.integers(0, 2**40)
)
def test_a_recording_that_starts_over_continues_one_frame_later(
    first: int, second: int, step: int, back: int
) -> None:
    starts_at = (first - 1) * step - 4 * step - back
    pts = [n * step for n in range(first)] + [starts_at + n * step for n in range(second)]
    for clock_may_jump in (False, True):
        found = times_of(pts, clock_may_jump=clock_may_jump)
        assert found.ticks.tolist() == [n * step for n in range(first + second)]
        assert found.detail == "the clock jumps once"


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        ([], []),
        ([7], [7]),
        ([7, 7], [7, 47]),
        ([0, 40, 80, 80], [0, 40, 80, 120]),
        ([0, 0, 80, 120], [0, 40, 80, 120]),
        ([NO_PTS, 40, 80, 120], [0, 40, 80, 120]),
        ([0, 40, 80, NO_PTS, NO_PTS], [0, 40, 80, 120, 160]),
        ([9000, 0, 40, 80, 120], [-40, 0, 40, 80, 120]),
        ([0, 40, 80, 120, 9000, 160], [0, 40, 80, 120, 140, 160]),
        ([0, 40, 80, 120, 160, 5], [0, 40, 80, 120, 160, 200]),
        ([0, 40, 40, 40, 160, 200], [0, 40, 80, 120, 160, 200]),
    ],
)
def test_edges(pts: list[int], expected: list[int]) -> None:
    assert times_of(pts).ticks.tolist() == expected


def test_where_no_tick_is_left_between_two_times_ticks_are_divided() -> None:
    found = times_of([0, 1, 2, 2, 2, 3, 4, 5])
    assert found.time_base == MS / 3
    assert found.ticks.tolist() == [0, 3, 6, 7, 8, 9, 12, 15]
    assert (found.step, found.detail) == (3, "of 8 times, 2 repeated")


def test_the_longest_gap_of_a_slow_stream_is_a_matter_of_its_own_frames() -> None:
    """The transport stream consists of stills of 15 seconds each."""
    slow = [15_000 * n for n in range(10)]
    assert times_of(slow, clock_may_jump=True).source == "container"


def ivf(path: Path, pts: Sequence[int | None]) -> Path:
    """Write VP8, which does not reorder, with these timestamps."""
    make_video(path, frames=len(pts), codec="libvpx", options={"deadline": "realtime"})
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack("<II", 1000, 1)  # a clock of milliseconds
    at = 32
    for tick in pts:
        struct.pack_into("<Q", data, at + 4, tick)
        at += 12 + int.from_bytes(data[at : at + 4], "little")
    path.write_bytes(data)
    return path


def mkv(path: Path, pts: Sequence[int | None]) -> Path:
    """Write VP8 in Matroska with these timestamps."""
    make_video(path, frames=len(pts), codec="libvpx", options={"deadline": "realtime"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet, tick in zip(packets, pts, strict=True):
        at = data.index(packet)  # after the track number: 16 bits of time and a byte of flags
        struct.pack_into(">h", data, at - 3, tick)
    path.write_bytes(data)
    return path


def mp4(path: Path, pts: Sequence[int]) -> Path:
    """Write H.264 without B-frames; durations are patched, so pts must not decrease."""
    uneven = list(accumulate([0, *([40, 80] * len(pts))]))[: len(pts)]
    options = {"bf": "0", "g": "20"}
    make_video(path, frames=len(pts), codec="libx264", options=options, pts=uneven, time_base=MS)
    # the edit list would end at the old timestamps
    data = bytearray(path.read_bytes().replace(b"edts", b"free"))
    at = data.index(b"stts") + 8
    (count,) = struct.unpack_from(">I", data, at)
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0] // 1000
    assert count >= len(pts) - 1
    for entry, (tick, following) in enumerate(pairwise(pts)):
        struct.pack_into(">II", data, at + 4 + 8 * entry, 1, (following - tick) * scale)
    path.write_bytes(data)
    return path


SLOW_AND_FAST = list(accumulate([0, *([280] * 6), *([40] * 20), *([280] * 21)]))
"""48 frames in 7.84 seconds; spacing them at the average rate would move every frame."""


def with_time(at: int, tick: int) -> list[int]:
    return [*SLOW_AND_FAST[:at], tick, *SLOW_AND_FAST[at + 1 :]]


@pytest.mark.parametrize("write", [ivf, mkv, mp4])
@pytest.mark.parametrize("at", [10, 30])
def test_one_repeated_time_moves_no_other_frame(
    tmp_path: Path, write: Callable[[Path, Sequence[int | None]], Path], at: int
) -> None:
    given = with_time(at, SLOW_AND_FAST[at - 1])
    path = write(tmp_path / f"video.{write.__name__}", given)
    check(path, [*given[:at], (given[at - 1] + given[at + 1]) // 2, *given[at + 1 :]])
    assert probe(path).timestamps_detail == "of 48 times, 1 repeated"


@pytest.mark.parametrize("tick", [1860, 3_760_000], ids=["back", "ahead"])
def test_a_time_far_off_moves_no_other_frame(tmp_path: Path, tick: int) -> None:
    given = with_time(30, tick)
    path = ivf(tmp_path / "video.ivf", given)
    check(path, with_time(30, (given[29] + given[31]) // 2))
    assert probe(path).timestamps_detail == "of 48 times, 1 out of order"


def test_exchanged_times_are_exchanged_again(tmp_path: Path) -> None:
    given = SLOW_AND_FAST.copy()
    given[30], given[31] = given[31], given[30]
    path = ivf(tmp_path / "video.ivf", given)
    check(path, SLOW_AND_FAST)


def test_good_times_are_the_containers(tmp_path: Path) -> None:
    for write in (ivf, mkv, mp4):
        path = write(tmp_path / f"good.{write.__name__}", SLOW_AND_FAST)
        assert probe(path).timestamps == "container"
        check(path, SLOW_AND_FAST, timestamps="container")


def check(path: Path, ticks: Sequence[int], *, timestamps: str = "repaired") -> None:
    """Check that all frames are extracted, in plain decode order, at these milliseconds."""
    index = probe(path)
    batch = extract_frames(path, [EVERY])[EVERY]
    assert index.timestamps == batch.outcome.timestamps == timestamps
    assert index.timestamps_detail == batch.outcome.timestamps_detail
    assert batch.outcome.status == "ok"
    assert numbers_in(batch.frames) == list(range(len(ticks)))
    assert [tick * batch.time_base for tick in batch.pts.tolist()] == [t * MS for t in ticks]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], bytes]:
    """Make a transport stream with B-frames from its first picture and a start second."""
    folder = tmp_path_factory.mktemp("recordings")

    def made(first: int, seconds: int) -> bytes:
        path = folder / f"{first}-{seconds}.ts"
        pts = [90_000 * seconds + 3600 * n for n in range(24)]
        make_video(
            path, frames=24, first=first, options=X264, pts=pts, time_base=Fraction(1, 90_000)
        )
        return path.read_bytes()

    return made


@pytest.mark.parametrize("second", [3600, 0, 95_400], ids=["ahead", "back", "before it wraps"])
def test_a_transport_streams_clock_that_jumps_continues(
    tmp_path: Path, recording: Callable[[int, int], bytes], second: int
) -> None:
    path = tmp_path / "jumps.ts"
    path.write_bytes(recording(0, 0) + recording(24, second))
    index = probe(path)
    assert (index.timestamps, index.timestamps_detail) == ("repaired", "the clock jumps once")
    assert index.average_rate == 25
    assert index.duration_seconds == 48 / 25
    two_a_second = FrameExtractionSignature(target_fps=2)
    batches = extract_frames(path, [EVERY, two_a_second])
    assert numbers_in(batches[EVERY].frames) == list(range(48))
    assert len(batches[two_a_second]) == 5
    plain = [frame.rgb(48, 64) for frame in plain_decode(path)]
    assert numbers_in(np.stack(plain)) == list(range(48))


def test_a_transport_streams_short_gap_is_a_gap(
    tmp_path: Path, recording: Callable[[int, int], bytes]
) -> None:
    path = tmp_path / "gap.ts"
    path.write_bytes(recording(0, 0) + recording(24, 9))
    index = probe(path)
    assert index.timestamps == "container"
    assert index.duration_seconds == pytest.approx(9 + 24 / 25, abs=0.1)


def test_what_was_found_is_stored_with_the_frames(tmp_path: Path) -> None:
    path = ivf(tmp_path / "video.ivf", with_time(30, SLOW_AND_FAST[29]))
    store = FrameStore(str(tmp_path / "store"))
    commits = store.write_clip("batch", "clip", extract_frames(path, [EVERY]))
    assert commits
    store.commit_batch("batch", EVERY)
    outcome = store.read("batch", EVERY, "clip").outcome
    assert (outcome.timestamps, outcome.timestamps_detail) == (
        "repaired", "of 48 times, 1 repeated",
    )  # fmt: skip
