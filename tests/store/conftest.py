"""Frames to store, and stores for them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore, codecs

MakeFrames = Callable[..., FrameBatch]


@pytest.fixture(scope="session")
def make_frames() -> MakeFrames:
    """Return a function that makes a FrameBatch of noise from a seed."""

    def make(
        n: int = 4, height: int = 6, width: int = 8, *, seed: int = 0, **fields: Any
    ) -> FrameBatch:
        rng = np.random.default_rng(seed)
        values = {
            "frames": rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8),
            "pts": np.arange(n, dtype=np.int64) * 1001,
            "time_base": Fraction(1, 30000),
            "positions": np.arange(n, dtype=np.int64),
            "key_frame": np.arange(n) % 3 == 0,
            "corrupt": np.zeros(n, dtype=np.bool_),
            "outcome": Outcome(DecodeReport("pyav", packets_fed=n), candidates=3 * n),
        }
        return FrameBatch(**(values | fields))

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[[FrameBatch, FrameBatch], None]:
    """Return a function that compares two batches in every field."""

    def check(found: FrameBatch, expected: FrameBatch) -> None:
        for name in ("frames", "pts", "positions", "key_frame", "corrupt"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
            assert getattr(found, name).dtype == getattr(expected, name).dtype
        assert found.time_base == expected.time_base
        assert found.outcome == expected.outcome
        assert found.digest() == expected.digest()

    return check


@pytest.fixture(scope="session")
def signature() -> FrameExtractionSignature:
    """Return a signature. Any will do, since the store does not interpret it."""
    return FrameExtractionSignature(target_fps=2, target_res=(6, 8))


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    """Return a store in a folder."""
    return FrameStore(tmp_path / "store", durable=False)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two frames of 6 x 8 pixels fill a shard."""
    monkeypatch.setattr(codecs, "SHARD_BYTES", 300)
