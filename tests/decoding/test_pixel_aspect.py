"""With `pixel_aspect="square"` circles come out round, wherever the frame is placed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from tests.decoding.planes import write_frames
from tests.videos import X264, make_video

ASPECTS = [Fraction(64, 45), Fraction(8, 9), Fraction(12, 11), Fraction(3)]
SQUARE = FrameExtractionSignature(policy="first", pixel_aspect="square", colour="accurate")
CODED = FrameExtractionSignature(policy="first", colour="accurate")


def circle(aspect: Fraction, height: int = 144) -> VideoFrame:
    """Return a frame of 4:3 with a white circle in its middle, anti-aliased, in coded pixels."""
    width = round(height * 4 / 3 / aspect / 2) * 2
    rows, columns = np.mgrid[: 8 * height, : 8 * width] / 8.0
    radius = 0.35 * height
    across = (columns - width / 2 + 1 / 16) * float(aspect)
    inside = across**2 + (rows - height / 2 + 1 / 16) ** 2 < radius**2
    coverage = inside.reshape(height, 8, width, 8).mean(axis=(1, 3))
    gray = np.rint(255 * coverage).astype(np.uint8)
    return VideoFrame.from_ndarray(np.stack([gray] * 3, -1), "rgb24").reformat(format="yuv444p")


def diameters(frame: NDArray[Any]) -> tuple[float, float]:
    """Return height and width of the white disk, from its second moments: a disk's is r²/4."""
    weight = frame.mean(axis=-1) / 255
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]

    def diameter(places: NDArray[Any]) -> float:
        mean = (weight * places).sum() / weight.sum()
        return float(4 * np.sqrt((weight * (places - mean) ** 2).sum() / weight.sum()))

    return diameter(rows), diameter(columns)


@pytest.fixture(params=ASPECTS, ids=str)
def anamorphic(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Fraction]:
    aspect = request.param
    path = tmp_path / "v.mp4"
    return write_frames(path, [circle(aspect)], codec="libx264", aspect=aspect), aspect


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        (None, "stretch"),
        ((100, 100), "fit"),
        ((100, 100), "pad"),
        ((100, 100), "crop"),
        ((100, -1), "stretch"),
        ((-1, 100), "stretch"),
    ],
)
def test_circles_are_round(
    anamorphic: tuple[Path, Fraction], size: tuple[int, int] | None, mode: Any
) -> None:
    path, _ = anamorphic
    signature = replace(SQUARE, target_res=size, resize_mode=mode)
    coded = replace(CODED, target_res=size, resize_mode=mode)
    batches = extract_frames(path, [signature, coded])
    [frame], [squashed] = batches[signature].frames, batches[coded].frames
    height, width = diameters(frame)
    assert abs(height - width) <= 1
    assert abs(np.subtract(*diameters(squashed))) > 2
    if mode in ("fit", "stretch"):
        assert frame.shape[1] / frame.shape[0] == pytest.approx(4 / 3, abs=0.03)


def test_native_frames_are_scaled_in_width_alone(anamorphic: tuple[Path, Fraction]) -> None:
    path, aspect = anamorphic
    batches = extract_frames(path, [SQUARE, CODED])
    (height, width), coded = batches[SQUARE].frames.shape[1:3], batches[CODED].frames.shape
    assert height == coded[1]
    assert abs(width - coded[2] * aspect) <= Fraction(1, 2)


def test_stretch_to_a_size_ignores_the_aspect(anamorphic: tuple[Path, Fraction]) -> None:
    path, _ = anamorphic
    square, coded = replace(SQUARE, target_res=(64, 80)), replace(CODED, target_res=(64, 80))
    batches = extract_frames(path, [square, coded])
    np.testing.assert_array_equal(batches[square].frames, batches[coded].frames)


@pytest.mark.parametrize("size", [None, (-1, 120)])
def test_circles_are_round_after_a_rotation(tmp_path: Path, size: tuple[int, int] | None) -> None:
    """The aspect is that of stored pixels: after a quarter turn, heights follow it."""
    aspect = Fraction(64, 45)
    path = write_frames(
        tmp_path / "v.mov", [circle(aspect)], codec="libx264", aspect=aspect, rotation=90
    )
    signature = replace(SQUARE, target_res=size)
    [frame] = extract_frames(path, [signature])[signature].frames
    assert frame.shape[0] > frame.shape[1]
    height, width = diameters(frame)
    assert abs(height - width) <= 1


@pytest.mark.parametrize("samples", ["rgb16", "gray8"])
def test_circles_are_round_in_other_samples(
    anamorphic: tuple[Path, Fraction], samples: Any
) -> None:
    path, _ = anamorphic
    signature = replace(SQUARE, samples=samples)
    [frame] = extract_frames(path, [signature])[signature].frames
    height, width = diameters(frame.astype(float))
    assert abs(height - width) <= 1


@pytest.mark.parametrize("aspect", [None, Fraction(1), Fraction(60_000), Fraction(1, 60_000)])
def test_pixels_without_a_plausible_aspect_count_as_square(
    tmp_path: Path, aspect: Fraction | None
) -> None:
    """0:1 is no aspect. MPEG-TS has none of its own, so that x264's is the only one."""
    path = make_video(tmp_path / "v.ts", frames=1, options=X264 | _sar(aspect))
    assert probe(path).picture.pixel_aspect == aspect
    batches = extract_frames(path, [SQUARE, CODED])
    assert batches[SQUARE].frames.tobytes() == batches[CODED].frames.tobytes()
    assert batches[SQUARE].frames.shape == (1, 48, 64, 3)


def _sar(aspect: Fraction | None) -> dict[str, str]:
    if aspect is None:
        return {}
    sar = f":sar={aspect.numerator}/{aspect.denominator}"
    return {"x264-params": X264["x264-params"] + sar}


def test_an_aspect_that_changes_is_that_of_the_stream(tmp_path: Path) -> None:
    """As players show it: the size does not jump."""
    parts = [
        make_video(
            tmp_path / f"{sar}.ts", frames=3, first=first, options=X264 | _sar(Fraction(sar))
        )
        for sar, first in ((2, 0), (3, 3))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    signature = FrameExtractionSignature(target_fps=25, pixel_aspect="square")
    last = replace(SQUARE, policy="last")
    batches = extract_frames(path, [signature, last])
    assert len(batches[signature]) == 6
    assert batches[signature].frames.shape[1:] == (48, 128, 3)
    assert batches[last].frames.shape[1:] == (48, 128, 3)
