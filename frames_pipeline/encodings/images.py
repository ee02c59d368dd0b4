"""Encode frames as images, and decode them: JPEG, WebP, AVIF and JPEG XL.

imagecodecs encodes in one thread with fixed options and writes no timestamps, so that a version of
it gives the same bytes each time.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.errors import CodecUnavailableError, UnsupportedSourceError

_FUNCTIONS: Final[Mapping[str, str]] = {"jpeg": "jpeg8"}
"""imagecodecs' names of codecs in its functions, where they differ from those in Zarr."""
_END_OF_JPEG: Final = b"\xff\xd9"
_SIZE_OF_AVIF: Final = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
"""AVIF's property with a width and a height, for each picture in a file."""


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """Frames that went through an encoding once, as images."""

    images: tuple[bytes, ...] = field(repr=False)
    """An image per frame. Repeated frames share their bytes."""
    shape: tuple[int, ...]
    """Shape of the frames: (n, height, width, channels)."""
    dtype: str
    """Type of their samples: `uint8` or `uint16`."""
    encoding: FrameEncoding
    """The encoding."""
    encoder: str
    """Name and version of the library that encoded them; empty if unknown."""

    def decode(self) -> NDArray[Any]:
        """Return the pixels. Shape (n, height, width, channels).

        Raises:
            CodecUnavailableError: imagecodecs is not installed.
            RuntimeError, ValueError: An image is damaged, or has another shape or type.
        """
        frames = np.empty(self.shape, self.dtype)
        before = None
        for number, image in enumerate(self.images):
            if image == before:
                frames[number] = frames[number - 1]
            else:
                decode_image(self.encoding.codec, image, frames[number], numthreads=1)
            before = image
        return frames

    def part(self, start: int, stop: int) -> EncodedFrames:
        """Return frames [start, stop)."""
        images = self.images[start:stop]
        return replace(self, images=images, shape=(len(images), *self.shape[1:]))


def encode_frame(pixels: NDArray[Any], encoding: FrameEncoding) -> bytes:
    """Return a frame as an image.

    Args:
        pixels: The frame. Shape (height, width, channels).
        encoding: An encoding that holds such samples.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
        UnsupportedSourceError: The encoder fails.
    """
    image = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    try:
        return encode_image(encoding.codec, image, **encoder_options(encoding), numthreads=1)
    except CodecUnavailableError:
        raise
    except (RuntimeError, ValueError) as error:
        height, width, _ = pixels.shape
        message = f"a frame of {width}x{height} cannot be encoded as {encoding}: {error}"
        raise UnsupportedSourceError(message) from error


def encode_frames(frames: NDArray[Any], encoding: FrameEncoding) -> EncodedFrames:
    """Return frames as images. A frame that equals the one before it shares its image.

    Args:
        frames: The frames. Shape (n, height, width, channels).
        encoding: An encoding that holds such samples.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
        UnsupportedSourceError: The encoder fails.
    """
    images: list[bytes] = []
    for number, frame in enumerate(frames):
        is_repeat = number > 0 and np.array_equal(frame, frames[number - 1])
        images.append(images[-1] if is_repeat else encode_frame(frame, encoding))
    encoder = encoder_version(encoding.codec)
    return EncodedFrames(tuple(images), frames.shape, frames.dtype.name, encoding, encoder)


def encoder_options(encoding: FrameEncoding) -> dict[str, Any]:
    """Return the options of imagecodecs' encoder, as imagecodecs-zarr writes them.

    >>> encoder_options(FrameEncoding("jpeg"))
    {'level': 90, 'subsampling': '420'}
    """
    quality, chroma = encoding.quality, str(encoding.chroma).replace(":", "")
    if encoding.codec == "jpeg":
        return {"level": quality, "subsampling": chroma}
    if encoding.codec == "webp":
        return {"level": float(quality), "lossless": False, "method": 4}
    if encoding.codec == "avif":
        return {"level": quality, "speed": 8, "pixelformat": f"yuv{chroma}"}
    return {"level": quality, "effort": 3, "lossless": False}


def encode_image(codec: str, image: NDArray[Any], **options: object) -> bytes:
    """Return an array as an image.

    Args:
        codec: Name of the codec in imagecodecs-zarr.
        image: Shape (height, width), or (height, width, channels). C-contiguous.
        options: Options of imagecodecs' encoder.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
        RuntimeError, ValueError: The encoder fails.
    """
    encode = getattr(imagecodecs(codec), f"{_FUNCTIONS.get(codec, codec)}_encode")
    return bytes(encode(image, **_without_threads(options, codec == "jpeg")))


def decode_image(
    codec: str, image: bytes | memoryview, into: NDArray[Any], **options: object
) -> None:
    """Decode an image into an array. An image of another size is refused by its header.

    Args:
        codec: Name of the codec in imagecodecs-zarr.
        image: The encoded image.
        into: Array of the image's shape, apart from axes of length 1, and of its type.
        options: Options of imagecodecs' decoder.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
        RuntimeError, ValueError: The image is damaged, or has another shape or type.
    """
    decode = getattr(imagecodecs(codec), f"{_FUNCTIONS.get(codec, codec)}_decode")
    taken = _without_threads(options, codec in ("jpeg", "webp"))
    _check_image(codec, bytes(image), into.shape)
    if into.flags.c_contiguous:
        flat = into.reshape(-1)  # axes of length 1 may have any strides, which imagecodecs refuses
        decode(image, out=flat.reshape(into.shape), **taken)
    else:
        whole = np.empty_like(into, order="C")
        decode(image, out=whole, **taken)
        into[...] = whole


def imagecodecs(codec: str) -> ModuleType:
    """Return the package imagecodecs.

    Args:
        codec: Name of the codec in imagecodecs-zarr.

    Raises:
        CodecUnavailableError: It is not installed, or was built without that codec.
    """
    try:
        import imagecodecs as package
    except ImportError as error:
        message = f"images of codec {codec} need imagecodecs, which is not installed; "
        raise CodecUnavailableError(f"{message}install frames-pipeline[encodings]") from error
    if not getattr(package, _FUNCTIONS.get(codec, codec).upper()).available:
        message = f"this build of imagecodecs {package.__version__} has no {codec}; "
        raise CodecUnavailableError(f"{message}install its wheel from PyPI")
    found: ModuleType = package
    return found


@cache
def encoder_version(codec: str) -> str:
    """Return name and version of imagecodecs and of its library for a codec.

    Raises:
        CodecUnavailableError: imagecodecs is not installed.
    """
    package = imagecodecs(codec)
    library = getattr(package, f"{_FUNCTIONS.get(codec, codec)}_version")()
    return f"imagecodecs {package.__version__}, {library}"


def _without_threads(options: Mapping[str, object], has_none: bool) -> Mapping[str, object]:
    """Return the options for a function of imagecodecs; some have no number of threads."""
    return {name: value for name, value in options.items() if not has_none or name != "numthreads"}


def _check_image(codec: str, image: bytes, shape: tuple[int, ...]) -> None:
    """Check what the decoder leaves out: the end of a JPEG, and the size of an AVIF.

    libjpeg fills the rest of an incomplete image with gray. libavif decodes an image before its
    size is compared.

    Raises:
        ValueError: The image is incomplete, or has another size.
    """
    if codec == "jpeg" and not image.rstrip(b"\0").endswith(_END_OF_JPEG):
        message = "the image is incomplete: it has no end-of-image marker"
        raise ValueError(message)
    if codec == "avif":
        height, width = shape[1:3] if len(shape) == 4 else shape[:2]
        for found in _SIZE_OF_AVIF.finditer(image):
            if struct.unpack(">II", found[1]) != (width, height):
                message = f"the image has another size than {width}x{height}"
                raise ValueError(message)
