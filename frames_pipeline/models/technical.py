"""Technical measures of a frame's pixels, without a model. Values are never NaN."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from frames_pipeline.models import check_frames, check_number, check_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        """Return the number of frames."""
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

    Luma is BT.601, rounded to whole levels; of gray frames it is the pixels themselves. Sums are
    exact, so results are the same on all machines.
    """

    name: ClassVar[str] = "technical"
    revision: ClassVar[int] = 1
    samples: ClassVar[tuple[str, ...]] = ("rgb8", "gray8")

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
        """Return the measures of one clip's frames. Shape (n, height, width, 3 or 1)."""
        from frames_pipeline.models.pixel_measures import measured  # noqa: PLC0415

        check_frames(frames, channels=(3, 1))
        return FrameQuality(**measured(frames, self))
