"""Frames as torch tensors on the decoding device, for models that run there.

This stores nothing, and pixels stay on the device. Frames are yielded once their damage is known,
one group of pictures at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frames_pipeline.clips import Seconds, Span, check_bounds
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media, Source, open_media
from frames_pipeline.decoding.assembly import ClipAssembler
from frames_pipeline.decoding.backends import Decoder, open_decoder
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.decode_pass import DecodedFrame, GroupDone
from frames_pipeline.decoding.device import check_available
from frames_pipeline.decoding.row_decode import Restarted, RowDecode
from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import FrameExtractionSignature

if TYPE_CHECKING:
    import torch


class TensorFrame(NamedTuple):
    """A frame on its decoding device."""

    position: int
    """Index among the shown frames of the whole stream."""
    pts: int
    """Presentation timestamp in the stream's time base."""
    corrupt: bool
    """Whether damage may affect the pixels."""
    pixels: torch.Tensor
    """RGB, uint8, of shape (height, width, 3)."""


def stream_tensors(
    source: Source,
    signature: FrameExtractionSignature,
    *,
    start: Seconds | None = None,
    end: Seconds | None = None,
    decoder: Decoder | str = "nvdec",
    limits: Limits | None = None,
) -> Iterator[TensorFrame]:
    """Yield the frames of a video for a signature, each once, in presentation order.

    Pixels are those of `pixels="cuda"`. Frames that do not decode are left out.

    Args:
        source: A path, an fsspec URL, the bytes of a file, or a binary file object.
        signature: Frames and pixels to yield, with `pixels="cuda"`.
        start: Seconds from which frames count, on the video's own clock.
        end: Seconds at which the part ends; a frame at that time is outside.
        decoder: A decoder or its name. Frames of `pyav` are tensors on the CPU.
        limits: Resource limits of the source.

    Raises:
        ConfigError: torch is not installed, the decoder is unknown, or the signature has a lossy
            encoding.
        SourceError: The source cannot be decoded.
    """
    check_bounds(start, end)
    check_available(signature.interpolation)
    if signature.image_encoding is not None:
        message = f"tensors are not encoded, and the signature has {signature.image_encoding}; "
        raise ConfigError(f"{message}leave out its encoding")
    backend = open_decoder(decoder)
    with open_media(source, limits) as media:
        index = media.index
        span = Span.between(start, end, index.time_base)
        wanted = ClipAssembler(index, span, [signature], media.limits).positions
        positions = dict(zip(index.presentation[wanted].tolist(), wanted.tolist(), strict=True))
        decode = RowDecode(media, np.array(sorted(positions), np.int64), backend)
        for row, pixels in _done(media, decode, signature, left=set(positions)):
            pts, corrupt = int(index.pts[row]), decode.is_suspect(row)
            yield TensorFrame(positions[row], pts, corrupt, pixels)


def _done(
    media: Media, decode: RowDecode, signature: FrameExtractionSignature, *, left: set[int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the remaining rows with their pixels, once their group is done."""
    converter, spec = Converter.of(media), PixelSpec.of(signature)
    waiting: dict[int, torch.Tensor] = {}
    for event in decode.events():
        match event:
            case DecodedFrame(row, frame):
                if row in left:
                    waiting[row] = converter.tensor(frame, spec)
            case GroupDone(before):
                for row in [row for row in waiting if row < before]:
                    left.remove(row)
                    yield row, waiting.pop(row)
            case Restarted():
                waiting.clear()
