"""A small store of noise, to read from."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from frames_pipeline import DecodeReport, FrameBatch, FrameExtractionSignature, FrameStore, Outcome

SIGNATURE = FrameExtractionSignature(target_fps=2, target_res=(6, 8))
LENGTHS = {"b1": [5, 3, 8], "b2": [1, 6, 4]}
"""Frames of the clips of each batch."""


def noise(n: int, seed: int) -> FrameBatch:
    """Frames 30 to 30 + n of a stream at 30000/1001 per second, the last one corrupt."""
    rng = np.random.default_rng(seed)
    return FrameBatch(
        frames=rng.integers(0, 256, (n, 6, 8, 3), dtype=np.uint8),
        pts=np.arange(30, 30 + n, dtype=np.int64) * 1001,
        time_base=Fraction(1, 30000),
        positions=np.arange(30, 30 + n, dtype=np.int64),
        key_frame=np.arange(n) % 3 == 0,
        corrupt=np.arange(n) == n - 1,
        outcome=Outcome(DecodeReport("pyav"), candidates=3 * n),
    )


def fill(root: str, options: Mapping[str, Any] | None = None) -> dict[str, FrameBatch]:
    """Write six clips in two batches; return them by clip id, in the order of the store."""
    store, written, seed = FrameStore(root, options, durable=False), {}, 0
    for batch, lengths in LENGTHS.items():
        for number, n in enumerate(lengths):
            clip_id, seed = f"{batch}/v{number}.mp4#0-{n}", seed + 1
            written[clip_id] = noise(n, seed)
            store.write_clip(batch, clip_id, {SIGNATURE: written[clip_id]}, fingerprint="f")
        store.commit_batch(batch, SIGNATURE)
    return written
