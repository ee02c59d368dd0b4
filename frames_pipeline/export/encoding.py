"""How the pixels of an export are encoded: JPEG, PNG or raw bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch, samples_of
from frames_pipeline.signature import Samples

Format = Literal["jpeg", "png", "raw"]

_SUFFIX: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png"}
_EVERY: Final[tuple[str, ...]] = get_args(Samples)
_SAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "jpeg": ("rgb8", "gray8"),
    "png": _EVERY,
    "raw": _EVERY,
}
"""Samples that a format can hold without loss of bits."""
_CHROMA: Final[Mapping[str, int]] = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
"""Pillow's numbers of the chroma subsamplings."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels are written.

    >>> Encoding("png").is_exact, Encoding("jpeg", quality=90).is_exact
    (True, False)
    """

    format: Format
    """`jpeg` is lossy and takes 8 bits; `png` and `raw` are exact. `raw` is the bytes of (height,
    width, channels), and those of 16 bits are little-endian."""
    quality: int | None = None
    """JPEG quality from 1 to 95: required for `jpeg`, refused for the others."""
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    """Chroma subsampling of JPEG; without effect on gray."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.format not in get_args(Format):
            message = f"no format {self.format!r}; choose one of "
            raise ConfigError(message + ", ".join(get_args(Format)))
        if self.chroma not in _CHROMA:
            message = f"no chroma {self.chroma!r}; choose one of {', '.join(_CHROMA)}"
            raise ConfigError(message)
        is_number = isinstance(self.quality, int) and 1 <= self.quality <= 95
        if self.format == "jpeg" and not is_number:
            message = f"quality={self.quality!r} of JPEG must be a whole number from 1 to 95"
            raise ConfigError(message)
        if self.format != "jpeg" and self.quality is not None:
            message = f"quality={self.quality} has no effect with {self.format}, which is exact"
            raise ConfigError(message + "; leave it out")

    @property
    def is_exact(self) -> bool:
        """Whether decoding gives the same pixels."""
        return self.format != "jpeg"

    @property
    def suffix(self) -> str:
        """Suffix of file names, without the dot.

        Raises:
            ConfigError: The format is `raw`, which is no picture file.
        """
        if self.format == "raw":
            message = "raw pixels are no picture file; choose jpeg or png, or export to Parquet"
            raise ConfigError(message)
        return _SUFFIX[self.format]

    def check(self, samples: str, signature: str = "") -> None:
        """Check that the format holds samples without loss of bits.

        Args:
            samples: The samples: `rgb8`, `rgb16`, `gray8` or `gray16`.
            signature: Key of their signature, for messages.

        Raises:
            ConfigError: It does not.
        """
        if samples in _SAMPLES[self.format]:
            return
        others = " or ".join(name for name, held in _SAMPLES.items() if samples in held)
        found = f"signature {signature} has samples: {samples}" if signature else samples
        message = f"{found}, and {self.format} takes {' or '.join(_SAMPLES[self.format])}; choose "
        raise ConfigError(f"{message}{others}, or another signature")

    def encode(self, pixels: NDArray[Any]) -> bytes:
        """Return an encoded frame.

        Args:
            pixels: uint8 or uint16. Shape (height, width, 3 or 1).

        Raises:
            ConfigError: The format does not hold these samples.
        """
        samples = samples_of(pixels)
        self.check(samples)
        if self.format == "raw":
            return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
        if samples == "rgb16":
            return _png_of_48_bits(pixels)
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
        sink = io.BytesIO()
        if self.format == "png":
            image.save(sink, "png", compress_level=1)
        else:
            sampling = _CHROMA[self.chroma]
            image.save(sink, "jpeg", quality=self.quality, subsampling=sampling)
        return sink.getvalue()

    def is_stored(self, stored: FrameEncoding | None) -> bool:
        """Return whether stored frames have this encoding, so that their images can be copied.

        >>> Encoding("jpeg", quality=90).is_stored(FrameEncoding("jpeg", 90, "4:2:0"))
        True
        """
        return stored is not None and (self.format, self.quality, self.chroma) == (
            stored.codec,
            stored.quality,
            stored.chroma,
        )

    def encode_batch(self, batch: FrameBatch) -> Sequence[bytes]:
        """Return the encoded frames of a batch; images of this encoding are copied.

        Raises:
            ConfigError: The format does not hold these samples.
        """
        if batch.images is not None and self.is_stored(batch.images.encoding):
            return batch.images.images
        return [self.encode(pixels) for pixels in batch.frames]

    def to_document(self) -> Mapping[str, Any]:
        """Return the manifest's description of the encoding."""
        if self.format != "jpeg":
            return {"format": self.format}
        return {"format": "jpeg", "quality": self.quality, "chroma": self.chroma}


def _png_of_48_bits(pixels: NDArray[np.uint16]) -> bytes:
    """Return a PNG of RGB with 16 bits per sample, which Pillow cannot write, by FFmpeg."""
    import av  # noqa: PLC0415

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb48be")
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb48be"
    encoder.time_base = encoder.sample_aspect_ratio = Fraction(1)
    encoder.thread_count = 1
    encoder.options = {"compression_level": "1", "pred": "paeth"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
