"""FrameEncoding: the image format that stored frames go through.

| codec | chroma | samples | largest side |
|---|---|---|---|
| `jpeg` | `4:2:0` or `4:4:4` | `rgb8`, `gray8` | 65535 |
| `webp` | `4:2:0` | `rgb8` | 16382 |
| `avif` | `4:2:0` or `4:4:4` | `rgb8` | 32768 |
| `jpegxl` | `4:4:4` | all | 262144 |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, NamedTuple, cast

from frames_pipeline.errors import ConfigError

ImageCodec = Literal["jpeg", "webp", "avif", "jpegxl"]
Chroma = Literal["4:2:0", "4:4:4"]

LOSSLESS: Final = "lossless"
"""The encoding of frames whose every bit is kept."""


class _CodecFacts(NamedTuple):
    """Properties of an image codec."""

    chroma: tuple[Chroma, ...]
    """Chroma subsamplings of colour images. The first is the default."""
    samples: tuple[str, ...]
    """Samples of frames that it holds."""
    max_side: int
    """Maximum width and height, as imagecodecs encodes and decodes them."""


_CODECS: Final[Mapping[str, _CodecFacts]] = {
    "jpeg": _CodecFacts(("4:2:0", "4:4:4"), ("rgb8", "gray8"), 65535),
    "webp": _CodecFacts(("4:2:0",), ("rgb8",), 16382),
    "avif": _CodecFacts(("4:2:0", "4:4:4"), ("rgb8",), 32768),
    "jpegxl": _CodecFacts(("4:4:4",), ("rgb8", "rgb16", "gray8", "gray16"), 262144),
}


@dataclass(frozen=True, slots=True)
class FrameEncoding:
    """A lossy encoding of frames. Its fields decide the pixels.

    >>> FrameEncoding("jpeg")
    FrameEncoding(codec='jpeg', quality=90, chroma='4:2:0')
    """

    codec: ImageCodec
    """Image codec: `jpeg`, `webp`, `avif` or `jpegxl`."""
    quality: int = 90
    """Quality from 1 to 100, on the codec's own scale."""
    chroma: Chroma | None = None
    """Chroma subsampling. `None` becomes the codec's default: `4:4:4` for JPEG XL, which has no
    other, and `4:2:0` for the others; WebP has no other."""

    def __post_init__(self) -> None:
        """Fill in the default chroma; refuse values that the codec does not have."""
        codec, quality = cast(object, self.codec), cast(object, self.quality)
        if not isinstance(codec, str) or codec not in _CODECS:
            message = f"no codec {self.codec!r}; choose one of {', '.join(_CODECS)}"
            raise ConfigError(message)
        if type(quality) is not int or not 1 <= quality <= 100:
            message = f"quality={self.quality!r} must be a whole number from 1 to 100"
            raise ConfigError(message)
        available = _CODECS[self.codec].chroma
        if self.chroma is None:
            object.__setattr__(self, "chroma", available[0])
        elif self.chroma not in available:
            message = f"{self.codec} has no chroma {self.chroma!r}; "
            raise ConfigError(f"{message}choose {' or '.join(available)}, or leave it out")

    @classmethod
    def of(cls, value: object) -> FrameEncoding | None:
        """Return an encoding from plain values, as read from JSON or YAML; `None` for `lossless`.

        >>> FrameEncoding.of({"codec": "webp", "quality": 80})
        FrameEncoding(codec='webp', quality=80, chroma='4:2:0')

        Raises:
            ConfigError: The values are no encoding.
        """
        if value == LOSSLESS or isinstance(value, FrameEncoding):
            return value if isinstance(value, FrameEncoding) else None
        if not isinstance(value, Mapping):
            message = f"encoding={value!r} is neither 'lossless' nor a mapping with a codec; write "
            raise ConfigError(f"{message}{{'codec': 'jpeg', 'quality': 90}}")
        known = [one.name for one in fields(cls)]
        if unknown := sorted(set(map(str, value)) - set(known)):
            message = f"an encoding has no {unknown[0]!r}; its fields are {', '.join(known)}"
            raise ConfigError(message)
        if "codec" not in value:
            message = f"encoding={dict(value)!r} names no codec; choose one of {', '.join(_CODECS)}"
            raise ConfigError(message)
        return cls(**value)

    def to_document(self) -> dict[str, Any]:
        """Return the encoding as JSON: its fields."""
        return {"codec": self.codec, "quality": self.quality, "chroma": self.chroma}

    def for_samples(self, samples: str) -> FrameEncoding:
        """Return the encoding of such frames: gray has no chroma, so the field becomes the default.

        Args:
            samples: The samples: `rgb8`, `rgb16`, `gray8` or `gray16`.

        Raises:
            ConfigError: The codec cannot hold them.
        """
        held = _CODECS[self.codec].samples
        if samples not in held:
            others = [name for name, facts in _CODECS.items() if samples in facts.samples]
            message = f"{self.codec} cannot hold samples: {samples}; choose samples: "
            raise ConfigError(f"{message}{' or '.join(held)}, or codec {' or '.join(others)}")
        return self if samples.startswith("rgb") else FrameEncoding(self.codec, self.quality)

    def excess(self, height: int | None, width: int | None) -> str:
        """Describe the side that is too large for the codec; empty if both fit.

        Args:
            height: Height in pixels; `None` if unknown.
            width: Width in pixels; `None` if unknown.
        """
        limit = _CODECS[self.codec].max_side
        for name, side in (("height", height), ("width", width)):
            if side is not None and side > limit:
                return f"{name} {side} is beyond the {limit} pixels that {self.codec} can hold"
        return ""

    def __str__(self) -> str:
        """Return it for people.

        >>> str(FrameEncoding("jpeg"))
        'jpeg quality 90, chroma 4:2:0'
        """
        return f"{self.codec} quality {self.quality}, chroma {self.chroma}"


def samples_of_codec(codec: str) -> frozenset[str]:
    """Return the samples of frames that a codec holds.

    >>> sorted(samples_of_codec("jpeg"))
    ['gray8', 'rgb8']
    """
    return frozenset(_CODECS[codec].samples)
