"""One record per codec of chunks: its name, its metadata in Zarr, and how it encodes a chunk.

A chunk is one frame, or the times of a clip. Its codecs in Zarr's metadata stand inside
`sharding_indexed`, or alone for the times:

```
zstd      bytes, zstd                       zstd has a checksum of its own
none      bytes, crc32c
jpegxl    imagecodecs_jpegxl, crc32c        frames only
```

Frames of a signature with a lossy encoding are images of that encoding:

```
          imagecodecs_jpeg, crc32c          or imagecodecs_webp, _avif, _jpegxl
```

Each ends in a checksum, so that every reader notices damaged pixels. `zstd` and `none` are in the
Zarr v3 core. The others are named and configured as the package imagecodecs-zarr does.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final, cast, get_args

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from frames_pipeline.encodings.encoding import Chroma, FrameEncoding, samples_of_codec
from frames_pipeline.encodings.images import (
    decode_image,
    encode_frame,
    encoder_options,
    imagecodecs,
)
from frames_pipeline.errors import ConfigError, InternalError
from frames_pipeline.signature import Samples

ZarrCodec = Mapping[str, Any]
"""A codec in Zarr's metadata: its name and, if it has one, its configuration."""

_CHECKSUM: Final[ZarrCodec] = {"name": "crc32c"}
_EFFORTS: Final = 3
"""Number of efforts to try until an image decodes to the same pixels."""


@dataclass(frozen=True, slots=True)
class ChunkCodec(ABC):
    """A codec of chunks. Its fields are the parameters that change the encoded bytes."""

    name: ClassVar[str]
    """Its name, recorded with the frames."""
    summary: ClassVar[str]
    """Half a sentence for people who choose one."""
    package: ClassVar[str] = ""
    """Distribution that it needs beside the required ones; empty if none."""
    samples: ClassVar[frozenset[str]] = frozenset(get_args(Samples))
    """Samples of frames that it can hold."""

    @abstractmethod
    def zarr_codecs(self, dtype: str) -> Sequence[ZarrCodec]:
        """Return Zarr's codecs for chunks of this type."""

    @abstractmethod
    def encode(self, values: NDArray[Any]) -> bytes:
        """Return the chunk of a frame, (height, width, channels), or of times."""

    @abstractmethod
    def decode(self, chunk: memoryview, into: NDArray[Any]) -> None:
        """Decode a chunk into an array of its shape and type.

        Raises:
            CodecUnavailableError: A package is not installed.
            RuntimeError, ValueError: The chunk is damaged, or has another shape or type.
        """

    @property
    def lossy_encoding(self) -> FrameEncoding | None:
        """The lossy encoding that its images have; `None` if it is lossless."""
        return None

    @property
    def of_times(self) -> ChunkCodec:
        """The codec of the times beside frames of this codec."""
        return self

    def require(self) -> None:  # noqa: B027 - most need nothing
        """Check that its package is installed.

        Raises:
            CodecUnavailableError: It is not.
        """


@dataclass(frozen=True, slots=True)
class Zstd(ChunkCodec):
    """Zstandard at level 1, with its checksum."""

    name = "zstd"
    summary = "lossless, fast"

    def zarr_codecs(self, dtype: str) -> Sequence[ZarrCodec]:
        return [_bytes(dtype), {"name": "zstd", "configuration": {"level": 1, "checksum": True}}]

    def encode(self, values: NDArray[Any]) -> bytes:
        encoded: bytes = _zstd().encode(_stored(values))
        return encoded

    def decode(self, chunk: memoryview, into: NDArray[Any]) -> None:
        size = _content_size(chunk)
        if size not in (None, into.nbytes):
            message = f"a chunk of {size} bytes, where the array has {into.nbytes}"
            raise ValueError(message)
        into[...] = _values(_zstd().decode(chunk), into)


@dataclass(frozen=True, slots=True)
class Raw(ChunkCodec):
    """No compression, and a checksum."""

    name = "none"
    summary = "no compression"

    def zarr_codecs(self, dtype: str) -> Sequence[ZarrCodec]:
        return [_bytes(dtype), _CHECKSUM]

    def encode(self, values: NDArray[Any]) -> bytes:
        return with_checksum(_stored(values).tobytes())

    def decode(self, chunk: memoryview, into: NDArray[Any]) -> None:
        into[...] = _values(without_checksum(chunk), into)


@dataclass(frozen=True, slots=True)
class JpegXl(ChunkCodec):
    """Lossless JPEG XL at effort 1, in one thread, each image decoded again and compared."""

    name = "jpegxl"
    summary = "lossless JPEG XL, half the bytes of zstd, slower to read"
    package = "imagecodecs"

    def zarr_codecs(self, dtype: str) -> Sequence[ZarrCodec]:
        configuration = {"effort": 1, "lossless": True}
        return [{"name": "imagecodecs_jpegxl", "configuration": configuration}, _CHECKSUM]

    def encode(self, values: NDArray[Any]) -> bytes:
        image = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values)
        return with_checksum(exact_jpegxl(image, effort=1, lossless=True, numthreads=1))

    def decode(self, chunk: memoryview, into: NDArray[Any]) -> None:
        decode_image("jpegxl", without_checksum(chunk), into, numthreads=1)

    @property
    def of_times(self) -> ChunkCodec:
        return COMPRESSIONS["zstd"]

    def require(self) -> None:
        imagecodecs(self.name)


@dataclass(frozen=True, slots=True)
class Image(ChunkCodec):
    """Images of a lossy encoding."""

    summary = "lossy"
    package = "imagecodecs"

    encoding: FrameEncoding
    """The encoding."""

    def zarr_codecs(self, dtype: str) -> Sequence[ZarrCodec]:
        name = f"imagecodecs_{self.encoding.codec}"
        return [{"name": name, "configuration": encoder_options(self.encoding)}, _CHECKSUM]

    def encode(self, values: NDArray[Any]) -> bytes:
        return with_checksum(encode_frame(values, self.encoding))

    def decode(self, chunk: memoryview, into: NDArray[Any]) -> None:
        decode_image(self.encoding.codec, without_checksum(chunk), into, numthreads=1)

    @property
    def lossy_encoding(self) -> FrameEncoding:
        return self.encoding

    @property
    def of_times(self) -> ChunkCodec:
        return COMPRESSIONS["zstd"]

    def require(self) -> None:
        imagecodecs(self.encoding.codec)


@dataclass(frozen=True, slots=True)
class Jpeg(Image):
    """JPEG of libjpeg-turbo."""

    name = "jpeg"
    samples = samples_of_codec("jpeg")


@dataclass(frozen=True, slots=True)
class Webp(Image):
    """Lossy WebP."""

    name = "webp"
    samples = samples_of_codec("webp")


@dataclass(frozen=True, slots=True)
class Avif(Image):
    """AVIF by libaom at speed 8."""

    name = "avif"
    samples = samples_of_codec("avif")


@dataclass(frozen=True, slots=True)
class JpegXlLossy(Image):
    """Lossy JPEG XL at effort 3."""

    name = "jpegxl"


_IMAGES: Final[Mapping[str, type[Image]]] = {
    kind.name: kind for kind in (Jpeg, Webp, Avif, JpegXlLossy)
}
"""Lossy codecs by the name in a signature's encoding."""

COMPRESSIONS: Final[Mapping[str, ChunkCodec]] = {
    codec.name: codec for codec in (Zstd(), JpegXl(), Raw())
}
"""Lossless codecs by name, from which a store chooses. The first is the default."""


def compression_named(name: str) -> ChunkCodec:
    """Return the lossless codec of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in COMPRESSIONS:
        message = f"no compression {name!r}; choose one of {', '.join(sorted(COMPRESSIONS))}"
        raise ConfigError(message)
    return COMPRESSIONS[name]


def codec_for(encoding: FrameEncoding | None, compression: str) -> ChunkCodec:
    """Return the codec of frames of an encoding, or of the compression if they are lossless.

    Raises:
        ConfigError: There is no such compression.
    """
    lossless = compression_named(compression)
    return lossless if encoding is None else _IMAGES[encoding.codec](encoding)


def codec_of(zarr_codecs: object, dtype: str) -> ChunkCodec | None:
    """Return the codec with these codecs in Zarr's metadata; `None` if there is none."""
    for codec in (*COMPRESSIONS.values(), *_image_codecs(zarr_codecs)):
        if codec.zarr_codecs(dtype) == zarr_codecs:
            return codec
    return None


def _image_codecs(zarr_codecs: object) -> Iterator[Image]:
    """Yield the lossy codecs that codecs in Zarr's metadata may be, by their name and quality."""
    try:
        first, _ = cast("list[Any]", zarr_codecs)
        kind = _IMAGES[first["name"].removeprefix("imagecodecs_")]
        quality = int(first["configuration"]["level"])
        for chroma in get_args(Chroma):
            with contextlib.suppress(ConfigError):
                yield kind(FrameEncoding(kind.name, quality, chroma))  # type: ignore[arg-type]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return


def exact_jpegxl(image: NDArray[Any], *, effort: int, **options: object) -> bytes:
    """Return an image as lossless JPEG XL, after decoding it again.

    libjxl before 0.12 encodes some noise wrongly at effort 1. Such an image is encoded with the
    next effort.

    Args:
        image: The image, (height, width) or (height, width, channels).
        effort: The effort to try first.
        options: Further options of imagecodecs' encoder.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
        InternalError: No effort gives the same pixels.
    """
    package = imagecodecs("jpegxl")
    decoded = np.empty_like(image)
    for tried in range(effort, effort + _EFFORTS):
        encoded: bytes = package.jpegxl_encode(image, effort=tried, **options)
        package.jpegxl_decode(encoded, out=decoded, numthreads=1)
        if np.array_equal(decoded, image):
            return encoded
    message = f"{package.jpegxl_version()} gives other pixels for an image of {image.shape} at "
    message += f"efforts {effort} to {tried}; write it with another compression (a bug: report it)"
    raise InternalError(message)


def with_checksum(data: bytes) -> bytes:
    """Return the data with its crc32c behind it."""
    checksum: bytes = google_crc32c.value(data).to_bytes(4, "little")
    return data + checksum


def without_checksum(data: memoryview) -> memoryview:
    """Return the data without its crc32c, after checking that.

    Raises:
        ValueError: It does not match.
    """
    content = data[:-4]
    if len(data) < 4 or google_crc32c.value(content.tobytes()) != int.from_bytes(
        data[-4:], "little"
    ):
        message = "a checksum does not match the bytes before it"
        raise ValueError(message)
    return content


@cache
def _zstd() -> Any:  # noqa: ANN401 - numcodecs has no types
    from numcodecs.zstd import Zstd as Compressor

    return Compressor(level=1, checksum=True)


def _content_size(frame: memoryview) -> int | None:
    """Return the number of bytes that a zstd frame declares; `None` if it declares none.

    See https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1.1.

    >>> _content_size(memoryview(Zstd().encode(np.zeros(300, np.uint8))))
    300
    """
    described = frame[4] if len(frame) > 4 else 0
    is_single, kind = bool(described & 32), described >> 6
    length = (int(is_single), 2, 4, 8)[kind]
    start = 5 + (not is_single) + (0, 1, 2, 4)[described & 3]
    value = int.from_bytes(frame[start : start + length], "little")
    return (value + 256 if length == 2 else value) if length else None


def _bytes(dtype: str) -> ZarrCodec:
    """Return Zarr's codec for the order of bytes in values of a type."""
    if np.dtype(dtype).itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in the order of bytes in which they are stored."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def _values(data: bytes | memoryview, like: NDArray[Any]) -> NDArray[Any]:
    """Return stored values in the shape and type of an array."""
    return np.frombuffer(data, like.dtype.newbyteorder("<")).reshape(like.shape)
