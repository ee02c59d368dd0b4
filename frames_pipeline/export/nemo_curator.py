"""Frames as NeMo Curator keeps them in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.signature import FrameExtractionSignature


def seed_frames(
    frames: Mapping[FrameExtractionSignature, FrameBatch],
) -> dict[str, NDArray[np.uint8]]:
    """Return a clip's frames as NeMo Curator keeps them in `Clip.extracted_frames`.

    Args:
        frames: Frames by signature, from `extract_frames` or from the store.

    Raises:
        ConfigError: A signature has samples that are not `rgb8`, the only ones in NeMo Curator. Two
            signatures have the same key in NeMo Curator, which has only policy and
            rate; or NeMo Curator lacks the policy.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    for signature, batch in frames.items():
        if signature.samples != "rgb8":
            message = f"signature {signature} has samples: {signature.samples}, and NeMo Curator "
            raise ConfigError(message + "takes rgb8; choose a signature with samples: rgb8")
        key = signature.seed_key()
        if key in found:
            message = f"two signatures are {key!r} to NeMo Curator; give it one, not {signature}"
            raise ConfigError(message)
        found[key] = batch.frames
    return found
