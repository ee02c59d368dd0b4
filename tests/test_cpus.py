"""A signature gives the same bytes on every processor."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.ycbcr import SHORTCUT, apply_formula
from tests.corpus.decoding import decode_planned
from tests.cpus import COLOUR_SPACES, library, random_frame
from tests.oracle import plain_decode
from tests.videos import make_video, scenes

PROCESSORS = {
    "plain C": "0",
    "SSE3 of 2004": "0x5b",
    "SSE4.2 of 2008": "0x3db",
    "AVX of 2011": "0x73db",
}
"""Features of x86 processors, as libavutil flags."""
ENCODERS: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "mpeg4.mkv": ("mpeg4", "yuv420p", {"bf": "2"}),
    "mpeg4_qpel.mkv": ("mpeg4", "yuv420p", {"flags": "+qpel+mv4"}),
    "mpeg4_mpeg_quant.mkv": ("mpeg4", "yuv420p", {"mpeg_quant": "1"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"bf": "2"}),
    "mpeg1.mkv": ("mpeg1video", "yuv420p", {}),
    "msmpeg4v3.avi": ("msmpeg4", "yuv420p", {}),
    "wmv2.avi": ("wmv2", "yuv420p", {}),
    "h263p.avi": ("h263p", "yuv420p", {}),
    "flv1.flv": ("flv", "yuv420p", {}),
    "mjpeg.avi": ("mjpeg", "yuvj422p", {}),
    "jpeg2000.mkv": ("jpeg2000", "yuv444p", {"qscale": "8"}),
    "h264.mp4": ("libx264", "yuv420p", {"preset": "fast"}),
    "hevc.mp4": ("libx265", "yuv420p10le", {"preset": "fast", "x265-params": "log-level=none"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {}),
}
OF_ONE_FAMILY = [
    name for name, (codec, *_) in ENCODERS.items()
    if codec in {"mpeg4", "mpeg2video", "mpeg1video", "msmpeg4", "wmv2", "h263p", "flv"}
]  # fmt: skip
"""Codecs of the MPEG-4 family, which share code."""
FFMPEG = shutil.which("ffmpeg")
SIZE = (68, 100)
FIELDS = {"flags": "+ildct+ilme"}
INTERLACED_HEIGHTS = (64, 65, 66, 67)
"""swscale converts each field as a picture; its code depends on whether the height is even."""
LAYOUTS = ("yuv420p", "yuvj420p", "yuva420p", "yuv422p", "yuvj422p")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a video of moving texture per encoder."""
    folder = tmp_path_factory.mktemp("videos")
    for name, (codec, layout, options) in ENCODERS.items():
        make_video(
            folder / name,
            frames=10,
            size=SIZE,
            codec=codec,
            pixel_format=layout,
            options=options,
            draw=scenes([10]),
        )
    for height in INTERLACED_HEIGHTS:
        interlaced(folder / f"interlaced_{height}.mkv", height)
    return folder


def interlaced(path: Path, height: int) -> Path:
    """Make an interlaced video."""
    size = (height, 99)
    return make_video(
        path, frames=10, size=size, codec="mpeg2video", options=FIELDS, draw=scenes([10])
    )


def digests(flags: str, videos: Path) -> dict[str, str]:
    """Return the digests of a process that uses only some processor features."""
    command = [sys.executable, "-m", "tests.cpus", flags, str(videos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.skipif(
    library("libavutil") is None or platform.machine() != "x86_64",
    reason="needs a wheel of PyAV, and an x86 that can play lesser ones",
)
@pytest.mark.live
def test_every_processor_gives_the_same_bytes(videos: Path) -> None:
    here = digests("all", videos)
    for name, flags in PROCESSORS.items():
        there = digests(flags, videos)
        assert there.keys() == here.keys()
        differ = [case for case in here if here[case] != there[case]]
        assert not differ, f"{name}: {len(differ)} of {len(here)} cases differ: {differ[:5]}"


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@pytest.mark.parametrize("name", OF_ONE_FAMILY)
def test_samples_are_those_of_ffmpegs_exact_code(videos: Path, name: str) -> None:
    """FFmpeg's default code differs between versions, and in older ones between processors."""
    command = [str(FFMPEG), "-v", "error", "-flags", "bitexact", "-i", str(videos / name)]
    command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = [line.split(",")[-1].strip() for line in told.splitlines() if line[0] != "#"]
    with open_media(videos / name) as media:
        decoded = decode_planned(media, media.index.presentation, "md5").digests
    assert list(decoded.values()) == expected


def shortcut(frame: VideoFrame) -> NDArray[np.uint8]:
    """Convert a frame with swscale on this processor."""
    made = VideoReformatter().reformat(frame, format="rgb24", interpolation=SHORTCUT, threads=1)
    return np.asarray(made.to_ndarray(), np.uint8)


def is_defined_here() -> bool:
    """Whether swscale's shortcut equals the formula on this processor."""
    frame = random_frame("yuv420p", 64, 64, np.random.default_rng(0))
    corrected = shortcut(frame)
    apply_formula(frame, corrected)
    return np.array_equal(corrected, shortcut(frame))


needs_ssse3 = pytest.mark.skipif(not is_defined_here(), reason="this processor lacks SSSE3")


@needs_ssse3
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_formula_is_what_swscale_computes(layout: str) -> None:
    for case, space in enumerate(COLOUR_SPACES * 3):
        random = np.random.default_rng(case)
        height, width = random.integers(1, 300, 2).tolist()
        frame = random_frame(layout, height, width, random)
        frame.colorspace, frame.color_range = space, case // len(COLOUR_SPACES)
        expected = shortcut(frame)
        computed = expected.copy() if frame.height % 2 else np.zeros_like(expected)
        apply_formula(frame, computed)
        np.testing.assert_array_equal(computed, expected)


@needs_ssse3
@pytest.mark.parametrize("height", INTERLACED_HEIGHTS)
def test_the_formula_goes_by_fields(tmp_path: Path, height: int) -> None:
    frames = plain_decode(interlaced(tmp_path / "v.mkv", height))
    for plain in frames:
        assert plain.frame.interlaced_frame
        expected = shortcut(plain.frame)
        computed = expected.copy()
        for field in range(2):
            if len(computed[field::2]) % 2 == 0:
                computed[field::2] = 0
        apply_formula(plain.frame, computed)
        np.testing.assert_array_equal(computed, expected)


def test_the_formula_over_every_triple_of_samples() -> None:
    """Shifting by one level, or rounding differently, changes the digest."""
    frame = VideoFrame(512, 512, "yuv422p")
    digest = hashlib.sha1()
    for luma in range(0, 256, 2):
        for number, plane in enumerate(frame.planes):
            lines = np.zeros((512, plane.line_size), np.uint8)
            if number == 0:
                lines[:, :512] = luma + np.arange(512) % 2
            else:
                values = np.indices((256, 256))[number - 1].astype(np.uint8)
                lines[:256, :256] = lines[256:, :256] = values
            plane.update(lines.tobytes())
        out = np.zeros((512, 512, 3), np.uint8)
        apply_formula(frame, out)
        digest.update(out[:256].tobytes())
    assert digest.hexdigest() == EVERY_TRIPLE


EVERY_TRIPLE = "ef55e36363bb8ef1d7a6b8935006bb90767c4528"
"""Digest of 16.7 million pixels, made by swscale 9.5 with AVX2 independently of the formula."""


def test_the_last_column_of_an_odd_width_is_written() -> None:
    """Plain C code leaves it unwritten: black, or uninitialized memory."""
    frame = VideoFrame(31, 16, "yuv420p")
    for plane in frame.planes:
        plane.update(b"\xb4" * plane.buffer_size)
    out = np.zeros((16, 31, 3), np.uint8)
    Converter("grey").convert(
        frame, PixelSpec((None, None), "stretch", "bicubic", "ffmpeg", "apply"), out
    )
    assert (out[:, 30] == out[:, 29]).all()
