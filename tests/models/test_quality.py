"""Quality: measures against their definitions, and what they say of plain cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.quality import (
    QUALITY_PROVIDERS,
    FrameQuality,
    TechnicalQuality,
    open_quality_provider,
)
from tests.models.frame_batches import flat_frames, scene

Frames = NDArray[np.uint8]
Plane = NDArray[np.float64]
any_frames = npst.arrays(
    np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 8), st.integers(1, 8), st.just(3))
)
provider = TechnicalQuality()


def luma(frame: Frames) -> Plane:
    return np.asarray(np.floor(frame @ np.array([77, 150, 29]) / 256 + 0.5), np.float64)


def mirrored(index: int, length: int) -> int:
    """Where a pixel just beyond the border is taken from."""
    return min(abs(index), abs(2 * (length - 1) - index)) if length > 1 else 0


def laplacian(plane: Plane) -> Plane:
    """By the definition, pixel by pixel."""
    height, width = plane.shape
    result = -4 * plane
    for row, column in np.ndindex(height, width):
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            place = mirrored(row + down, height), mirrored(column + right, width)
            result[row, column] += plane[place]
    return result


def colourfulness(frame: Frames) -> float:
    """By the paper."""
    red, green, blue = np.moveaxis(frame.astype(float), 2, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def measured(quality: FrameQuality, name: str) -> list[float]:
    return [float(row[name]) for row in quality.rows()]


@given(any_frames)
def test_measures_are_as_defined(frames: Frames) -> None:
    """Every measure is what its definition gives, computed in the plainest way."""
    quality = provider.measure(frames)
    for row, frame in zip(quality.rows(), frames, strict=True):
        plane = luma(frame)
        assert row["sharpness"] == pytest.approx(laplacian(plane).var(), abs=1e-6)
        assert row["exposure"] == pytest.approx(plane.mean() / 255)
        assert row["clipped_dark"] == np.mean(plane <= 5)
        assert row["clipped_bright"] == np.mean(plane >= 250)
        assert row["contrast"] == pytest.approx(plane.std() / 255, abs=1e-6)
        assert row["colourfulness"] == pytest.approx(colourfulness(frame), abs=1e-5)
        assert row["black_pixels"] == np.mean(plane < 19)
    steps = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(quality.motion[1:], steps)


@given(any_frames)
def test_every_measure_is_a_finite_number(frames: Frames) -> None:
    """There is one value per frame of each measure, and none is NaN or infinite."""
    quality = provider.measure(frames)
    assert len(quality) == len(quality.rows()) == len(frames)
    for column in quality.columns().values():
        assert len(column) == len(frames)
        assert np.all(np.isfinite(column))


@given(any_frames)
def test_gray_frames_have_the_measures_of_equal_channels(frames: Frames) -> None:
    gray = frames[..., :1]
    assert provider.measure(gray).rows() == provider.measure(gray.repeat(3, axis=3)).rows()


def test_frames_of_other_types_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"must be uint8 \(n, height, width, 3 or 1\), not uint16"
    ):
        provider.measure(np.zeros((1, 4, 4, 1), np.uint16))


def test_no_frames() -> None:
    """A clip without frames has no measures, and that is no error."""
    quality = provider.measure(np.zeros((0, 8, 8, 3), np.uint8))
    assert quality.rows() == []
    assert quality.black.dtype == bool


def test_black_frame() -> None:
    """Black is dark, flat, colourless, and flagged."""
    quality = provider.measure(flat_frames((0, 0, 0)))
    assert quality.rows() == [
        {
            "sharpness": 0.0,
            "exposure": 0.0,
            "clipped_dark": 1.0,
            "clipped_bright": 0.0,
            "contrast": 0.0,
            "colourfulness": 0.0,
            "black_pixels": 1.0,
            "black": True,
            "motion": 0.0,
            "duplicate": False,
        }
    ]


def test_black_of_limited_range() -> None:
    """Black is what FFmpeg's blackframe calls black, whose threshold is for limited range."""
    levels = [18, 19]
    quality = provider.measure(flat_frames(*[(level,) * 3 for level in levels]))
    assert quality.black.tolist() == [True, False]


def test_black_frame_with_a_logo() -> None:
    """Up to 2 % of other pixels leave a frame black."""
    frames = flat_frames((0, 0, 0), (0, 0, 0), size=(100, 100))
    frames[0, :2, :100] = 255
    frames[1, :3, :100] = 255
    quality = provider.measure(frames)
    assert quality.black_pixels.tolist() == [0.98, 0.97]
    assert quality.black.tolist() == [True, False]


def test_white_frame() -> None:
    """White is bright, flat, colourless, and not black."""
    row = provider.measure(flat_frames((255, 255, 255))).rows()[0]
    assert (row["exposure"], row["clipped_bright"], row["black_pixels"]) == (1.0, 1.0, 0.0)
    assert (row["contrast"], row["sharpness"], row["colourfulness"]) == (0.0, 0.0, 0.0)


def test_blur_lowers_sharpness() -> None:
    """The more a picture is blurred, the less sharp it is said to be."""
    picture = Image.fromarray(scene(1))
    blurred = [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 0.7, 1.5, 3)]
    sharpness = provider.measure(np.stack([np.asarray(p) for p in blurred])).sharpness
    assert np.all(np.diff(sharpness) < 0)


def test_colour_raises_colourfulness() -> None:
    """The less saturated a picture, the less colourful; grey is 0."""
    picture = scene(2).astype(float)
    grey = picture.mean(axis=2, keepdims=True)
    frames = [np.rint(share * picture + (1 - share) * grey) for share in (1, 0.6, 0.3, 0)]
    found = provider.measure(np.stack(frames).astype(np.uint8)).colourfulness
    assert np.all(np.diff(found) < 0)
    assert found[-1] == pytest.approx(0, abs=0.1)


def test_repeats() -> None:
    """An exact repeat and one with a little noise are duplicates; the first frame never is."""
    first, other = scene(3), scene(4)
    almost = first.copy()
    almost[::40, ::40] ^= 1
    quality = provider.measure(np.stack([first, first, almost, other, first]))
    assert quality.duplicate.tolist() == [False, True, True, False, False]
    assert measured(quality, "motion")[:2] == [0.0, 0.0]
    assert np.all(quality.motion[3:] > 0.05)


def test_thresholds_decide_the_flags() -> None:
    """A wider threshold calls more frames black, and more of them repeats."""
    frames = flat_frames((30, 30, 30), (40, 40, 40))
    lenient = TechnicalQuality(black_level=50, duplicate_threshold=0.05).measure(frames)
    strict = provider.measure(frames)
    assert (lenient.black.tolist(), lenient.duplicate.tolist()) == ([True, True], [False, True])
    assert (strict.black.tolist(), strict.duplicate.tolist()) == ([False, False], [False, False])


def test_large_frames_are_sliced_unnoticed() -> None:
    """Frames that do not fit into one slice are still compared with the one before."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 800, 1200, 3), np.uint8)
    frames[2] = frames[1]
    whole = provider.measure(frames)
    pairs = [provider.measure(frames[i : i + 2]).rows()[1] for i in range(2)]
    assert whole.rows()[1:] == pairs
    assert whole.duplicate.tolist() == [False, False, True]


def test_rows_are_plain_values() -> None:
    """Rows hold what JSON and Parquet take."""
    row = provider.measure(flat_frames((1, 2, 3))).rows()[0]
    assert {type(value) for value in row.values()} == {float, bool}


def test_provider_is_identified_by_its_parameters() -> None:
    """Every threshold is part of what identifies the measures."""
    opened = open_quality_provider("technical", black_share=0.9)
    assert opened.parameters() == {
        "name": "technical",
        "revision": 1,
        "dark_level": 5,
        "bright_level": 250,
        "black_level": 19,
        "black_share": 0.9,
        "duplicate_threshold": 0.001,
    }
    assert set(QUALITY_PROVIDERS) == {"technical", "aesthetic"}


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"black_share": 1.5}, r"black_share=1\.5 must be a number from 0 to 1"),
        ({"black_share": "0.9"}, "black_share='0.9' must be a number"),
        ({"duplicate_threshold": float("nan")}, "duplicate_threshold=nan must be a number"),
        ({"duplicate_threshold": True}, "duplicate_threshold=True must be a number"),
        ({"dark_level": -1}, "dark_level=-1 must be a number from 0 to 255"),
        ({"bright_level": 250.5}, r"bright_level=250\.5 must be a whole number"),
        ({"sharp": 1}, "unexpected keyword argument 'sharp'; its parameters are: dark_level, "),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, object], complaint: str) -> None:
    """A threshold that nothing can meet is refused by name."""
    with pytest.raises(ConfigError, match=complaint):
        open_quality_provider("technical", **parameters)


def test_unknown_provider() -> None:
    """A name that is not there is answered with those that are."""
    with pytest.raises(
        ConfigError, match="no quality provider 'nice'; choose one of aesthetic, tech"
    ):
        open_quality_provider("nice")
