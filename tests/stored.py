"""A small store of noise, to read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final, cast, get_args

import numpy as np

from frames_pipeline import DecodeReport, FrameBatch, FrameExtractionSignature, FrameStore, Outcome
from frames_pipeline.signature import Samples

SIGNATURE = FrameExtractionSignature(target_fps=2, target_res=(6, 8))
EVERY_SAMPLES: Final = get_args(Samples)
"""Channels and bits of a pixel that there are."""
LENGTHS = {"b1": [5, 3, 8], "b2": [1, 6, 4]}
"""Frames of the clips of each batch."""


def with_samples(samples: str) -> FrameExtractionSignature:
    """The signature above, for other channels and bits of a pixel."""
    return replace(SIGNATURE, samples=cast("Samples", samples))


def pixels(n: int, seed: int, samples: str = "rgb8") -> np.ndarray[Any, Any]:
    """Noise over the full range of the samples."""
    like = with_samples(samples)
    rng = np.random.default_rng(seed)
    top = np.iinfo(like.dtype).max
    return rng.integers(0, top, (n, 6, 8, like.channels), dtype=like.dtype, endpoint=True)


def noise(n: int, seed: int, samples: str = "rgb8") -> FrameBatch:
    """Frames 30 to 30 + n of a stream at 30000/1001 per second, the last one corrupt."""
    return FrameBatch(
        frames=pixels(n, seed, samples),
        pts=np.arange(30, 30 + n, dtype=np.int64) * 1001,
        time_base=Fraction(1, 30000),
        positions=np.arange(30, 30 + n, dtype=np.int64),
        key_frame=np.arange(n) % 3 == 0,
        corrupt=np.arange(n) == n - 1,
        outcome=Outcome(DecodeReport("pyav"), candidates=3 * n),
    )


def fill(
    root: str,
    options: Mapping[str, Any] | None = None,
    *,
    samples: str = "rgb8",
    compression: str = "zstd",
) -> dict[str, FrameBatch]:
    """Write six clips in two batches; return them by clip id, in the order of the store."""
    store = FrameStore(root, options, compression=compression, durable=False)
    written: dict[str, FrameBatch] = {}
    seed = 0
    signature = with_samples(samples)
    for batch, lengths in LENGTHS.items():
        for number, n in enumerate(lengths):
            clip_id, seed = f"{batch}/v{number}.mp4#0-{n}", seed + 1
            written[clip_id] = noise(n, seed, samples)
            store.write_clip(batch, clip_id, {signature: written[clip_id]}, fingerprint="f")
        store.commit_batch(batch, signature)
    return written
