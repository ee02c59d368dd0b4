"""Zarr's codecs for chunks that are images, named and configured as by imagecodecs-zarr.

The entry points of this package name them, so that `zarr.open` reads such arrays wherever this
package is installed. Where imagecodecs has these classes itself (Python 3.12 and later), the entry
points give those, so that Zarr finds one implementation and not two.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import parse_named_configuration
from zarr.registry import register_codec

from frames_pipeline.encodings.images import decode_image, encode_image
from frames_pipeline.store.chunk_codecs import exact_jpegxl

_READ_ONLY: Final = frozenset({"fancyupsampling", "hasalpha", "index", "keeporientation"})
"""Options of decoders alone."""
_BOTH: Final = frozenset({"numthreads"})
"""Options of encoders and decoders."""


@dataclass(frozen=True)
class ImageCodec(ArrayBytesCodec):
    """A codec of imagecodecs, with the options of its encoder and decoder."""

    is_fixed_size = False
    image_codec: ClassVar[str]
    """imagecodecs' name of the codec."""
    unknown: ClassVar[frozenset[str]] = frozenset()
    """Options that change the meaning of an image and are left to imagecodecs-zarr."""

    configuration: dict[str, Any] = field(default_factory=dict, hash=False)
    """The options, as in Zarr's metadata."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the codec from Zarr's metadata."""
        name = f"imagecodecs_{cls.image_codec}"
        _, found = parse_named_configuration(data, name, require_configuration=False)
        configuration = dict(found or {})
        if unknown := sorted(configuration.keys() & cls.unknown):
            message = f"{name} with {', '.join(unknown)} is read by imagecodecs-zarr alone; "
            raise ValueError(f"{message}install that on Python 3.12 or later")
        return cls(configuration)

    def to_dict(self) -> dict[str, Any]:
        """Return Zarr's metadata of the codec."""
        name = {"name": f"imagecodecs_{self.image_codec}"}
        return name | ({"configuration": self.configuration} if self.configuration else {})

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Refuse: images of one shape differ in size."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        frame = np.empty(chunk_spec.shape, chunk_spec.dtype.to_native_dtype())
        options = self._options(_READ_ONLY | _BOTH)
        decode_image(self.image_codec, chunk_data.to_bytes(), frame, **options)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frame)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        options = self._options(self.configuration.keys() - _READ_ONLY)
        image = np.ascontiguousarray(_image(chunk_data.as_numpy_array()))
        return chunk_spec.prototype.buffer.from_bytes(self._encode(image, options))

    def _encode(self, image: np.ndarray[Any, Any], options: dict[str, Any]) -> bytes:
        return encode_image(self.image_codec, image, **options)

    def _options(self, names: frozenset[str] | set[str]) -> dict[str, Any]:
        return {name: self.configuration[name] for name in self.configuration.keys() & names}


class OwnJpeg(ImageCodec):
    """JPEG."""

    image_codec = "jpeg"
    unknown = frozenset({"colorspace_data", "colorspace_jpeg", "header", "tables"})


class OwnWebp(ImageCodec):
    """WebP."""

    image_codec = "webp"


class OwnAvif(ImageCodec):
    """AVIF."""

    image_codec = "avif"
    unknown = frozenset({"codec_decode"})


class OwnJpegxl(ImageCodec):
    """JPEG XL. Lossless images are decoded again and compared."""

    image_codec = "jpegxl"

    def _encode(self, image: np.ndarray[Any, Any], options: dict[str, Any]) -> bytes:
        if options.get("lossless"):
            return exact_jpegxl(image, **{"effort": 1} | options)
        return super()._encode(image, options)


def _image(frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a chunk of one frame as an image: (height, width), or (height, width, channels)."""
    one = frame[0] if frame.ndim == 4 and len(frame) == 1 else frame
    return one[..., 0] if one.ndim == 3 and one.shape[-1] == 1 else one


def _of_imagecodecs(name: str, own: type[ImageCodec]) -> type[ArrayBytesCodec]:
    """Return imagecodecs' own class for Zarr if it has one."""
    try:
        found: type[ArrayBytesCodec] = getattr(importlib.import_module("imagecodecs.zarr"), name)
    except ImportError:
        return own
    return found


Jpeg = _of_imagecodecs("Jpeg", OwnJpeg)
"""The codec `imagecodecs_jpeg`."""
Webp = _of_imagecodecs("Webp", OwnWebp)
"""The codec `imagecodecs_webp`."""
Avif = _of_imagecodecs("Avif", OwnAvif)
"""The codec `imagecodecs_avif`."""
Jpegxl = _of_imagecodecs("Jpegxl", OwnJpegxl)
"""The codec `imagecodecs_jpegxl`."""

_CODECS: Final = {"jpeg": Jpeg, "webp": Webp, "avif": Avif, "jpegxl": Jpegxl}


def register() -> None:
    """Register the codecs with Zarr, where an older installation lacks their entry points."""
    for name, codec in _CODECS.items():
        register_codec(f"imagecodecs_{name}", codec)
