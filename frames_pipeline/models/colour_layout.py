"""Vectors of the layout of light and colour: the arithmetic of `PerceptualEmbedding`."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.models import frame_slices

_GRID: Final = 32
"""Cells on each side of the grid."""
_LOW: Final = 12
"""Frequencies per side to compute; the zigzag below selects from these."""
_LUMA_COEFFICIENTS: Final = 75
_CHROMA_COEFFICIENTS: Final = 10
DIMENSIONS: Final = 1 + _LUMA_COEFFICIENTS + 2 * _CHROMA_COEFFICIENTS
"""Length of a vector."""
_LUMA_MEAN_WEIGHT: Final = 0.1
_CONSTANT: Final = 4.0
"""The constant component, in levels of 255: a frame with much less contrast counts as flat."""

_LEVEL: Final = 256
"""Fixed point of grid cells: 1/256 of a level."""
_BASIS: Final = 4096
"""Fixed point of the cosines. 2**16 (cell) * (2**12 * 2**5)**2 (cosine, sum) stays below 2**53."""

_YCBCR: Final = np.array([[77, 150, 29], [-43, -85, 128], [128, -107, -21]], np.float64) / 256
"""JFIF luma and chroma (ITU-T T.871) from RGB, in 1/256."""


def layout_vectors(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return one unit vector per frame. Shape (n, dimensions).

    Args:
        frames: RGB pixels. Shape (n, height, width, 3).
    """
    vectors = np.empty((len(frames), DIMENSIONS), np.float32)
    for part in frame_slices(frames):
        vectors[part] = _unit_rows(_layout(_area_grid(frames[part])))
    return vectors


@cache
def _area_weights(pixels: int) -> NDArray[np.float32]:
    """Return the part of each pixel in each cell, in 1/_GRID pixel. Shape (_GRID, pixels)."""
    cells = np.arange(_GRID + 1) * pixels
    edges = np.arange(pixels + 1) * _GRID
    start = np.maximum(cells[:-1, None], edges[None, :-1])
    stop = np.minimum(cells[1:, None], edges[None, 1:])
    overlap: NDArray[np.int64] = np.maximum(stop - start, 0)
    return overlap.astype(np.float32)


def _area_grid(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colour of each cell, in whole 1/_LEVEL. Shape (n, 3, _GRID, _GRID)."""
    n, height, width, _ = frames.shape
    # Whole numbers up to 255 * height: exact in single precision up to 65,792 rows.
    rows = _area_weights(height) @ frames.reshape(n, height, width * 3).astype(np.float32)
    planes = np.moveaxis(rows.reshape(n, _GRID, width, 3), 3, 1).astype(np.float64, order="C")
    sums = planes @ _area_weights(width).T.astype(np.float64)
    cells: NDArray[np.float64] = np.rint(sums * _LEVEL / (height * width))
    return cells


def _layout(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weighted low frequencies of luma and chroma, with the constant.

    Shape (n, dimensions).
    """
    planes = np.rint(np.einsum("pc,ncij->npij", _YCBCR, grid))
    planes[:, 0] -= 128 * _LEVEL
    basis = _cosines()
    spectrum = basis @ planes @ basis.T / (_LEVEL * _BASIS**2 * _GRID**2)
    luma = (spectrum[:, 0] * _weights(_LUMA_MEAN_WEIGHT))[:, *_zigzag(_LUMA_COEFFICIENTS)]
    chroma = (spectrum[:, 1:] * _weights(1))[:, :, *_zigzag(_CHROMA_COEFFICIENTS)]
    constant = np.full((len(grid), 1), _CONSTANT)
    return np.concatenate(
        [constant, luma, chroma.reshape(len(grid), 2 * _CHROMA_COEFFICIENTS)], axis=1
    )


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the lowest rows of the DCT-II in fixed point, with mean square 1.

    Shape (_LOW, _GRID).
    """
    frequency, cell = np.ogrid[:_LOW, :_GRID]
    cosines = np.cos(np.pi * frequency * (2 * cell + 1) / (2 * _GRID))
    cosines[1:] *= np.sqrt(2)
    rounded: NDArray[np.float64] = np.rint(cosines * _BASIS)
    return rounded


@cache
def _weights(mean: float) -> NDArray[np.float64]:
    """Return each coefficient's weight: its frequency, or `mean` for the mean.

    Shape (_LOW, _LOW).
    """
    vertical, horizontal = np.ogrid[:_LOW, :_LOW]
    weights: NDArray[np.float64] = np.sqrt(vertical**2 + horizontal**2)
    weights[0, 0] = mean
    return weights


@cache
def _zigzag(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the first coefficients in zigzag order (ITU-T T.81).

    >>> [list(map(int, axis)) for axis in _zigzag(6)]
    [[0, 0, 1, 2, 1, 0], [0, 1, 0, 0, 1, 2]]
    """
    block = ((row, column) for row in range(_LOW) for column in range(_LOW))

    def order(place: tuple[int, int]) -> tuple[int, int]:
        diagonal = sum(place)
        return diagonal, place[diagonal % 2 == 0]

    places = np.array(sorted(block, key=order)[:count], np.intp)
    return places[:, 0], places[:, 1]


def _unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths: NDArray[np.float64] = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
    return (vectors / lengths).astype(np.float32)
