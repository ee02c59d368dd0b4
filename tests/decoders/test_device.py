"""Pixels that torch makes are close to swscale's: the code that runs on a GPU, run on the CPU."""

from __future__ import annotations

import importlib.util
import itertools
import os

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from frames_pipeline import DecoderUnsupportedError, FrameExtractionSignature
from frames_pipeline.convert import Converter, PixelSpec
from frames_pipeline.device import TOLERANCES, scaled_rgb
from tests.oracle import CORPUS, needs_corpus

SIZES = [(224, 224), (360, 640), (240, 426)]


@pytest.fixture(autouse=True)
def _torch() -> None:
    if importlib.util.find_spec("torch") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no torch")
        pytest.skip("there is no torch")


def real_frame(name: str, number: int = 10) -> VideoFrame:
    with av.open(str(CORPUS / name)) as container:
        return next(itertools.islice(container.decode(video=0), number, None))


def as_from_gpu(frame: VideoFrame) -> VideoFrame:
    """The same samples in the layout of a GPU."""
    layout = "p010le" if "10" in frame.format.name else "nv12"
    laid_out = frame.reformat(format=layout, interpolation=Interpolation.POINT)
    laid_out.colorspace, laid_out.color_range = frame.colorspace, frame.color_range
    return laid_out


@needs_corpus
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "name", ["bench/h264_720_g250.mp4", "bench/av1_720.mp4", "hard/hevc_10bit.mp4"]
)
def test_pixels_are_within_the_tolerance(
    name: str, size: tuple[int, int], interpolation: str
) -> None:
    frame = real_frame(name)
    signature = FrameExtractionSignature(
        policy="first", target_res=size, interpolation=interpolation
    )
    expected = np.empty((*size, 3), np.uint8)
    Converter(name).convert(frame, PixelSpec.of(signature), expected)

    found = scaled_rgb(as_from_gpu(frame), *size, interpolation).numpy()
    apart = np.abs(found.astype(int) - expected)
    assert apart.mean() <= TOLERANCES["cuda"].mean
    assert apart.max() <= TOLERANCES["cuda"].maximum


@pytest.mark.parametrize("range_", ["limited", "full"])
def test_grey_stays_grey_and_ends_stay_ends(range_: str) -> None:
    black, white = (16, 235) if range_ == "limited" else (0, 255)
    for level, expected in ((black, 0), (white, 255)):
        frame = VideoFrame(64, 48, "nv12")
        for plane, value in zip(frame.planes, (level, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.color_range = 1 if range_ == "limited" else 2
        assert np.all(scaled_rgb(frame, 24, 32, "bicubic").numpy() == expected)


def test_what_it_cannot_convert_is_refused() -> None:
    for frame in (VideoFrame(64, 48, "yuv444p"), VideoFrame(63, 48, "nv12")):
        with pytest.raises(DecoderUnsupportedError, match="use pixels='swscale'"):
            scaled_rgb(frame, 24, 32, "bicubic")
