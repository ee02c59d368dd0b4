"""Measures of pixels: the arithmetic of `TechnicalQuality`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.models import frame_slices

if TYPE_CHECKING:
    from frames_pipeline.models.technical import TechnicalQuality


def measured(frames: NDArray[np.uint8], thresholds: TechnicalQuality) -> dict[str, NDArray[Any]]:
    """Return the measures of frames by name, each of shape (n,).

    Args:
        frames: RGB or gray pixels, in presentation order. Shape (n, height, width, 3 or 1).
        thresholds: Levels from which a pixel or a frame counts as dark, bright, black or repeated.
    """
    parts = [_measure_part(frames, part, thresholds) for part in frame_slices(frames)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _measure_part(
    frames: NDArray[np.uint8], part: slice, thresholds: TechnicalQuality
) -> dict[str, NDArray[Any]]:
    luma = _luma(frames[part])
    black_pixels = _mean(luma < thresholds.black_level)
    motion = _motion(frames, part)
    repeated = motion <= thresholds.duplicate_threshold
    return {
        "sharpness": _variance(_laplacian(luma)),
        "exposure": _mean(luma) / 255,
        "clipped_dark": _mean(luma <= thresholds.dark_level),
        "clipped_bright": _mean(luma >= thresholds.bright_level),
        "contrast": np.sqrt(_variance(luma)) / 255,
        "colourfulness": _colourfulness(frames[part]),
        "black_pixels": black_pixels,
        "black": black_pixels >= thresholds.black_share,
        "motion": motion,
        "duplicate": repeated & (np.arange(len(frames))[part] > 0),
    }


def _luma(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return BT.601 luma of full range, rounded. Shape (n, height, width)."""
    if frames.shape[3] == 1:
        return frames[..., 0].astype(np.int16)
    red, green, blue = np.moveaxis(frames, 3, 0)
    # 256 * 255 + 128 fits into 16 bits without a sign.
    total: NDArray[np.uint16] = np.uint16(77) * red + np.uint16(150) * green + np.uint16(29) * blue
    return ((total + 128) >> 8).astype(np.int16)


def _laplacian(luma: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the sum of the four neighbours minus four times the pixel.

    Shape (n, height, width).
    """
    padded = np.pad(luma, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    above, below = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    left, right = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    neighbours: NDArray[np.int16] = above + below + left + right
    return neighbours - 4 * luma


def _colourfulness(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the length of the spread plus 0.3 times that of the mean, in opponent colours.

    Shape (n,).
    """
    if frames.shape[3] == 1:
        return np.zeros(len(frames))
    red, green, blue = np.moveaxis(frames.astype(np.int16), 3, 0)
    red_green, twice_yellow_blue = red - green, red + green - 2 * blue
    spread = np.sqrt(_variance(red_green) + _variance(twice_yellow_blue) / 4)
    return spread + 0.3 * np.hypot(_mean(red_green), _mean(twice_yellow_blue) / 2)


def _motion(frames: NDArray[np.uint8], part: slice) -> NDArray[np.float64]:
    """Return the mean absolute difference of each frame of the part to the previous one.

    Shape (n,).
    """
    previous = np.maximum(np.arange(len(frames))[part] - 1, 0)
    now, before = frames[part], frames[previous]
    difference = np.maximum(now, before) - np.minimum(now, before)
    total: NDArray[np.int64] = np.sum(difference, axis=(1, 2, 3), dtype=np.int64)
    return total / (255 * np.prod(frames.shape[1:]))


def _mean(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean over a frame, from an exact sum. Shape (n,)."""
    total: NDArray[np.int64] = np.sum(values, axis=(1, 2), dtype=np.int64)
    return total / np.prod(values.shape[1:])


def _variance(values: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the variance over a frame, from exact sums. Shape (n,)."""
    squares = np.square(values, dtype=np.int32)
    return np.maximum(_mean(squares) - _mean(values) ** 2, 0)
