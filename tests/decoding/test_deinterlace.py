"""Each deinterlaced frame is that of one filter over the whole video, whatever else is wanted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import (
    FrameBatch,
    FrameExtractionSignature,
    PyavDecoder,
    SourceError,
    UnsupportedSourceError,
    extract_frames,
    probe,
)
from frames_pipeline.clips import Span
from frames_pipeline.container.media import open_media
from frames_pipeline.extract import extract_spans
from tests.decoding.planes import write_frames
from tests.oracle import CORPUS, PlainFrame, needs_corpus, plain_decode

FFMPEG = shutil.which("ffmpeg")
BWDIF = "mode=send_frame:parity=auto:deint=interlaced"
EVERY = FrameExtractionSignature(policy="uniform", num_frames=16, deinterlace="bwdif")
"""Of videos of 16 frames."""
FIRST = FrameExtractionSignature(policy="first", deinterlace="bwdif")
X264_FIELDS = {"x264-params": "keyint=8:bframes=2:scenecut=0:threads=1:interlaced=1"}
MPEG2_FIELDS = {"flags": "+ildct+ilme", "g": "6", "bf": "2", "qscale": "4"}


def moving(number: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return a picture whose odd rows are half a frame later than the others."""
    rows, columns = np.mgrid[:height, :width]
    time = 2 * number + rows % 2
    waves = (np.sin((columns + 3 * time) / 5) + np.cos((rows + 2 * time) / 7)) * 50 + 128
    return np.stack([waves, 255 - waves, 2 * waves % 256], axis=-1).astype(np.uint8)


def through(frames: Sequence[VideoFrame], name: str, options: str) -> list[VideoFrame]:
    """Return what comes out of a filter, frame by frame, numbered by pts."""
    like = frames[0]
    source = f"video_size={like.width}x{like.height}:pix_fmt={like.format.name}:time_base=1/1"
    graph = Graph()
    graph.threads = 1
    graph.link_nodes(
        graph.add("buffer", source), graph.add(name, options), graph.add("buffersink")
    ).configure()
    found = []
    for number, frame in enumerate([*frames, None]):
        if frame is not None:
            frame.pts, frame.time_base = number, Fraction(1)
        graph.vpush(frame)
        while True:
            try:
                found.append(graph.vpull())
            except (av.error.BlockingIOError, av.error.EOFError):
                break
    return found


def flagged(
    field: str, count: int = 20, first: int = 0, size: tuple[int, int] = (48, 64)
) -> list[VideoFrame]:
    """Return pictures with a flag: `tff`, `bff` or `prog`."""
    pictures = (moving(first + number, *size) for number in range(count))
    frames = [VideoFrame.from_ndarray(one, "rgb24").reformat(format="yuv420p") for one in pictures]
    return through(frames, "setfield", f"mode={field}")


def x264(path: Path, frames: Sequence[VideoFrame], *, progressive: bool = False) -> Path:
    options = X264_FIELDS
    if progressive:
        options = {"x264-params": X264_FIELDS["x264-params"].replace(":interlaced=1", "")}
    return write_frames(path, frames, codec="libx264", options=options)


def mpeg2(path: Path, frames: Sequence[VideoFrame]) -> Path:
    return write_frames(path, frames, codec="mpeg2video", options=MPEG2_FIELDS)


def with_flags(path: Path, is_progressive: Callable[[int], bool]) -> Path:
    """Set the flags of pictures of an MPEG-2 stream: progressive, some with a repeated field."""
    data, at, picture = bytearray(path.read_bytes()), 0, 0
    while (at := data.find(b"\0\0\1\xb5", at + 1)) >= 0:
        if data[at + 4] >> 4 != 8:  # not a picture coding extension
            continue
        if is_progressive(picture):
            data[at + 8] |= 0x80  # progressive_frame
            data[at + 7] |= 0x02 if picture % 4 == 0 else 0  # repeat_first_field
        picture += 1
    path.write_bytes(data)
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def made(name: str, folder: Path) -> Path:
    """Make a stream by its name."""
    path = folder / name
    if name.startswith("x264"):
        return x264(path, flagged(name.split("-")[1][:3]))
    if name.startswith("mpeg2"):
        return mpeg2(path, flagged(name.split("-")[1][:3]))
    if name == "telecine.m2v":  # of five pictures, three are progressive
        return with_flags(mpeg2(path, flagged("tff", 24)), lambda picture: picture % 5 < 3)
    if name == "frame-by-frame.m2v":
        return with_flags(mpeg2(path, flagged("bff", 24)), lambda picture: picture % 2 == 0)
    if name == "joined.h264":
        parts = (("prog", 0), ("tff", 8), ("prog", 16), ("bff", 24))
        made = [
            x264(folder / f"{first}.h264", flagged(field, 8, first), progressive=field == "prog")
            for field, first in parts
        ]
        return joined(path, *made)
    return CORPUS / name


NAMES = [
    "x264-tff.mp4",
    "x264-bff.ts",
    "mpeg2-tff.ts",
    "mpeg2-bff.mkv",
    "telecine.m2v",
    "frame-by-frame.m2v",
    "joined.h264",
    *(
        pytest.param(name, marks=needs_corpus)
        for name in ("reports/paff.ts", "reports/paff.h264", "hard/interlaced_tff.ts")
    ),
    pytest.param("hard/interlaced_h264.mp4", marks=[needs_corpus, pytest.mark.live]),
]


class Deinterlaced:
    """A stream, and every frame as one filter over the whole of it gives it.

    The filter leaves out the frame before the first one that it changes. If that is not the first
    frame of the video, two interlaced frames go before the whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plain = plain_decode(path)
        frames = [one.frame for one in self.plain]
        self.frames = through(frames, "bwdif", BWDIF)
        interlaced = [frame for frame in frames if frame.interlaced_frame]
        if interlaced and interlaced[0] is not frames[0]:
            self.frames = through([*interlaced[:1] * 2, *frames], "bwdif", BWDIF)[2:]
        assert len(self.frames) == len(self.plain)

    @cache  # noqa: B019 - as long as the fixture
    def rgb(self, position: int) -> NDArray[np.uint8]:
        frame = self.frames[position]
        return PlainFrame(frame, position, key=False).rgb(frame.height, frame.width)

    def check(self, batch: FrameBatch) -> None:
        """Check that a batch is whole and has the right frames."""
        assert batch.outcome.status == "ok", batch.outcome
        for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True):
            assert np.array_equal(pixels, self.rgb(position)), position


@pytest.fixture(scope="module", params=NAMES)
def stream(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Deinterlaced:
    return Deinterlaced(made(request.param, tmp_path_factory.mktemp("streams")))


def test_every_frame_is_that_of_one_filter_over_the_video(stream: Deinterlaced) -> None:
    every = replace(EVERY, num_frames=len(stream.plain))
    batch = extract_frames(stream.path, [every])[every]
    assert batch.positions.tolist() == list(range(len(stream.plain)))
    stream.check(batch)


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
def test_the_program_ffmpeg_gives_the_same_frames(stream: Deinterlaced) -> None:
    """All but the first that the filter changes, for which versions differ."""
    command = [str(FFMPEG), "-v", "error", "-i", str(stream.path), "-map", "0:v:0"]
    command += ["-vf", f"bwdif={BWDIF}", "-vsync", "passthrough", "-f", "framemd5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    theirs = [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]
    ours = [PlainFrame(frame, None, key=False).raw_md5() for frame in stream.frames]
    interlaced = [number for number, one in enumerate(stream.plain) if one.frame.interlaced_frame]
    for number in interlaced[:1]:
        ours[number] = theirs[number]
    assert ours == theirs


UNIFORM = st.integers(1, 4).map(
    lambda count: FrameExtractionSignature(policy="uniform", num_frames=count)
)
RATES = st.sampled_from([3, 12, 25, 50]).map(lambda rate: FrameExtractionSignature(target_fps=rate))
SINGLE = st.sampled_from(["first", "middle", "last"]).map(
    lambda policy: FrameExtractionSignature(policy=policy)
)
PARTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), min_size=1, max_size=4)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[list[list[float]], list[FrameExtractionSignature]]:
    """Draw parts of a video, and signatures, at least one of them deinterlaced."""
    drawn = draw(st.lists(UNIFORM | RATES | SINGLE, min_size=1, max_size=3))
    ways = [True, *draw(st.lists(st.booleans(), min_size=2, max_size=2))]
    signatures = [
        replace(one, deinterlace="bwdif" if way else "off")
        for one, way in zip(drawn, ways, strict=False)
    ]
    return draw(PARTS), list(dict.fromkeys(signatures))


@given(wish=wishes())
def test_a_frame_does_not_depend_on_what_else_is_wanted(
    stream: Deinterlaced,
    wish: tuple[list[list[float]], list[FrameExtractionSignature]],
) -> None:
    parts, signatures = wish
    with open_media(stream.path) as media:
        pts = media.index.shown_pts.tolist()
        last = len(pts) - 1
        spans = [Span(pts[round(a * last)], pts[round(b * last)] + 1) for a, b in parts]
        results = dict(extract_spans(media, spans, signatures, decoder=PyavDecoder()))
    assert sorted(results) == list(range(len(spans)))
    for result in results.values():
        assert not isinstance(result, SourceError), result
        for signature in signatures:
            if signature.deinterlace == "bwdif":
                stream.check(result[signature])
                continue
            for position, pixels in zip(
                result[signature].positions.tolist(), result[signature].frames, strict=True
            ):
                frame = stream.plain[position]
                shape = frame.frame.height, frame.frame.width
                np.testing.assert_array_equal(pixels, frame.rgb(*shape))


def test_progressive_frames_keep_their_bytes(stream: Deinterlaced) -> None:
    every = replace(EVERY, num_frames=len(stream.plain))
    coded = replace(every, deinterlace="off")
    batches = extract_frames(stream.path, [every, coded])
    pairs = zip(batches[every].frames, batches[coded].frames, strict=True)
    changed = np.array([not np.array_equal(*pair) for pair in pairs])
    interlaced = np.array([one.frame.interlaced_frame for one in stream.plain])
    assert not changed[~interlaced].any()
    assert changed[interlaced].sum() >= 0.7 * interlaced.sum()  # others are beside a repeated field


@pytest.mark.parametrize("policy", ["first", "middle", "last", "keyframes"])
def test_progressive_video_costs_not_one_packet_more(video: Path, policy: str) -> None:
    coded = FrameExtractionSignature(policy=policy)
    deinterlaced = replace(coded, deinterlace="bwdif")
    one, other = (extract_frames(video, [each])[each] for each in (coded, deinterlaced))
    assert one.outcome.decode == other.outcome.decode
    assert one.digest() == other.digest()


def test_a_video_that_turns_interlaced_is_decoded_again_for_the_rest(tmp_path: Path) -> None:
    """Clips before are done by then, and are not decoded again."""
    made("joined.h264", tmp_path)
    path = tmp_path / "joined.h264"
    stream = Deinterlaced(path)
    late = FrameExtractionSignature(policy="uniform", num_frames=2, deinterlace="bwdif")
    with open_media(path) as media:
        assert not media.picture.is_interlaced
        pts = media.index.shown_pts.tolist()
        spans = [Span(pts[0], pts[4]), Span(pts[9], pts[20])]
        results = list(extract_spans(media, spans, [late], decoder=PyavDecoder()))
    assert [number for number, _ in results] == [0, 1]
    batches = [result[late] for _, result in results if not isinstance(result, SourceError)]
    for batch in batches:
        stream.check(batch)
    first, second = (batch.outcome.decode for batch in batches)
    assert first.packets_fed <= 8
    assert second.packets_fed <= 2 * 16


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[NDArray[np.uint8]]]:
    """Eight interlaced frames of 48x64, then eight of 96x128; and each as it is deinterlaced."""
    folder = tmp_path_factory.mktemp("sizes")
    small = x264(folder / "small.h264", flagged("tff", 8))
    large = x264(folder / "large.h264", flagged("tff", 8, first=8, size=(96, 128)))
    parts = [Deinterlaced(part) for part in (small, large)]
    return joined(folder / "both.h264", small, large), [
        part.rgb(position) for part in parts for position in range(8)
    ]


@given(st.integers(0, 15), st.integers(1, 16))
def test_where_the_size_changes_a_new_filter_begins(
    two_sizes: tuple[Path, list[NDArray[np.uint8]]], at: int, length: int
) -> None:
    """As at the ends of a video: the frame beyond is no neighbour, and nothing is missing."""
    path, expected = two_sizes
    with open_media(path) as media:
        pts = [*media.index.shown_pts.tolist(), None]
        spans = [Span(pts[at], pts[min(16, at + length)]), Span(pts[9], pts[10])]
        signature = FrameExtractionSignature(target_fps=25, deinterlace="bwdif")
        results = dict(extract_spans(media, spans, [signature], decoder=PyavDecoder()))
    for result in results.values():
        assert not isinstance(result, SourceError)
        batch = result[signature]
        assert batch.outcome.status == "ok"
        for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True):
            if pixels.shape == expected[position].shape:
                np.testing.assert_array_equal(pixels, expected[position])


def test_a_video_of_one_frame_is_deinterlaced(tmp_path: Path) -> None:
    stream = Deinterlaced(mpeg2(tmp_path / "v.ts", flagged("tff", 1)))
    batch = extract_frames(stream.path, [FIRST])[FIRST]
    stream.check(batch)
    assert not np.array_equal(batch.frames[0], stream.plain[0].rgb(48, 64))


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (6, 8), (8, 4)])
def test_a_frame_too_small_for_the_filter_is_refused_by_name(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Its chroma planes count: 4:2:0 of fewer than 7 rows or 5 columns."""
    path = mpeg2(tmp_path / "v.mkv", flagged("tff", 3, size=size))
    height, width = size
    message = (
        rf"v\.mkv: .*at least 4 rows and 3 columns in each plane.* {width}x{height} in yuv420p"
    )
    with pytest.raises(UnsupportedSourceError, match=message):
        extract_frames(path, [FIRST])
    coded = replace(FIRST, deinterlace="off")
    assert extract_frames(path, [coded])[coded].frames.shape == (1, *size, 3)


def test_a_small_frame_takes_no_frame_before_it_along(tmp_path: Path) -> None:
    """The last frame of the first size waits for the next one, which the filter cannot take."""
    large = x264(tmp_path / "large.h264", flagged("tff", 16))
    small = x264(tmp_path / "small.h264", flagged("tff", 16, size=(4, 4)))
    path = joined(tmp_path / "both.h264", large, small)
    stream = Deinterlaced(large)
    with open_media(path) as media:
        pts = media.index.shown_pts.tolist()
        spans = [Span(pts[0], pts[16]), Span(pts[16], None)]
        results = dict(extract_spans(media, spans, [EVERY], decoder=PyavDecoder()))
    assert isinstance(results[1], UnsupportedSourceError)
    assert not isinstance(results[0], SourceError)
    stream.check(results[0][EVERY])
    assert len(results[0][EVERY]) == 16


@pytest.mark.parametrize("rotation", [90, 180])
def test_deinterlaced_frames_are_rotated(tmp_path: Path, rotation: int) -> None:
    path = write_frames(
        tmp_path / "v.mp4",
        flagged("tff", 16),
        codec="libx264",
        options=X264_FIELDS,
        rotation=rotation,
    )
    stream = Deinterlaced(path)
    batch = extract_frames(path, [EVERY])[EVERY]
    for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True):
        np.testing.assert_array_equal(pixels, np.rot90(stream.rgb(position), rotation // 90))


@pytest.mark.parametrize("samples", ["rgb16", "gray16"])
def test_deinterlaced_frames_have_other_samples_too(tmp_path: Path, samples: str) -> None:
    stream = Deinterlaced(x264(tmp_path / "v.mp4", flagged("tff", 16)))
    eight = replace(EVERY, colour="accurate")
    deep = replace(EVERY, colour="accurate", samples=samples)  # type: ignore[arg-type]
    batches = extract_frames(stream.path, [eight, deep])
    luma = batches[eight].frames @ np.array([0.299, 0.587, 0.114])
    expected = luma[..., None] if samples == "gray16" else batches[eight].frames
    assert float(np.median(np.abs(batches[deep].frames / 257 - expected))) < 1


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
def test_hidden_frames_are_no_neighbours(tmp_path: Path) -> None:
    """An edit list hides the frames before the first one. The program ffmpeg drops them as well."""
    source = x264(tmp_path / "v.mp4", flagged("tff", 20))
    path = tmp_path / "cut.mp4"
    command = [str(FFMPEG), "-v", "error", "-ss", "0.44", "-i", str(source), "-c", "copy"]
    subprocess.run([*command, str(path)], check=True)
    stream = Deinterlaced(path)
    index = probe(path)
    assert index.num_frames == len(stream.plain) < len(index.order)
    for policy in ("first", "last", "middle"):
        signature = replace(FIRST, policy=policy)
        stream.check(extract_frames(path, [signature])[signature])


def with_eighth_slice_cut(source: Path, path: Path, keep: int) -> Path:
    """Copy an MP4 of H.264 key frames; of the slice of the ninth, keep some bytes only."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    start, stop = packets[8].pos, packets[8].size
    assert start is not None
    stop += start
    while data[start + 4] & 31 != 5:  # a unit that is no slice of a key frame
        start += 4 + int.from_bytes(data[start : start + 4], "big")
    start += 4 + keep
    data[start:stop] = b"\xff" * (stop - start)
    path.write_bytes(data)
    return path


LOST, DAMAGED = 1, 8
"""Bytes of a slice that are kept, so that no frame comes of it, or a damaged one."""


@pytest.fixture(params=[LOST, DAMAGED])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Deinterlaced, Path, int]:
    """An interlaced stream of key frames, a copy with damage in one, and the kind of damage."""
    options = {"x264-params": "keyint=1:interlaced=1:threads=1"}
    frames = flagged("tff", 16)
    path = write_frames(tmp_path / "v.mp4", frames, codec="libx264", options=options)
    copy = with_eighth_slice_cut(path, tmp_path / "damaged.mp4", request.param)
    return Deinterlaced(path), copy, request.param


def test_frames_whose_neighbour_is_damaged_are_marked(
    damaged: tuple[Deinterlaced, Path, int],
) -> None:
    stream, path, kind = damaged
    batch = extract_frames(path, [EVERY])[EVERY]
    assert batch.outcome.missing == ((8,) if kind == LOST else ())
    assert batch.outcome.corrupt == ((7, 9) if kind == LOST else (7, 8, 9))
    assert batch.outcome.detail.startswith("packet 8: ")
    for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True):
        assert np.array_equal(pixels, stream.rgb(position)) or position in (7, 8, 9)

    coded = replace(EVERY, deinterlace="off")
    outcome = extract_frames(path, [coded])[coded].outcome
    assert outcome.missing + outcome.corrupt == (8,)


@pytest.mark.parametrize(("position", "expected"), [(6, ()), (7, (7,)), (9, (9,)), (10, ())])
def test_only_a_clip_that_reads_the_damage_is_marked(
    damaged: tuple[Deinterlaced, Path, int], position: int, expected: tuple[int, ...]
) -> None:
    _, path, _ = damaged
    with open_media(path) as media:
        pts = media.index.shown_pts.tolist()
        span = Span(pts[position], pts[position] + 1)
        [(_, result)] = extract_spans(media, [span], [FIRST], decoder=PyavDecoder())
    assert not isinstance(result, SourceError)
    assert result[FIRST].outcome.corrupt == expected
    assert result[FIRST].outcome.missing == ()
