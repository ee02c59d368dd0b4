"""Several clips and signatures share one pass, and each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import (
    DecodeReport,
    FrameExtractionSignature,
    LimitExceededError,
    Limits,
    NoFramesError,
    PyavDecoder,
    SourceError,
    UnsupportedSourceError,
    probe,
)
from frames_pipeline.clips import Span
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.decoding.assembly import ClipAssembler, Converted, FramesBySignature
from frames_pipeline.decoding.backends import Decoded, Tally
from frames_pipeline.decoding.convert import Converter, PixelSpec, Size
from frames_pipeline.extract import extract_spans
from tests.streams import Stream
from tests.videos import X264, make_video, numbers_in

FIRST = FrameExtractionSignature(policy="first")
LAST = FrameExtractionSignature(policy="last")
EVERY = FrameExtractionSignature(target_fps=25)
KEYS = FrameExtractionSignature(policy="keyframes")
SMALL = FrameExtractionSignature(policy="first", target_res=(24, 32))
TICK = 512
"""Between two frames of the video fixture, at 1/12800 s."""


def spans_of(
    path: Path, spans: list[Span], signatures: list[FrameExtractionSignature], **limits: int
) -> dict[int, FramesBySignature | SourceError]:
    with open_media(path, Limits(**limits)) as media:
        return dict(extract_spans(media, spans, signatures, decoder=PyavDecoder()))


def batches_of(result: FramesBySignature | SourceError) -> FramesBySignature:
    assert not isinstance(result, SourceError), result
    return result


class Conversions(list[int]):
    """The pts of every frame that is converted, as often as it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        convert = Converter.convert

        def counting(self_: Converter, frame: Any, spec: PixelSpec, out: NDArray[np.uint8]) -> None:
            self.append(frame.pts)
            convert(self_, frame, spec, out)

        monkeypatch.setattr(Converter, "convert", counting)


@given(st.lists(st.tuples(st.integers(-2, 50), st.integers(0, 20)), min_size=1, max_size=6))
@settings(max_examples=15)
def test_clips_of_one_pass_hold_their_own_frames(
    video: Path, starts_and_lengths: list[tuple[int, int]]
) -> None:
    """Overlapping, nested, equal, empty, and beyond the ends; the pictures tell which they are."""
    spans = [Span(at * TICK, (at + length) * TICK) for at, length in starts_and_lengths]
    results = spans_of(video, spans, [EVERY, LAST])

    assert sorted(results) == list(range(len(spans)))
    for number, (at, length) in enumerate(starts_and_lengths):
        expected = [p for p in range(48) if at <= p < at + length]
        result = results[number]
        if not expected:
            assert isinstance(result, NoFramesError)
            continue
        batches = batches_of(result)
        assert numbers_in(batches[EVERY].frames) == expected
        assert batches[EVERY].positions.tolist() == expected
        assert numbers_in(batches[LAST].frames) == expected[-1:]
        assert batches[LAST].outcome.candidates == len(expected)


def test_a_clip_without_frames_is_told_at_once_and_holds_up_no_other(video: Path) -> None:
    spans = [Span(0, TICK), Span(100 * TICK, None), Span(3, 4), Span(None, 0), Span(TICK, TICK)]
    with open_media(video) as media:
        results = list(extract_spans(media, spans, [FIRST], decoder=PyavDecoder()))

    assert [number for number, _ in results] == [1, 2, 3, 4, 0]
    errors = [str(error) for _, error in results[:4]]
    assert errors == [
        f"no frame between {span}; timestamps run from 0 to {47 * TICK}"
        for span in ("51200 and the end", "3 and 4", "the start and 0", "512 and 512")
    ]
    assert numbers_in(batches_of(results[4][1])[FIRST].frames) == [0]


def test_a_clip_comes_as_soon_as_its_last_frame_is_settled(video: Path) -> None:
    """Not after the whole video, so that little is held in memory."""
    spans = [Span(24 * TICK, 36 * TICK), Span(0, 12 * TICK)]
    with open_media(video) as media:
        results = extract_spans(media, spans, [EVERY], decoder=PyavDecoder())
        number, first = next(results)
        assert number == 1
        fed = batches_of(first)[EVERY].outcome.decode.packets_fed
        assert fed < 24
        number, second = next(results)
        assert number == 0
        fed += batches_of(second)[EVERY].outcome.decode.packets_fed
        assert fed == 24  # two groups of 12, the one between them left out


def test_a_frame_is_converted_once_per_size_whoever_takes_it(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = Conversions(monkeypatch)
    fifty = FrameExtractionSignature(target_fps=50)
    spans = [Span(0, 4 * TICK), Span(0, 2 * TICK), Span(None, 4 * TICK)]
    results = spans_of(video, spans, [EVERY, FIRST, SMALL, KEYS, fifty])

    assert len(conversions) == 4 + 1  # four frames as they are, the first one small as well
    for number, count in enumerate([4, 2, 4]):
        batches = batches_of(results[number])
        assert numbers_in(batches[EVERY].frames) == list(range(count))
        repeated = [p for p in range(count) for _ in range(2)][:-1]
        assert numbers_in(batches[fifty].frames) == repeated
    small = [batches_of(results[number])[SMALL].frames for number in range(3)]
    np.testing.assert_array_equal(small[0], small[1])
    np.testing.assert_array_equal(small[0], small[2])


def test_no_batch_shares_pixels_with_another(video: Path) -> None:
    results = spans_of(video, [Span(), Span()], [FIRST, EVERY])
    batches = [batch for result in results.values() for batch in batches_of(result).values()]
    batches[0].frames[...] = 7
    assert all(numbers_in(batch.frames)[0] == 0 for batch in batches[1:])


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of 48x64, then 24 of 24x32."""
    folder = tmp_path_factory.mktemp("changing")
    big = make_video(folder / "big.ts", frames=24, options=X264)
    small = make_video(folder / "small.ts", frames=24, size=(24, 32), options=X264, first=24)
    path = folder / "both.ts"
    path.write_bytes(big.read_bytes() + small.read_bytes())
    return path


def test_a_clip_has_the_size_of_its_own_first_frame(changing: Path) -> None:
    """Whatever the frames before it in the video are; 24 is the first of the smaller ones."""
    times = probe(changing).shown_pts.tolist()
    spans = [Span(times[a], times[b]) for a, b in ((20, 28), (24, 30), (0, 24))]
    results = spans_of(changing, spans, [EVERY, LAST])

    across, after, before = (batches_of(results[number]) for number in range(3))
    assert across[EVERY].frames.shape == (8, 48, 64, 3)
    assert numbers_in(across[EVERY].frames) == list(range(20, 28))
    assert across[LAST].frames.shape == (1, 24, 32, 3)
    assert after[EVERY].frames.shape == (6, 24, 32, 3)
    assert numbers_in(after[EVERY].frames) == list(range(24, 30))
    assert before[EVERY].frames.shape == (24, 48, 64, 3)
    for number, span in enumerate(spans):
        [alone] = spans_of(changing, [span], [EVERY, LAST]).values()
        for signature, batch in batches_of(alone).items():
            assert batch.digest() == batches_of(results[number])[signature].digest()


def test_one_clip_over_a_limit_ends_alone(video: Path) -> None:
    frame = 48 * 64 * 3
    results = spans_of(
        video, [Span(0, 4 * TICK), Span(0, 5 * TICK)], [EVERY], max_clip_bytes=4 * frame
    )
    assert len(batches_of(results[0])[EVERY]) == 4
    assert isinstance(results[1], LimitExceededError)
    assert str(results[1]).startswith("5 frames of 64x48 take 46080 bytes, and the limit is 36864")


def test_one_clip_that_wants_too_many_frames_ends_alone(video: Path) -> None:
    results = spans_of(video, [Span(0, 4 * TICK), Span()], [EVERY], max_frames=4)
    assert len(batches_of(results[0])[EVERY]) == 4
    assert isinstance(results[1], LimitExceededError)


def collection(span: Span, *signatures: FrameExtractionSignature) -> ClipAssembler:
    """Of a made-up stream of five frames, the second in decode order shown last."""
    stream = Stream(refs=[set()] * 5, place=[0, 4, 1, 2, 3], flagged={0})
    return ClipAssembler(stream.index(), span, signatures, Limits())


class OneColour:
    """A frame that is all of one level."""

    def __init__(self, level: int) -> None:
        self.level = level

    def size(self, spec: PixelSpec) -> Size:
        return Size(2, 2)

    def write(self, spec: PixelSpec, out: NDArray[np.uint8]) -> None:
        out[...] = self.level


class Unconvertible(OneColour):
    """A frame that swscale refuses."""

    def __init__(self) -> None:
        super().__init__(0)

    def write(self, spec: PixelSpec, out: NDArray[np.uint8]) -> None:
        raise av.ArgumentError(22, "no such layout")


def put(clip: ClipAssembler, *positions: int) -> None:
    for position in positions:
        clip.put(position, cast(Converted, OneColour(position)))


def finish(clip: ClipAssembler, suspect: tuple[int, ...] = ()) -> FramesBySignature:
    result = clip.finish(
        DecodeReport("made up"), is_suspect=lambda row: row in suspect, complaint="it broke"
    )
    return batches_of(result)


def test_a_clip_is_done_with_the_last_row_in_decode_order() -> None:
    """Which need not be the row of the last frame."""
    assert collection(Span(), LAST).last_row(with_neighbours=False) == 1
    assert collection(Span(), EVERY).last_row(with_neighbours=False) == 4
    assert collection(Span(2, 4), EVERY).last_row(with_neighbours=False) == 4
    assert collection(Span(2, 4), EVERY).positions.tolist() == [2, 3]


def test_frames_that_did_not_come_are_missing_and_repeats_with_them() -> None:
    fifty = FrameExtractionSignature(target_fps=50)
    clip = collection(Span(), fifty, LAST)
    put(clip, 0, 3, 2)
    batches = finish(clip, suspect=(3, 4))

    batch = batches[fifty]
    assert batch.positions.tolist() == [0, 0, 2, 2, 3, 3]
    assert batch.frames[:, 0, 0, 0].tolist() == [0, 0, 2, 2, 3, 3]
    assert batch.outcome.missing == (1, 4)
    assert batch.corrupt.tolist() == [False, False, True, True, True, True]
    assert batch.outcome.corrupt == (2, 3)
    assert batch.outcome.detail == "it broke"
    assert len(batches[LAST]) == 0
    assert batches[LAST].outcome.missing == (4,)


def test_damage_elsewhere_is_not_this_signatures() -> None:
    clip = collection(Span(), FIRST, EVERY)
    put(clip, 0, 1, 2, 3, 4)
    batches = finish(clip, suspect=(4,))
    assert (batches[FIRST].outcome.status, batches[FIRST].outcome.detail) == ("ok", "")
    assert batches[EVERY].outcome.corrupt == (3,)


def test_a_clip_of_which_no_frame_came_is_an_error_that_says_why() -> None:
    clip = collection(Span(), EVERY)
    result = clip.finish(DecodeReport("made up"), is_suspect=bool, complaint="it broke")
    assert isinstance(result, NoFramesError)
    assert str(result) == "none of 5 wanted frames decodes: it broke"


def test_what_came_can_be_forgotten() -> None:
    """And why the rest did not: frames that damage had spoiled come anew from a linear decode."""
    clip = collection(Span(), EVERY)
    put(clip, 0, 1, 2)
    clip.put(3, cast(Converted, Unconvertible()))
    assert clip.error is not None
    clip.reset()
    put(clip, 4)
    assert finish(clip)[EVERY].positions.tolist() == [4]


def test_a_frame_that_cannot_be_converted_ends_the_clip() -> None:
    clip = collection(Span(), EVERY)
    put(clip, 0)
    clip.put(1, cast(Converted, Unconvertible()))
    put(clip, 2)
    result = clip.finish(DecodeReport("made up"), is_suspect=bool, complaint="")
    assert isinstance(result, UnsupportedSourceError)
    assert "a frame cannot be converted: no such layout" in str(result)


class Fickle:
    """Reports an error at the end of its first pass, and in a second one keeps a frame back."""

    name = "fickle"

    def __init__(self, kept_back: int) -> None:
        self.passes = 0
        self.kept_back = kept_back

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        self.passes += 1
        for decoded in PyavDecoder().decode(media, rows, tally):
            if self.passes == 1 or decoded.row != self.kept_back:
                yield decoded
        if self.passes == 1:
            yield Decoded(rows[-1], None, "broken")


def test_nothing_of_a_pass_that_met_damage_is_delivered(video: Path) -> None:
    """A frame that the linear pass does not give is missing, though there was one before."""
    with open_media(video) as media:
        row = int(media.index.presentation[2])
        decoder = Fickle(kept_back=row)
        [(_, result)] = extract_spans(media, [Span(0, 6 * TICK)], [EVERY], decoder=decoder)
    batch = batches_of(result)[EVERY]
    assert decoder.passes == 2
    assert batch.outcome.missing == (2,)
    assert numbers_in(batch.frames) == batch.positions.tolist() == [0, 1, 3, 4, 5]
    assert batch.outcome.decode.fallback == "damage was met"


def test_work_is_reported_once_over_the_clips_of_a_video(video: Path) -> None:
    """Sums over clips are sums over the work."""
    spans = [Span(at * TICK, (at + 6) * TICK) for at in range(0, 48, 6)]
    results = spans_of(video, spans, [EVERY])
    reports = [batches_of(result)[EVERY].outcome.decode for result in results.values()]
    assert sum(report.packets_fed for report in reports) == 48
    assert sum(report.packets_planned for report in reports) == 48
    assert sum(report.frames_decoded for report in reports) == 48
