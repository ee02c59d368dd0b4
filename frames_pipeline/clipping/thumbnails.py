"""Every frame of a video in a small size, one at a time, for detectors of shots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import open_decoder
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.decode_pass import DecodedFrame
from frames_pipeline.decoding.row_decode import RowDecode
from frames_pipeline.errors import NoFramesError, UnsupportedSourceError


def stream_thumbnails(media: Media, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Yield every shown frame, stretched to one size. Holds one frame in memory.

    A frame that does not decode is replaced by the one before it; at the start, by the first that
    decodes.

    Yields:
        An array per shown frame. RGB, shape (height, width, 3).

    Raises:
        NoFramesError: No frame decodes.
        UnsupportedSourceError: A frame cannot be converted.
    """
    index = media.index
    positions = np.full(len(index.pts), -1, np.int64)
    positions[index.presentation] = np.arange(index.num_frames)
    spec = PixelSpec((height, width), "stretch", "bicubic", "ffmpeg", "apply")
    reason = "every frame is wanted"
    decode = RowDecode(media, index.presentation, open_decoder(), linear=reason)
    converter, given, last = Converter.of(media), 0, None
    for event in decode.events():
        if not isinstance(event, DecodedFrame) or positions[event.row] < given:
            continue
        pixels = np.empty((height, width, 3), np.uint8)
        try:
            converter.convert(event.frame, spec, pixels)
        except FFmpegError as error:
            message = f"{media.name}: a frame cannot be converted: {error}"
            raise UnsupportedSourceError(message) from error
        position = int(positions[event.row])
        for _ in range(position - given):
            yield pixels if last is None else last
        yield pixels
        given, last = position + 1, pixels
    if last is None:
        detail = f": {decode.complaint}" if decode.complaint else ""
        message = f"none of {index.num_frames} frames decodes{detail}"
        raise NoFramesError(message)
    for _ in range(index.num_frames - given):
        yield last
