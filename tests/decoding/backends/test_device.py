"""Pixels that torch makes are close to swscale's: the code that runs on a GPU, run on the CPU."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from frames_pipeline import DecoderUnsupportedError, FrameExtractionSignature, extract_frames
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.device import TOLERANCES, scaled_rgb
from frames_pipeline.decoding.tensors import stream_tensors
from tests.containers import with_aperture
from tests.libraries import need
from tests.oracle import CORPUS, needs_corpus
from tests.videos import X264, make_video

SIZES = [(224, 224), (360, 640), (240, 426)]


@pytest.fixture(autouse=True)
def _torch() -> None:
    need("torch")


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
    name: str, size: tuple[int, int], interpolation: Literal["bicubic", "bilinear"]
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


@pytest.mark.parametrize(
    "wanted",
    [
        {"target_res": (48, 64)},
        {"target_res": (40, 40), "resize_mode": "pad"},
        {"target_res": (40, 40), "resize_mode": "crop"},
        {},
    ],
)
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_tensors_are_the_frames(tmp_path: Path, rotation: int, wanted: dict[str, Any]) -> None:
    video = make_video(tmp_path / "v.mp4", size=(96, 128), rotation=rotation, options=X264)
    asked = FrameExtractionSignature(target_fps=5, colour="accurate", **wanted)
    expected = extract_frames(video, [asked])[asked]
    found = list(stream_tensors(video, replace(asked, pixels="cuda"), decoder="pyav"))

    assert [frame.position for frame in found] == expected.positions.tolist()
    assert [frame.pts for frame in found] == expected.pts.tolist()
    assert not any(frame.corrupt for frame in found)
    for frame, pixels in zip(found, expected.frames, strict=True):
        assert frame.pixels.shape == pixels.shape
        assert np.abs(frame.pixels.numpy().astype(int) - pixels).mean() < 4  # hard edges


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("wanted", [{}, {"target_res": (40, 40), "resize_mode": "pad"}])
def test_tensors_are_cut_as_the_frames_are(
    tmp_path: Path, rotation: int, wanted: dict[str, Any]
) -> None:
    plain = make_video(tmp_path / "v.mp4", size=(96, 128), rotation=rotation, options=X264)
    video = with_aperture(plain, tmp_path / "cut.mp4", (75, 1, 49, 1, 10, 1, -7, 1))
    asked = FrameExtractionSignature(target_fps=5, colour="accurate", crop="container", **wanted)
    expected = extract_frames(video, [asked])[asked]
    whole = extract_frames(video, [replace(asked, crop="coded")])
    found = list(stream_tensors(video, replace(asked, pixels="cuda"), decoder="pyav"))
    for frame, pixels in zip(found, expected.frames, strict=True):
        assert frame.pixels.shape == pixels.shape
        assert np.abs(frame.pixels.numpy().astype(int) - pixels).mean() < 4
    [uncut] = whole.values()
    assert uncut.frames.shape != expected.frames.shape or not np.array_equal(
        uncut.frames, expected.frames
    )


@needs_corpus
def test_tensors_of_a_damaged_video_carry_its_marks() -> None:
    path = CORPUS / "hard" / "zeroed_middle.mp4"
    asked = FrameExtractionSignature(target_fps=10, target_res=(48, 64))
    expected = extract_frames(path, [asked])[asked]
    found = list(stream_tensors(path, replace(asked, pixels="cuda"), decoder="pyav"))
    assert [frame.position for frame in found] == expected.positions.tolist()
    assert [frame.corrupt for frame in found] == expected.corrupt.tolist()
    assert any(frame.corrupt for frame in found)


def test_what_it_cannot_convert_is_refused() -> None:
    for frame in (VideoFrame(64, 48, "yuv444p"), VideoFrame(63, 48, "nv12")):
        with pytest.raises(DecoderUnsupportedError, match="use pixels='swscale'"):
            scaled_rgb(frame, 24, 32, "bicubic")
