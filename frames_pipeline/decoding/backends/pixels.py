"""Which decoders give the pixels that signatures ask for."""

from __future__ import annotations

from collections.abc import Iterable

from frames_pipeline.decoding.backends.base import Decoder
from frames_pipeline.decoding.device import check_available
from frames_pipeline.encodings.images import imagecodecs
from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import FrameExtractionSignature


def check_pixels(signatures: Iterable[FrameExtractionSignature], decoder: Decoder) -> None:
    """Check that a decoder supports the `pixels` of signatures, and that encoders are installed.

    Raises:
        CodecUnavailableError: An encoding's package is not installed.
        ConfigError: `pixels="cuda"` with another decoder than `nvdec`, or without torch.
    """
    for signature in signatures:
        if signature.image_encoding is not None:
            imagecodecs(signature.image_encoding.codec)
        if signature.pixels == "cuda":
            if decoder.name != "nvdec":
                message = f"pixels='cuda' needs decoder 'nvdec', and {decoder.name!r} was chosen; "
                raise ConfigError(message + "choose nvdec, or pixels='swscale'")
            check_available(signature.interpolation)
