"""How the pixels of an export are encoded: JPEG, PNG or raw bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError

Format = Literal["jpeg", "png", "raw"]

_SUFFIX: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png"}
_CHROMA: Final[Mapping[str, int]] = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
"""Pillow's numbers of the chroma subsamplings."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels are written.

    >>> Encoding("png").is_exact, Encoding("jpeg", quality=90).is_exact
    (True, False)
    """

    format: Format
    """`jpeg` is lossy; `png` and `raw`, the bytes of (height, width, 3), are exact."""
    quality: int | None = None
    """JPEG quality from 1 to 95: required for `jpeg`, refused for the others."""
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    """Chroma subsampling of JPEG."""

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

    def encode(self, pixels: NDArray[np.uint8]) -> bytes:
        """Return an encoded frame. Shape of `pixels`: (height, width, 3)."""
        if self.format == "raw":
            return pixels.tobytes()
        sink = io.BytesIO()
        if self.format == "png":
            Image.fromarray(pixels).save(sink, "png", compress_level=1)
        else:
            sampling = _CHROMA[self.chroma]
            Image.fromarray(pixels).save(sink, "jpeg", quality=self.quality, subsampling=sampling)
        return sink.getvalue()

    def to_document(self) -> Mapping[str, Any]:
        """Return the manifest's description of the encoding."""
        if self.format != "jpeg":
            return {"format": self.format}
        return {"format": "jpeg", "quality": self.quality, "chroma": self.chroma}
