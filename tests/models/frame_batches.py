"""Frames for tests of models."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome


def flat_frames(
    *colours: tuple[int, int, int], size: tuple[int, int] = (48, 64)
) -> NDArray[np.uint8]:
    """Return one frame of each colour. Shape (n, *size, 3)."""
    pixels = np.array(colours, np.uint8).reshape(-1, 1, 1, 3)
    return np.ascontiguousarray(np.broadcast_to(pixels, (len(colours), *size, 3)))


def scene(seed: int, *, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Return a picture with amplitudes that fall as 1/f, as in natural images. Shape (*size, 3)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) * n for n in size), indexing="ij"))
    spectrum = np.fft.fft2(rng.normal(size=(3, *size)), axes=(1, 2)) / np.maximum(frequency, 1)
    planes = np.real(np.fft.ifft2(spectrum, axes=(1, 2)))
    planes = planes[:1] + 0.3 * planes
    levels = 128 + 40 * planes / planes.std()
    return np.asarray(np.moveaxis(np.clip(levels, 0, 255), 0, 2), np.uint8)


def frame_batch(
    frames: NDArray[np.uint8],
    *,
    positions: Sequence[int] | None = None,
    corrupt: Sequence[int] = (),
) -> FrameBatch:
    """Return frames at 25 per second, at these positions, damaged at the `corrupt` indices."""
    n = len(frames)
    at = np.arange(n) if positions is None else np.array(positions, np.int64)
    return FrameBatch(
        frames=frames,
        pts=at.astype(np.int64) * 512,
        time_base=Fraction(1, 12800),
        positions=at.astype(np.int64),
        key_frame=at % 12 == 0,
        corrupt=np.isin(np.arange(n), np.array(corrupt, np.int64)),
        outcome=Outcome(decode=DecodeReport(decoder="pyav"), candidates=n),
    )
