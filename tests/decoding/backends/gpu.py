"""GPU tests: they skip without a GPU, and fail without one if REQUIRE_GPU=1."""

from __future__ import annotations

import os

import pytest

from frames_pipeline import DecoderUnavailableError
from frames_pipeline.decoding.backends import open_nvdec


def _has_gpu() -> bool:
    try:
        open_nvdec()
    except DecoderUnavailableError:
        return False
    return True


HAS_GPU = _has_gpu()


def needs_gpu(test: object) -> object:
    """Mark a test as a GPU test."""
    absent = not HAS_GPU and os.environ.get("REQUIRE_GPU") != "1"
    skip = pytest.mark.skipif(absent, reason="no GPU that decodes video")
    return pytest.mark.gpu(skip(test))
