"""Sizes come out as promised, and pixels equal FFmpeg's own accurate path."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.decoding.convert import PixelSpec, Size, geometry
from tests.oracle import plain_decode
from tests.videos import X264, make_video

FFMPEG = shutil.which("ffmpeg")

sides = st.integers(1, 5000)


def spec(height: int | None, width: int | None, mode: str = "stretch") -> PixelSpec:
    return PixelSpec((height, width), mode, "bicubic", "ffmpeg", "apply")


@given(sides, sides, sides, sides)
def test_fit_pad_and_crop_keep_the_aspect(height: int, width: int, h: int, w: int) -> None:
    shown, box = Size(h, w), Size(height, width)
    fit = geometry(spec(height, width, "fit"), shown)
    pad = geometry(spec(height, width, "pad"), shown)
    crop = geometry(spec(height, width, "crop"), shown)

    assert pad.output == crop.output == box
    assert fit.output == fit.scaled == pad.scaled
    assert fit.scaled.height <= height
    assert fit.scaled.width <= width
    assert crop.scaled.height >= height
    assert crop.scaled.width >= width
    for scaled in (fit.scaled, crop.scaled):
        assert height == scaled.height or width == scaled.width
        ideal_width = scaled.height * w / h
        ideal_height = scaled.width * h / w
        assert abs(scaled.width - ideal_width) <= 1 or abs(scaled.height - ideal_height) <= 1


@given(sides, sides, sides)
def test_a_free_side_follows_the_aspect(side: int, h: int, w: int) -> None:
    by_height = geometry(spec(side, None), Size(h, w)).output
    by_width = geometry(spec(None, side), Size(h, w)).output
    assert by_height.height == side
    assert by_width.width == side
    assert abs(by_height.width - side * w / h) <= max(0.5, 1 - side * w / h)
    assert abs(by_width.height - side * h / w) <= max(0.5, 1 - side * h / w)


def test_a_frame_of_another_size_is_stretched_to_the_ones_before() -> None:
    assert geometry(spec(None, None), Size(24, 32), Size(48, 64)).scaled == Size(48, 64)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("wide") / "v.mp4", size=(90, 160), options=X264)


@pytest.mark.parametrize("size", [(24, 32), (90, 161), (224, 224), (1, 1)])
def test_resized_pixels_equal_the_accurate_path(wide: Path, size: tuple[int, int]) -> None:
    signature = FrameExtractionSignature(policy="middle", target_res=size)
    batch = extract_frames(wide, [signature])[signature]
    plain = plain_decode(wide)[int(batch.positions[0])]
    np.testing.assert_array_equal(batch.frames[0], plain.rgb(*size))


def test_pad_is_fit_in_black_and_crop_is_the_centre(wide: Path) -> None:
    stretched = FrameExtractionSignature(policy="middle", target_res=(64, 64))
    fit, pad = (replace(stretched, resize_mode=mode) for mode in ("fit", "pad"))
    crop, cover = replace(stretched, resize_mode="crop"), replace(stretched, target_res=(64, -1))
    batches = extract_frames(wide, [fit, pad, crop, cover])
    fitted, padded, cropped, covered = (batches[s].frames[0] for s in (fit, pad, crop, cover))

    assert fitted.shape == (36, 64, 3)
    assert covered.shape == (64, 114, 3)
    np.testing.assert_array_equal(padded[14:50], fitted)
    assert not padded[:14].any()
    assert not padded[50:].any()
    np.testing.assert_array_equal(cropped, covered[:, 25:89])


@pytest.mark.parametrize("interpolation", ["bilinear", "area", "lanczos"])
def test_interpolations_differ(wide: Path, interpolation: str) -> None:
    one = FrameExtractionSignature(policy="middle", target_res=(31, 57))
    other = FrameExtractionSignature(
        policy="middle",
        target_res=(31, 57),
        interpolation=interpolation,  # type: ignore[arg-type]
    )
    batches = extract_frames(wide, [one, other])
    assert not np.array_equal(batches[one].frames, batches[other].frames)


def test_accurate_colour_differs_from_ffmpegs_default_by_little(wide: Path) -> None:
    fast = FrameExtractionSignature(policy="middle")
    accurate = FrameExtractionSignature(policy="middle", colour="accurate")
    batches = extract_frames(wide, [fast, accurate])
    difference = batches[fast].frames.astype(int) - batches[accurate].frames
    assert 0 < np.abs(difference).mean() < 3


def tagged(path: Path, layout: str, height: int, siting: str) -> Path:
    """Write a picture with sharp colour edges and a tag for the chroma location."""
    edges = "255*mod(floor(X/5)+floor(Y/7)\\,2)"
    source = f"nullsrc=s=160x{height}:r=5,format=gbrp,geq=r={edges}:g=255*mod(floor(X/3)\\,2):b=128"
    command = [str(FFMPEG), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1"]
    command += ["-vf", f"scale,format={layout}", "-c:v", "ffv1"]
    subprocess.run([*command, "-chroma_sample_location", siting, str(path)], check=True)
    return path


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize(
    ("layout", "height", "goes_by_siting"),
    [("yuv420p", 90, False), ("yuv420p", 91, True), ("yuv420p10le", 90, True)],
)
def test_native_colours_are_those_of_the_program_ffmpeg(
    tmp_path: Path, layout: str, height: int, goes_by_siting: bool, siting: str
) -> None:
    """Pixels differ for other chroma locations than the centre, which ffmpeg 5.1 assumes."""
    path = tagged(tmp_path / "v.mkv", layout, height, siting)
    signature = FrameExtractionSignature(policy="first")
    [ours] = extract_frames(path, [signature])[signature].frames
    command = [str(FFMPEG), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24"]
    theirs = subprocess.run([*command, "-"], check=True, capture_output=True).stdout
    if not goes_by_siting or siting == "center":
        assert ours.tobytes() == theirs
    centred = tagged(tmp_path / "c.mkv", layout, height, "center")
    [other] = extract_frames(centred, [signature])[signature].frames
    assert np.array_equal(ours, other) == (not goes_by_siting or siting == "center")
