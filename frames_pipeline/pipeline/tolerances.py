"""Largest allowed difference of stored frames from frames that are made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frames_pipeline.decoding.device import TOLERANCES, Tolerance
from frames_pipeline.encodings.images import EncodedFrames, encoder_version
from frames_pipeline.signature import FrameExtractionSignature

OTHER_ENCODER: Final[Mapping[str, Tolerance]] = {
    "jpeg": Tolerance(0.25, 8),
    "webp": Tolerance(0.25, 8),
    "avif": Tolerance(2.0, 64),
    "jpegxl": Tolerance(0.25, 8),
}
"""Allowed differences between images of two versions of an encoder, once both are decoded.

Measured between imagecodecs 2026.3.6 and 2026.10.10, over frames of 224x224 and 360 lines at
qualities 50 to 95: AVIF 1.05 levels on average and 38 at most, the others 0. Of JPEG XL only the
bytes differ.
"""
_SCALES: Final[Mapping[str, int]] = {"uint8": 1, "uint16": 257}
_OF_OTHER_PIXELS: Final = Tolerance(0.5, 16)
"""Further difference if pixels of a GPU are encoded, and those of the CPU."""


def tolerance_of(signature: FrameExtractionSignature, images: EncodedFrames | None) -> Tolerance:
    """Return the tolerance for stored frames: 0 for the same encoder, and pixels of the CPU.

    Args:
        signature: Signature of the frames.
        images: The stored frames, if they are encoded.

    Raises:
        CodecUnavailableError: The encoder is not installed.
    """
    allowed = [TOLERANCES[signature.pixels]]
    if images is not None:
        if images.encoder != encoder_version(images.encoding.codec):
            other, scale = OTHER_ENCODER[images.encoding.codec], _SCALES[images.dtype]
            allowed.append(Tolerance(other.mean * scale, other.maximum * scale))
        if signature.pixels == "cuda":
            allowed.append(_OF_OTHER_PIXELS)
    return Tolerance(sum(one.mean for one in allowed), sum(one.maximum for one in allowed))
