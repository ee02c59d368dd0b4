"""Frames as torch tensors where they were decoded, for models that run there.

Nothing is stored and nothing leaves the device. Frames are handed out once their damage is known: a
group of pictures at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frames_pipeline.clips import Seconds, Span, check_bounds
from frames_pipeline.container.media import Limits, Media, Source, open_media
from frames_pipeline.decoding.assembly import ClipAssembler
from frames_pipeline.decoding.backends import Decoder, open_decoder
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.decode_pass import DecodedFrame, GroupDone
from frames_pipeline.decoding.device import check_available
from frames_pipeline.decoding.row_decode import Restarted, RowDecode
from frames_pipeline.signature import FrameExtractionSignature

if TYPE_CHECKING:
    import torch


class TensorFrame(NamedTuple):
    """A frame on the device that decoded it."""

    position: int
    """Index among the shown frames of the whole stream."""
    pts: int
    """Presentation timestamp in the stream's time base."""
    corrupt: bool
    """Whether damage may have touched its pixels."""
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
    """The frames that a signature asks of a video, each once, in presentation order.

    Pixels are those of `pixels="cuda"`. A wanted frame that does not decode is left out.

    Args:
        source: A path, an fsspec URL, the bytes of a file, or a binary file object.
        signature: What is wanted, with `pixels="cuda"`.
        start: Seconds from which frames count, on the video's own clock.
        end: Seconds at which the part ends; a frame at that time is outside.
        decoder: A decoder or its name. Frames of `pyav` are tensors on the CPU.
        limits: What the source may take.

    Raises:
        ConfigError: There is no torch, or no such decoder.
        SourceError: The source cannot give it.
    """
    check_bounds(start, end)
    check_available(signature.interpolation)
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
    """Yield the rows that are left with their pixels, once their group is done."""
    converter, spec = Converter(media.name, media.container_crop), PixelSpec.of(signature)
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
