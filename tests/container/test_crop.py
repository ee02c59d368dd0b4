"""A container's crop is parsed like FFmpeg does, and cut like the `ffmpeg` program does."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, UnsupportedSourceError, extract_frames, probe
from frames_pipeline.container.declared_crop import matroska_crop, mp4_crop
from frames_pipeline.decoding.convert import Converter, PixelSpec, chroma_block
from frames_pipeline.decoding.crop import window
from frames_pipeline.frames import Crop
from tests.containers import Aperture, as_matroska, with_aperture
from tests.oracle import CORPUS, PlainFrame, needs_corpus, plain_decode
from tests.videos import X264, make_video

CODED = FrameExtractionSignature(policy="first")
CUT = FrameExtractionSignature(policy="first", crop="container")
SIDES = (96, 128)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return make_video(folder / "v.mp4", frames=2, size=SIDES, first=0b1011, options=X264)


def reported_by_ffmpeg(path: Path) -> Crop | None:
    """Return the first stream's crop according to the linked FFmpeg."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.open(str(path)) as container:
            described = container.dumps_format()  # type: ignore[attr-defined] # not in its stubs
    finally:
        av.logging.set_level(before)
    found = re.search(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)", described)
    if found is None:
        return None
    left, right, top, bottom = map(int, found.groups())
    return Crop(top, bottom, left, right)


def read_from(path: Path) -> Crop | None:
    data = path.read_bytes()

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    if path.suffix == ".mkv":
        return matroska_crop(read, file_size=len(data))
    return mp4_crop(read, file_size=len(data), track=1)


def random_aperture(rng: random.Random) -> Aperture:
    """Return an aperture that usually fits; otherwise FFmpeg decides."""
    height, width = SIDES
    if rng.random() < 0.3:
        numbers = [rng.choice([-1, 0, 1, 2, 3, 96, 128]) for _ in range(8)]
        # FFmpeg converts infinity to an integer if the offset's denominator is zero
        numbers[5], numbers[7] = numbers[5] or 1, numbers[7] or 1
        return tuple(numbers)  # type: ignore[return-value]
    scale = rng.choice([1, 1, 2, 3])
    return (
        rng.randrange(1, width * scale + 2), scale,
        rng.randrange(1, height * scale + 2), scale,
        rng.randrange(-width, width), rng.choice([1, 2, 4, 7]),
        rng.randrange(-height, height), rng.choice([1, 2, 4, 7]),
    )  # fmt: skip


def test_clean_apertures_are_read_as_ffmpeg_reads_them(plain: Path, tmp_path: Path) -> None:
    rng = random.Random(16)
    found = 0
    for _ in range(400):
        apertures = [random_aperture(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        path = with_aperture(plain, tmp_path / "v.mp4", *apertures)
        expected = reported_by_ffmpeg(path)
        if expected is not None and max(expected) > max(SIDES):
            continue  # FFmpeg wraps an aperture left of the picture around; its filter then fails
        assert read_from(path) == expected, apertures
        found += expected is not None
    assert found > 60


def test_pixel_crops_are_read_as_ffmpeg_reads_them(plain: Path, tmp_path: Path) -> None:
    rng = random.Random(16)
    edges, found = ("top", "bottom", "left", "right"), 0
    for _ in range(200):
        crop = {
            edge: rng.choice([0, 1, rng.randrange(40), rng.randrange(40), rng.randrange(200)])
            for edge in rng.sample(edges, rng.randrange(5))
        }
        path = as_matroska(
            plain,
            tmp_path / "v.mkv",
            crop,
            tracks_behind=rng.random() < 0.3,
            is_open=rng.random() < 0.3,
            voids=[rng.randrange(300) for _ in range(rng.randrange(3))],
        )
        try:
            expected = reported_by_ffmpeg(path)
        except av.FFmpegError:  # a crop larger than the picture
            continue
        assert read_from(path) == expected, crop
        found += expected is not None
    assert found > 60


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_files_that_make_no_sense_say_nothing_and_cost_little(
    plain: Path, tmp_path: Path, suffix: str
) -> None:
    """Changed bytes, truncation and odd sizes raise no other error, and reads are bounded."""
    whole = tmp_path / f"v.{suffix}"
    if suffix == "mp4":
        with_aperture(plain, whole, (64, 1, 48, 1, 0, 1, 0, 1))
    else:
        as_matroska(plain, whole, {"top": 4, "left": 8}, tracks_behind=True)
    rng, data, found = random.Random(16), whole.read_bytes(), 0
    for _ in range(3000):
        damaged = bytearray(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
        for _ in range(rng.randrange(1, 20)):
            if damaged:
                near = max(0, len(damaged) - 900) if rng.random() < 0.8 else 0
                damaged[rng.randrange(near, len(damaged))] = rng.choice([0, 1, 8, 127, 128, 255])
        reads: list[int] = []

        def read(offset: int, size: int, data: bytes = bytes(damaged), reads: Any = reads) -> bytes:
            assert offset >= 0
            assert 0 <= size <= 64
            reads.append(offset)
            return data[offset : offset + size]

        if suffix == "mkv":
            found += matroska_crop(read, file_size=len(damaged)) is not None
        else:
            found += mp4_crop(read, file_size=len(damaged), track=1) is not None
        assert len(reads) <= 5000
    assert 0 < found < 3000


def test_a_file_of_nothing_but_boxes_ends(tmp_path: Path) -> None:
    trak = (8 * 2000 + 8).to_bytes(4, "big") + b"trak" + b"\0\0\0\x08free" * 2000
    moov = (len(trak) * 900 + 8).to_bytes(4, "big") + b"moov" + trak * 900
    reads = []

    def read(offset: int, size: int) -> bytes:
        reads.append(offset)
        return moov[offset : offset + size]

    assert mp4_crop(read, file_size=len(moov), track=1) is None
    assert len(reads) <= 5000


def cut_by_ffmpeg(frame: VideoFrame, crop: Crop) -> VideoFrame:
    """Crop as the `ffmpeg` program does: see its configure_input_video_filter."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
    )
    size = f"w=iw-{crop.left}-{crop.right}:h=ih-{crop.top}-{crop.bottom}"
    cutter = graph.add("crop", f"{size}:x={crop.left}:y={crop.top}")
    graph.link_nodes(source, cutter, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


FORMATS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "nv21",
    "p010le", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuva420p", "gray", "gray10le", "rgb24",
    "bgr0", "rgba", "gbrp", "gbrp10le", "rgb48le", "pal8", "ya8",
)  # fmt: skip


@given(
    st.sampled_from(FORMATS),
    st.tuples(st.integers(8, 70), st.integers(8, 70)),
    st.builds(Crop, *[st.integers(0, 30)] * 4),
)
def test_the_window_is_that_of_ffmpegs_filter(name: str, size: tuple[int, int], crop: Crop) -> None:
    height, width = size
    rows, columns = chroma_block(VideoFormat(name))
    part = window(crop, height, width, rows=rows, columns=columns)
    frame = VideoFrame(width, height, name)
    if part is None:
        with pytest.raises((av.FFmpegError, ValueError)):
            cut_by_ffmpeg(frame, crop)
        return
    theirs = cut_by_ffmpeg(frame, crop)
    assert (theirs.height, theirs.width) == (part.height, part.width)
    # the first plane tells its start: the filter moves pointers and copies nothing
    moved = theirs.planes[0].buffer_ptr - frame.planes[0].buffer_ptr
    samples = VideoFrame(64, 64, name).planes[0]
    per_pixel = {"rgb24": 3, "bgr0": 4, "rgba": 4, "rgb48le": 6, "ya8": 2}.get(
        name, 2 if name.endswith("le") else 1
    )
    assert samples.line_size >= 64 * per_pixel
    assert moved == part.top * frame.planes[0].line_size + part.left * per_pixel


def noise(name: str, height: int, width: int, seed: int) -> VideoFrame:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    return VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=name)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp", "gray"])
@pytest.mark.parametrize("wanted", [{}, {"target_res": (24, 32)}, {"colour": "accurate"}])
def test_pixels_are_those_of_the_part_alone(name: str, wanted: dict[str, Any]) -> None:
    """Pixels equal those of a video of the visible part alone, bit for bit."""
    rng = random.Random(name)
    for seed in range(6):
        height, width = rng.randrange(40, 90), rng.randrange(40, 90)
        crop = Crop(*(rng.randrange(15) for _ in range(4)))
        if name == "yuv422p":  # PyAV copies only frames of an even height
            crop = crop._replace(bottom=crop.bottom + (height - crop.top - crop.bottom) % 2)
        frame = noise(name, height, width, seed)
        alone = cut_by_ffmpeg(frame, crop)
        alone = VideoFrame.from_ndarray(alone.to_ndarray(), name)  # a copy, aligned like any frame
        spec = PixelSpec.of(FrameExtractionSignature(policy="first", crop="container", **wanted))
        converter = Converter("noise", crop)
        size = converter.output_size(frame, spec)
        assert size == converter.output_size(alone, spec._replace(crop="coded"))
        ours, theirs = np.empty((*size, 3), np.uint8), np.empty((*size, 3), np.uint8)
        converter.convert(frame, spec, ours)
        converter.convert(alone, spec._replace(crop="coded"), theirs)
        np.testing.assert_array_equal(ours, theirs)


def cut_and_shown(path: Path, crop: Crop, **shown: Any) -> NDArray[np.uint8]:
    frame = plain_decode(path)[0]
    cut = PlainFrame(cut_by_ffmpeg(frame.frame, crop), frame.pts, key=True)
    return cut.rgb(**shown)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("wanted", [None, (40, 56), (33, -1)])
def test_a_crop_is_cut_before_the_picture_is_turned_and_resized(
    tmp_path: Path, rotation: int, wanted: Any
) -> None:
    source = make_video(
        tmp_path / "v.mp4", frames=2, size=SIDES, first=0b1011, rotation=rotation, options=X264
    )
    # 50 x 40, its centre 10 to the right and 15 up: 25 and 47 of 128, 13 and 43 of 96
    path = with_aperture(source, tmp_path / "cut.mp4", (101, 2, 40, 1, 21, 2, -15, 1))
    crop = probe(path).container_crop
    assert crop == reported_by_ffmpeg(path)
    assert crop is not None
    assert crop.left % 2 or crop.top % 2
    signature = FrameExtractionSignature(policy="first", crop="container", target_res=wanted)
    batch = extract_frames(path, [signature])[signature]
    part = window(crop, *SIDES, rows=2, columns=2)
    assert part is not None
    height, width = (part.height, part.width) if rotation % 180 == 0 else (part.width, part.height)
    if wanted == (33, -1):
        height, width = 33, (2 * width * 33 + height) // (2 * height)
    elif wanted is not None:
        height, width = wanted
    expected = cut_and_shown(path, crop, height=height, width=width, rotation=rotation)
    np.testing.assert_array_equal(batch.frames[0], expected)
    assert batch.container_crop == crop


def test_coded_frames_are_the_same_with_and_without_a_crop(plain: Path, tmp_path: Path) -> None:
    path = with_aperture(plain, tmp_path / "v.mp4", (64, 1, 48, 1, 0, 1, 0, 1))
    batches = extract_frames(path, [CODED, CUT])
    assert batches[CODED].digest() == extract_frames(plain, [CODED])[CODED].digest()
    assert batches[CUT].frames.shape == (1, 48, 64, 3)
    index = probe(path)
    assert (index.width, index.height, index.container_crop) == (128, 96, Crop(24, 24, 32, 32))
    assert index.pixel_format == "yuv420p"


def test_without_a_crop_both_are_the_same(plain: Path) -> None:
    batches = extract_frames(plain, [CODED, CUT])
    assert batches[CODED].digest() == batches[CUT].digest()
    assert batches[CUT].container_crop is None
    assert probe(plain).container_crop is None


def test_a_file_object_has_its_crop_too(plain: Path, tmp_path: Path) -> None:
    path = as_matroska(plain, tmp_path / "v.mkv", {"left": 3, "bottom": 7}, tracks_behind=True)
    from_bytes = extract_frames(path.read_bytes(), [CUT])[CUT]
    assert from_bytes.digest() == extract_frames(path, [CUT])[CUT].digest()
    assert from_bytes.frames.shape == (1, 88, 124, 3)


def test_a_crop_that_leaves_nothing_of_the_frames_is_an_error(tmp_path: Path) -> None:
    """The container declares 96x128, which the crop fits; the frames are smaller."""
    small = make_video(tmp_path / "small.mp4", frames=1, size=(24, 32), options=X264)
    data = bytearray(small.read_bytes())
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    data[at : at + 4] = (128).to_bytes(2, "big") + (96).to_bytes(2, "big")
    small.write_bytes(data)
    path = with_aperture(small, tmp_path / "v.mp4", (64, 1, 48, 1, 0, 1, 0, 1))
    assert extract_frames(path, [CODED])[CODED].frames.shape == (1, 24, 32, 3)
    with pytest.raises(UnsupportedSourceError, match="leaves nothing; ask for crop='coded'"):
        extract_frames(path, [CUT])


@needs_corpus
@pytest.mark.parametrize(
    ("name", "crop"), [("clap.mp4", Crop(45, 45, 80, 80)), ("crop.mkv", Crop(20, 10, 40, 60))]
)
def test_reported_files(name: str, crop: Crop) -> None:
    path = CORPUS / "reports" / name
    if not path.exists():
        pytest.skip(f"no {name}")
    assert probe(path).container_crop == crop
    found = extract_frames(path, [CUT])[CUT].frames[0]
    height, width = found.shape[:2]
    expected = cut_and_shown(path, crop, height=height, width=width)
    np.testing.assert_array_equal(found, expected)
