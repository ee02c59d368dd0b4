"""The format of a video's pictures: as its encoder was told, before and after the first frame."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.bitstream import codec_named
from frames_pipeline.container.declared_dolby_vision import (
    matroska_dolby_vision,
    mp4_dolby_vision,
)
from frames_pipeline.container.media import open_media
from frames_pipeline.container.picture_format import MATRICES, PRIMARIES, TRANSFERS
from frames_pipeline.frames import PictureFormat
from tests.containers import as_matroska, box, element, number, with_boxes
from tests.videos import make_video

FIRST = FrameExtractionSignature(policy="first")
SIDES = (96, 128)
PQ = PictureFormat(
    "bt2020", "smpte2084", "bt2020nc", "limited", 10, "4:2:0", Fraction(64, 45), "progressive"
)
PQ_IN_X264 = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=tv:sar=64\\:45"


def declared(path: Path) -> PictureFormat:
    """The format before a frame is decoded."""
    with open_media(path) as media:
        assert media.index.picture == media.picture
        return media.picture


@pytest.mark.parametrize(
    ("option", "attribute", "names"),
    [
        ("color_primaries", "color_primaries", PRIMARIES),
        ("color_trc", "color_trc", TRANSFERS),
        ("colorspace", "colorspace", MATRICES),
    ],
)
def test_names_are_those_of_ffmpeg(option: str, attribute: str, names: Mapping[int, str]) -> None:
    """FFmpeg's filter `setparams` takes the names, and a frame has the numbers."""
    for value, name in names.items():
        graph = Graph()
        source = graph.add_buffer(
            width=16, height=16, format=VideoFormat("yuv420p"), time_base=Fraction(1)
        )
        tagged = graph.add("setparams", f"{option}={name}")
        graph.link_nodes(source, tagged, graph.add("buffersink")).configure()
        graph.vpush(VideoFrame(16, 16, "yuv420p"))
        assert getattr(graph.vpull(), attribute) == value, name


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264", "avi", "flv"])
def test_h264_says_it_in_its_parameter_sets(tmp_path: Path, suffix: str) -> None:
    """With or without a container that says it, too; before a frame is decoded, and after."""
    path = make_video(
        tmp_path / f"v.{suffix}",
        frames=30,
        size=SIDES,
        pixel_format="yuv420p10le",
        options={"x264-params": PQ_IN_X264},
    )
    assert declared(path) == PQ
    assert probe(path).picture == PQ
    assert extract_frames(path, [FIRST])[FIRST].source == PQ


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "hevc"])
def test_hevc_says_it_in_its_parameter_sets(tmp_path: Path, suffix: str) -> None:
    """Mastering metadata are in messages beside the frames, so the first one tells them."""
    light = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(40000000,50)"
    colours = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:range=full:sar=40\\:33"
    path = make_video(
        tmp_path / f"v.{suffix}",
        frames=30,
        size=SIDES,
        codec="libx265",
        pixel_format="yuv422p10le",
        options={"x265-params": f"log-level=none:{colours}:{light}:max-cll=1203,400"},
    )
    found = declared(path)
    order = found.field_order
    assert order in ("progressive", "unspecified")
    expected = PictureFormat(
        "bt2020", "arib-std-b67", "bt2020nc", "full", 10, "4:2:2", Fraction(40, 33), order
    )
    assert replace(found, peak_luminance=None, max_content_light=None) == expected
    seen = probe(path).picture
    assert (seen.peak_luminance, seen.max_content_light) == (Fraction(4000), 1203)
    assert replace(seen, peak_luminance=None, max_content_light=None) == expected


@pytest.mark.parametrize(
    ("codec", "suffix", "layout", "depth", "chroma"),
    [
        ("mpeg2video", "ts", "yuv422p", 8, "4:2:2"),
        ("mpeg4", "avi", "yuv420p", 8, "4:2:0"),
        ("ffv1", "mkv", "gray", 8, "gray"),
        ("ffv1", "mkv", "gray12le", 12, "gray"),
        ("ffv1", "mkv", "gbrp10le", 10, "rgb"),
        ("ffv1", "mkv", "yuv411p", 8, "4:1:1"),
        ("ffv1", "mkv", "yuva444p16le", 16, "4:4:4"),
        ("mjpeg", "avi", "yuvj420p", 8, "4:2:0"),
        ("libvpx-vp9", "webm", "yuv444p", 8, "4:4:4"),
        ("libvpx", "webm", "yuv420p", 8, "4:2:0"),
        ("prores_ks", "mov", "yuv422p10le", 10, "4:2:2"),
        ("gif", "gif", "rgb8", 8, "rgb"),
    ],
)
def test_depth_and_chroma(
    tmp_path: Path, codec: str, suffix: str, layout: str, depth: int, chroma: str
) -> None:
    path = make_video(
        tmp_path / f"v.{suffix}", frames=30, size=SIDES, codec=codec, pixel_format=layout
    )
    before, after = declared(path), probe(path).picture
    assert (after.bit_depth, after.chroma) == (depth, chroma)
    assert (before.bit_depth, before.chroma) in ((depth, chroma), (0, ""))
    if layout == "yuvj420p":
        assert (before.range, after.range) == ("full", "full")


@pytest.mark.parametrize(
    ("aspect", "said", "shown"),
    [
        ("12\\:11", Fraction(12, 11), Fraction(12, 11)),
        ("64\\:45", Fraction(64, 45), Fraction(64, 45)),
        ("1\\:16", Fraction(1, 16), Fraction(1, 16)),
        ("60000\\:7", Fraction(60000, 7), Fraction(1)),
        ("1\\:17", Fraction(1, 17), Fraction(1)),
        ("0\\:1", None, Fraction(1)),
    ],
)
@pytest.mark.parametrize("suffix", ["ts", "mp4"])
def test_pixel_aspects(
    tmp_path: Path, suffix: str, aspect: str, said: Fraction | None, shown: Fraction
) -> None:
    """An absurd aspect is kept as it is declared, and shown as 1; 0:1 declares none."""
    options = {"x264-params": f"sar={aspect}"}
    path = make_video(tmp_path / f"v.{suffix}", frames=30, size=SIDES, options=options)
    found = declared(path)
    assert (found.pixel_aspect, found.shown_pixel_aspect) == (said, shown)
    assert found.has_plausible_aspect == (said in (None, shown))


def with_aspect(path: Path, aspect: Fraction) -> Path:
    """Write an aspect into a container, of a stream whose bitstream says another one."""
    source = make_video(
        path.with_name("a.mp4"), frames=30, size=SIDES, options={"x264-params": "sar=4\\:3"}
    )
    pasp = box(b"pasp", aspect.numerator.to_bytes(4, "big") + aspect.denominator.to_bytes(4, "big"))
    data = source.read_bytes().replace(b"pasp", b"free")
    source.write_bytes(data)
    return with_boxes(source, path, pasp)


def test_the_containers_aspect_wins(tmp_path: Path) -> None:
    path = with_aspect(tmp_path / "v.mp4", Fraction(1_000_000))
    assert declared(path).pixel_aspect == probe(path).picture.pixel_aspect == 1_000_000
    assert declared(path).shown_pixel_aspect == 1
    path = with_aspect(tmp_path / "v.mp4", Fraction(16, 15))
    assert declared(path).pixel_aspect == Fraction(16, 15)


def interlaced(path: Path, order: str, *, codec: str, options: Mapping[str, str]) -> Path:
    """Encode frames that FFmpeg's filter marks as interlaced."""
    height, width = SIDES
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        graph = Graph()
        source = graph.add_buffer(
            width=width, height=height, format=VideoFormat("yuv420p"), time_base=Fraction(1, 25)
        )
        marked = graph.add("setfield", order)
        graph.link_nodes(source, marked, graph.add("buffersink")).configure()
        for pts in range(30):
            frame = VideoFrame(width, height, "yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            graph.vpush(frame)
            container.mux(stream.encode(graph.vpull()))
        container.mux(stream.encode())
    return path


ENCODERS = {
    "libx264": {"flags": "+ilme+ildct"},
    "mpeg2video": {"flags": "+ilme+ildct"},
}


SDR_TAGS = {
    "libx264": {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709"},
    "libx265": {"x265-params": "log-level=none:colorprim=bt709:transfer=bt709:colormatrix=bt709"},
    "libsvtav1": {
        "svtav1-params": "color-primaries=1:transfer-characteristics=1:matrix-coefficients=1"
    },
}
UNTAGGED = {"libx265": {"x265-params": "log-level=none"}}


@pytest.mark.parametrize("codec", SDR_TAGS)
@pytest.mark.parametrize("is_tagged", [False, True])
def test_the_bitstreams_colours_win(tmp_path: Path, codec: str, is_tagged: bool) -> None:
    """A container that says PQ counts where the bitstream is silent."""
    options = SDR_TAGS[codec] if is_tagged else UNTAGGED.get(codec, {})
    source = make_video(tmp_path / "a.mp4", frames=3, size=SIDES, codec=codec, options=options)
    source.write_bytes(source.read_bytes().replace(b"colr", b"free"))
    colours = box(b"colr", b"nclx" + struct.pack(">HHHB", 9, 16, 9, 0))
    path = with_boxes(source, tmp_path / "v.mp4", colours)
    expected = ("bt709", "bt709", "bt709") if is_tagged else ("bt2020", "smpte2084", "bt2020nc")
    for found in (declared(path), probe(path).picture):
        assert (found.primaries, found.transfer, found.matrix) == expected


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
def test_field_order(tmp_path: Path, suffix: str, codec: str, order: str) -> None:
    """The first frame tells it, whatever FFmpeg makes of the container and of headers."""
    path = interlaced(tmp_path / f"v.{suffix}", order, codec=codec, options=ENCODERS[codec])
    assert probe(path).picture.field_order == order
    plain = make_video(tmp_path / f"p.{suffix}", frames=30, size=SIDES, codec=codec)
    assert probe(plain).picture.field_order in ("progressive", "unspecified")


def test_nothing_is_said(tmp_path: Path) -> None:
    """Where container and bitstream are silent, all is unspecified."""
    path = make_video(tmp_path / "v.avi", frames=2, codec="mpeg4")
    found = probe(path).picture
    colours = (found.primaries, found.transfer, found.matrix, found.range, found.field_order)
    assert set(colours) == {"unspecified"}
    assert (found.peak_luminance, found.max_content_light, found.dolby_vision) == (None,) * 3


def test_contradictory_tags_are_told_as_they_are(tmp_path: Path) -> None:
    """PQ with the primaries of SDR, and no matrix: each is recorded as it is declared."""
    options = {"x264-params": "colorprim=bt709:transfer=smpte2084"}
    path = make_video(tmp_path / "v.ts", frames=30, options=options)
    found = probe(path).picture
    assert (found.primaries, found.transfer, found.matrix) == ("bt709", "smpte2084", "unspecified")
    assert found.is_hdr
    assert not found.is_wide_gamut


@given(st.binary(max_size=80))
def test_any_bytes_are_no_parameter_sets(data: bytes) -> None:
    """Damaged sets tell nothing, or something; they raise nothing."""
    read = codec_named("h264").coded_picture
    assert read is not None
    for extradata in (data, b"\0\0\1\x67" + data, b"\1\x64\0\x1f\xff\xe1\0\x40\x67" + data):
        found = read(extradata)
        assert found is None or found.bit_depth >= 8


def test_every_cut_of_a_parameter_set(tmp_path: Path) -> None:
    """A set that ends early tells what it has; nothing is told that is not there."""
    path = make_video(tmp_path / "v.ts", frames=30, size=SIDES, options={"x264-params": PQ_IN_X264})
    read = codec_named("h264").coded_picture
    assert read is not None
    with open_media(path) as media:
        extradata = media.stream.codec_context.extradata or b""
    whole = read(extradata)
    assert whole is not None
    for stop in range(len(extradata)):
        found = read(extradata[:stop])
        if found is not None:
            assert found.matrix in (2, whole.matrix)
            assert found.aspect in ((0, 1), whole.aspect)


RECORD = b"\1\0\x10\x1d" + bytes(20)
"""Profile 8, level 3."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("plain") / "v.mp4", frames=30, size=SIDES)


@pytest.mark.parametrize("kind", [b"dvcC", b"dvvC", b"dvwC"])
@pytest.mark.parametrize("profile", [5, 8, 10])
def test_dolby_vision_in_mp4(plain: Path, tmp_path: Path, kind: bytes, profile: int) -> None:
    record = RECORD[:2] + bytes([profile << 1]) + RECORD[3:]
    path = with_boxes(plain, tmp_path / "v.mp4", box(kind, record))
    assert declared(path).dolby_vision == probe(path).picture.dolby_vision == profile
    assert declared(plain).dolby_vision is None


@pytest.mark.parametrize("tracks_behind", [False, True])
def test_dolby_vision_in_matroska(plain: Path, tmp_path: Path, tracks_behind: bool) -> None:
    def addition(kind: bytes, record: bytes) -> bytes:
        return element(
            0x41E4, number(0x41E7, int.from_bytes(kind, "big")) + element(0x41ED, record)
        )

    other = addition(b"hvcE", bytes(30))
    path = as_matroska(
        plain,
        tmp_path / "v.mkv",
        {},
        tracks_behind=tracks_behind,
        additions=other + addition(b"dvvC", RECORD),
    )
    assert declared(path).dolby_vision == 8
    path = as_matroska(plain, tmp_path / "o.mkv", {}, additions=other)
    assert declared(path).dolby_vision is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_damaged_records_say_nothing_and_cost_little(
    plain: Path, tmp_path: Path, suffix: str
) -> None:
    whole = tmp_path / f"v.{suffix}"
    if suffix == "mp4":
        with_boxes(plain, whole, box(b"dvvC", RECORD))
    else:
        record = number(0x41E7, int.from_bytes(b"dvvC", "big")) + element(0x41ED, RECORD)
        as_matroska(plain, whole, {}, additions=element(0x41E4, record))
    rng, data, found = random.Random(18), whole.read_bytes(), 0
    for _ in range(1500):
        damaged = bytearray(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
        for _ in range(rng.randrange(1, 20)):
            if damaged:
                near = max(0, len(damaged) - 900) if rng.random() < 0.8 else 0
                damaged[rng.randrange(near, len(damaged))] = rng.choice([0, 1, 8, 127, 128, 255])
        reads: list[int] = []

        def read(offset: int, size: int, data: bytes = bytes(damaged), reads: Any = reads) -> bytes:
            reads.append(offset)
            return data[offset : offset + size]

        if suffix == "mkv":
            profile = matroska_dolby_vision(read, file_size=len(damaged))
        else:
            profile = mp4_dolby_vision(read, file_size=len(damaged), track=1)
        assert profile is None or 0 <= profile < 128
        found += profile is not None
        assert len(reads) <= 5000
    assert 0 < found < 1500
