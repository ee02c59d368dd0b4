"""Technical measures of a frame's pixels, without a model. Values are never NaN."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.models import check_frames, check_number, check_whole, frame_slices


@dataclass(frozen=True, slots=True, eq=False)
class FrameQuality:
    """Measures of n frames, in the order of the frames."""

    sharpness: NDArray[np.float64]
    """Variance of the Laplacian of luma, in squared levels of 255. It depends on the frame size, so
    compare only frames of one signature. Shape (n,)."""
    exposure: NDArray[np.float64]
    """Mean luma, 0 to 1. Shape (n,)."""
    clipped_dark: NDArray[np.float64]
    """Share of pixels too dark to hold detail, 0 to 1. Shape (n,)."""
    clipped_bright: NDArray[np.float64]
    """Share of pixels too bright to hold detail, 0 to 1. Shape (n,)."""
    contrast: NDArray[np.float64]
    """Standard deviation of luma, 0 to 0.5. Shape (n,)."""
    colourfulness: NDArray[np.float64]
    """Hasler and Suesstrunk's M3: 0 is grey, about 15 slightly, 45 averagely, 82 highly
    colourful. Shape (n,)."""
    black_pixels: NDArray[np.float64]
    """Share of pixels that count as black, 0 to 1. Shape (n,)."""
    black: NDArray[np.bool_]
    """Whether the frame counts as black. Shape (n,)."""
    motion: NDArray[np.float64]
    """Mean absolute difference to the previous given frame, 0 to 1; 0 for the first. It grows with
    the time between frames, so compare only frames of one signature. Shape (n,)."""
    duplicate: NDArray[np.bool_]
    """Whether the frame repeats the previous given one; never the first. Shape (n,)."""
    aesthetic: NDArray[np.float64] | None = None
    """Score of a model, on its own scale; `None` without a model. Shape (n,)."""

    def __len__(self) -> int:
        """Return number of frames."""
        return len(self.sharpness)

    def columns(self) -> dict[str, list[Any]]:
        """Return the measures by name, one plain value per frame."""
        measured = {measure.name: getattr(self, measure.name) for measure in fields(self)}
        return {name: values.tolist() for name, values in measured.items() if values is not None}

    def rows(self) -> list[dict[str, float | bool]]:
        """Return one dict of plain values per frame."""
        columns = self.columns()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class TechnicalQuality:
    """Sharpness, exposure, contrast, colour, black frames, repeats and motion.

    - Sharpness: variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in
      brightfield microscopy", ICPR 2000), with mirrored borders as OpenCV has it.
    - Contrast: RMS contrast (Peli, "Contrast in complex images", J. Opt. Soc. Am. A 7, 1990).
    - Colourfulness: Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003.
    - Black frames: as FFmpeg's `blackframe`. Its threshold of 32 is for luma of limited range;
      on the full range of RGB that is (32 - 16) * 255 / 219 = 18.6.
    - Repeats: mean absolute difference, with the threshold of FFmpeg's `freezedetect` (-60 dB).

    Luma is BT.601, rounded to whole levels. Sums are exact, so results are the same on all
    machines.
    """

    name: ClassVar[str] = "technical"
    revision: ClassVar[int] = 1

    dark_level: int = 5
    """Luma, 0 to 255, up to which a pixel counts as clipped dark."""
    bright_level: int = 250
    """Luma, 0 to 255, from which a pixel counts as clipped bright."""
    black_level: int = 19
    """Luma, 0 to 255, below which a pixel counts as black."""
    black_share: float = 0.98
    """Share of black pixels, 0 to 1, from which a frame counts as black."""
    duplicate_threshold: float = 0.001
    """Mean absolute difference, 0 to 1, up to which a frame repeats the previous one."""

    def __post_init__(self) -> None:
        """Check that every threshold is in its range."""
        for name in ("dark_level", "bright_level", "black_level"):
            check_whole(name, getattr(self, name), smallest=0, largest=255)
        for name in ("black_share", "duplicate_threshold"):
            check_number(name, getattr(self, name), smallest=0, largest=1)

    def parameters(self) -> dict[str, Any]:
        """Return name, revision and every threshold."""
        return {"name": self.name, "revision": self.revision, **asdict(self)}

    def measure(self, frames: NDArray[np.uint8]) -> FrameQuality:
        """Return the measures of one clip's frames."""
        check_frames(frames)
        parts = [self._measure_part(frames, part) for part in frame_slices(frames)]
        return FrameQuality(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})

    def _measure_part(self, frames: NDArray[np.uint8], part: slice) -> dict[str, NDArray[Any]]:
        luma = _luma(frames[part])
        black_pixels = _mean(luma < self.black_level)
        motion = _motion(frames, part)
        repeated = motion <= self.duplicate_threshold
        return {
            "sharpness": _variance(_laplacian(luma)),
            "exposure": _mean(luma) / 255,
            "clipped_dark": _mean(luma <= self.dark_level),
            "clipped_bright": _mean(luma >= self.bright_level),
            "contrast": np.sqrt(_variance(luma)) / 255,
            "colourfulness": _colourfulness(frames[part]),
            "black_pixels": black_pixels,
            "black": black_pixels >= self.black_share,
            "motion": motion,
            "duplicate": repeated & (np.arange(len(frames))[part] > 0),
        }


def _luma(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return BT.601 luma of full range, rounded. Shape (n, height, width)."""
    red, green, blue = np.moveaxis(frames, 3, 0)
    # 256 * 255 + 128 fits into unsigned 16 bits.
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
