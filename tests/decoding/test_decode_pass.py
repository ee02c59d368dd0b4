"""What damage may have touched is marked, and what it cannot have touched is not."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import event, given
from hypothesis import strategies as st

from frames_pipeline import (
    FrameBatch,
    FrameExtractionSignature,
    NoFramesError,
    PyavDecoder,
    extract_frames,
)
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.decoding.backends import Decoded, Tally
from frames_pipeline.decoding.decode_pass import (
    DecodedFrame,
    DecodePass,
    GroupDone,
    PlanFailedError,
)
from frames_pipeline.decoding.plan import DecodePlan, entry_rows, plan_decode, plan_linear
from tests.streams import Stream, streams
from tests.videos import X264, make_video

EVERY = FrameExtractionSignature(target_fps=25)
FAULTS = ("error", "flagged", "absent")


@dataclass
class MadeUpDecoder:
    """Decodes a made-up stream; what cannot be decoded is concealed, as decoders do."""

    stream: Stream
    faults: dict[int, str]
    """By row: an error instead of a frame, a frame that is called corrupt, or nothing at all."""
    exact: set[int] = field(default_factory=set)
    """Rows whose frames came out as they are meant to be, in the last pass."""
    flagged: set[int] = field(default_factory=set)
    """Rows whose frames are called corrupt: by a fault, or as they refer to what was not fed."""
    name: str = "made up"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        order = self.stream.order()
        waiting: list[tuple[int, int]] = []
        fed: set[int] = set()
        for row in rows:
            fed.add(row)
            fault = self.faults.get(row)
            if fault == "flagged" or not self.stream.refs[row] <= fed:
                self.flagged.add(row)
            if fault is None and self.stream.refs[row] <= self.exact & fed:
                self.exact.add(row)
            else:
                self.exact.discard(row)
            if fault == "error":
                yield Decoded(row, None, "broken")
            if fault in {"error", "absent"} or order[row] < 0:
                continue
            heapq.heappush(waiting, (order[row], row))
            if len(waiting) > 8:
                yield self._frame(heapq.heappop(waiting)[1])
        while waiting:
            yield self._frame(heapq.heappop(waiting)[1])

    def _frame(self, row: int) -> Decoded:
        frame = SimpleNamespace(is_corrupt=row in self.flagged)
        return Decoded(row, cast(VideoFrame, frame))


@st.composite
def damaged_streams(draw: st.DrawFn) -> tuple[Stream, dict[int, str]]:
    """A stream and what is wrong with it, if anything is."""
    stream = draw(streams())
    faults: dict[int, str] = {}
    for row in draw(st.lists(st.integers(0, len(stream) - 1), max_size=3)):
        seen = list(FAULTS)
        if row in stream.discarded:
            seen.remove("absent")
        if row in stream.hidden:
            seen = ["error"]
        faults[row] = draw(st.sampled_from(seen))
    return stream, faults


def sweep_over(stream: Stream, plan: DecodePlan, **changed: Any) -> DecodePass:
    media = SimpleNamespace(
        index=stream.index(**changed), packets=SimpleNamespace(ended_early=""), name="made up"
    )
    return DecodePass(cast(Media, media), plan)


@given(damaged_streams())
def test_a_frame_without_a_mark_is_exact(case: tuple[Stream, dict[int, str]]) -> None:
    stream, faults = case
    index, decoder = stream.index(), MadeUpDecoder(stream, faults)
    sweep = sweep_over(stream, plan_linear(index, index.presentation, reason="damage"))
    shown = set(index.presentation.tolist())
    arrived = {e.row for e in sweep.frames(decoder, Tally()) if isinstance(e, DecodedFrame)} & shown

    absent = {row for row, fault in faults.items() if fault != "flagged"}
    assert arrived == shown - absent
    for row in arrived:
        assert row in decoder.exact or sweep.is_suspect(row)
    event(f"inexact: {min(len(arrived - decoder.exact), 5)}")


@given(damaged_streams())
def test_a_mark_is_held_against_what_stands_between_entry_and_frame(
    case: tuple[Stream, dict[int, str]],
) -> None:
    """And not against frames that nobody refers to."""
    stream, faults = case
    index = stream.index()
    last = int(index.presentation.max(initial=-1))
    sweep = sweep_over(stream, plan_linear(index, index.presentation, reason="damage"))
    list(sweep.frames(MadeUpDecoder(stream, faults), Tally()))

    entries = entry_rows(index)
    seen = {row for row in faults if row <= last}
    for row in range(last + 1):
        behind = {d for d in seen if entries[row] <= d < row and d not in stream.droppable}
        assert sweep.is_suspect(row) == bool(behind or row in seen)
    assert bool(sweep.complaint) == bool(seen)


@given(damaged_streams(), st.data())
def test_a_plan_either_gives_exact_frames_or_fails(
    case: tuple[Stream, dict[int, str]], data: st.DataObject
) -> None:
    """Damage that the plan does not come across is no reason to fail."""
    stream, faults = case
    index, decoder = stream.index(), MadeUpDecoder(stream, faults)
    shown = np.sort(index.presentation)
    wanted = shown[[data.draw(st.integers(0, 3)) == 0 for _ in shown]]
    plan = plan_decode(index, wanted)
    sweep = sweep_over(stream, plan)
    fed = {row for run in plan.runs for row in run.tolist()}
    arrived: set[int] = set()
    try:
        for item in sweep.frames(decoder, Tally()):
            if isinstance(item, DecodedFrame):
                arrived.add(item.row)
    except PlanFailedError:
        event("failed")
        assert fed & set(faults)
        return
    event("exact")
    assert set(wanted.tolist()) <= arrived & decoder.exact
    assert not any(sweep.is_suspect(row) for row in wanted.tolist())


@given(damaged_streams())
def test_what_is_settled_stays_so(case: tuple[Stream, dict[int, str]]) -> None:
    """No frame of a settled row comes later, and its mark does not change."""
    stream, faults = case
    index = stream.index()
    sweep = sweep_over(stream, plan_linear(index, index.presentation, reason="damage"))
    settled, marks = 0, []
    for item in sweep.frames(MadeUpDecoder(stream, faults), Tally()):
        if isinstance(item, GroupDone):
            assert item.before >= settled
            settled = item.before
            marks = [sweep.is_suspect(row) for row in range(settled)]
        else:
            assert item.row >= settled
        assert [sweep.is_suspect(row) for row in range(settled)] == marks
    assert settled == index.presentation.max(initial=-1) + 1


def test_lost_bytes_are_held_against_frames_even_if_nobody_refers_to_the_packet() -> None:
    """Whole packets may be lost behind it."""
    stream = Stream(refs=[set(), {0}, {0, 1}, {1}], place=[0, 2, 1, 3], flagged={0}, droppable={2})
    lost = np.array([False, False, True, False])
    index = stream.index(corrupt=lost)
    sweep = sweep_over(stream, plan_decode(index, np.arange(4)), corrupt=lost)
    list(sweep.frames(MadeUpDecoder(stream, {}), Tally()))
    assert [sweep.is_suspect(row) for row in range(4)] == [False, False, True, True]
    assert sweep.complaint == (
        "packet 2: bytes are lost, or pictures that it is predicted from, as of 1 in all"
    )


def test_damage_of_a_packet_with_parameter_sets_is_held_against_all_behind_it() -> None:
    """A decoder that refused the packet may lack its parameter sets at later entry points too."""
    stream = Stream(refs=[set(), set(), {1}, set(), {3}], place=[0, 1, 2, 3, 4], flagged={0, 1, 3})
    sets = np.array([False, True, False, False, False])
    plan = plan_linear(stream.index(), np.arange(5), reason="damage")
    sweep = sweep_over(stream, plan, sets=sets)
    list(sweep.frames(MadeUpDecoder(stream, {1: "flagged"}), Tally()))
    assert [sweep.is_suspect(row) for row in range(5)] == [False, True, True, True, True]


@dataclass(frozen=True)
class Losing:
    """FFmpeg's decoder, from which one packet is kept; what follows is concealed by FFmpeg."""

    lost: int
    name: str = "losing"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        kept = [row for row in rows if row != self.lost]
        if len(kept) < len(rows):
            yield Decoded(self.lost, None, "lost")
        if kept:
            yield from PyavDecoder().decode(media, kept, tally)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames, every one different all over, in open groups of 10 with pyramids."""
    options = {"x264-params": "keyint=10:bframes=3:open-gop=1:scenecut=0:b-pyramid=normal"}
    return make_video(tmp_path_factory.mktemp("sweep") / "v.mp4", frames=30, options=options)


def changed_positions(batch: FrameBatch, intact: FrameBatch) -> set[int]:
    """Positions whose pixels are not those of the intact video."""
    return {
        position
        for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True)
        if not np.array_equal(pixels, intact.frames[position])
    }


def test_no_frame_that_a_lost_packet_changes_goes_without_a_mark(moving: Path) -> None:
    """With FFmpeg's own concealment, for every packet in turn."""
    with open_media(moving) as media:
        index = media.index
    intact = extract_frames(moving, [EVERY])[EVERY]
    entries, touched = entry_rows(index), 0
    for lost in range(1, len(index.order)):  # without the first one nothing decodes at all
        batch = extract_frames(moving, [EVERY], decoder=Losing(lost))[EVERY]
        position = index.presentation.tolist().index(lost)
        changed = changed_positions(batch, intact)
        touched += len(changed)
        assert batch.outcome.missing == (position,)
        assert changed <= set(batch.outcome.corrupt)
        may = {lost} if index.disposable[lost] else set(range(lost, len(index.order)))
        marked = {p for p, row in enumerate(index.presentation) if row in may}
        marked = {p for p in marked if entries[index.presentation[p]] <= lost} - {position}
        assert set(batch.outcome.corrupt) == marked
    assert touched > 30


X265 = {"x265-params": "keyint=12:bframes=3:log-level=none:pools=none"}
PREDICTED = [
    pytest.param("libx264", X264, id="h264"),
    pytest.param("libx264", {"x264-params": "keyint=12:bframes=3:tff=1"}, id="h264 in fields"),
    pytest.param("libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1"}, id="h264, open"),
    pytest.param("libx265", X265, id="hevc"),
]


def without_packet(path: Path, lost: int, copy: Path) -> Path:
    """The video as if one packet had never been there: its container knows nothing of it."""
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for row, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if row != lost:
                packet.stream = stream
                target.mux(packet)
    return copy


@pytest.mark.parametrize(("codec", "options"), PREDICTED)
def test_no_frame_that_a_packet_which_is_not_there_changes_goes_without_a_mark(
    codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    """Whichever frames are wanted. HEVC's decoder gives no frame that lacks a reference."""
    video = make_video(tmp_path / "v.mkv", codec=codec, options=options, frames=30, size=(96, 128))
    whole = extract_frames(video, [EVERY])[EVERY]
    assert whole.outcome.status == "ok"
    intact = dict(zip(whole.pts.tolist(), whole.frames, strict=True))
    wanted = [
        EVERY,
        FrameExtractionSignature(policy="last"),
        FrameExtractionSignature(target_fps=7),
    ]
    changed = marked = 0
    for lost in range(1, 29):
        copy = without_packet(video, lost, tmp_path / "copy.mkv")
        for signature in wanted:
            try:
                batch = extract_frames(copy, [signature])[signature]
            except NoFramesError:
                continue
            for pts, pixels, mark in zip(batch.pts, batch.frames, batch.corrupt, strict=True):
                is_same = np.array_equal(pixels, intact[int(pts)])
                assert is_same or mark, f"without packet {lost}: frame at {pts}"
                changed, marked = changed + (not is_same), marked + int(mark)
    assert (changed > 50) == (codec == "libx264")
    assert changed <= marked < 28 * 20


def damaged_at(path: Path, row: int, seed: int) -> bytes:
    """A video with four bytes of a packet changed."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        place, size = packets[row].pos, packets[row].size
    assert place is not None
    random, data = np.random.default_rng(seed), bytearray(path.read_bytes())
    for at in random.integers(place + 10, place + size, size=4):
        data[at] ^= random.integers(1, 256)
    return bytes(data)


def test_damage_of_frames_that_an_edit_list_hides_is_held_against_those_after(
    tmp_path: Path,
) -> None:
    """As it is where the same frames are shown."""
    options = X264 | {"crf": "1"}
    every: dict[str, Any] = {"frames": 12, "size": (96, 128), "options": options}
    shown = make_video(tmp_path / "shown.mp4", **every)
    hidden = make_video(tmp_path / "hidden.mp4", **every, pts=range(-6, 6))
    noticed = 0
    for row in range(3):
        for seed in range(3):
            openly = extract_frames(damaged_at(shown, row, seed), [EVERY])[EVERY]
            behind = extract_frames(damaged_at(hidden, row, seed), [EVERY])[EVERY]
            expected = {position - 6 for position in openly.outcome.corrupt if position >= 6}
            assert set(behind.outcome.corrupt) == expected
            noticed += len(expected)
    assert noticed
