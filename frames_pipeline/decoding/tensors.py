"""Frames as torch tensors where they were decoded, for models that run there.

Nothing is stored and nothing leaves the device. Frames are handed out once their damage is known: a
group of pictures at a time.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frames_pipeline.clips import Seconds, Span, check_bounds
from frames_pipeline.container.media import Limits, Media, Source, open_media
from frames_pipeline.decoding.assembly import ClipAssembler
from frames_pipeline.decoding.backends import Decoder, Tally, open_decoder
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.decode_pass import (
    DecodedFrame,
    DecodePass,
    GroupDone,
    PlanFailedError,
)
from frames_pipeline.decoding.device import check_available
from frames_pipeline.decoding.plan import DecodePlan, plan_decode, plan_linear
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
        rows = np.array(sorted(positions), np.int64)

        def told(frame: _Told) -> TensorFrame:
            row, is_suspect, pixels = frame
            return TensorFrame(positions[row], int(index.pts[row]), is_suspect, pixels)

        given: set[int] = set()
        plan = plan_decode(index, rows, media.packets.references)
        try:
            for frame in _pass(media, plan, positions.keys(), signature, backend):
                given.add(frame.row)
                yield told(frame)
        except PlanFailedError:
            media.renew_decoders()
            plan = plan_linear(index, rows, reason="damage was met")
            left = positions.keys() - given
            for frame in _pass(media, plan, left, signature, backend):
                yield told(frame)


class _Told(NamedTuple):
    """A frame whose damage is known."""

    row: int
    is_suspect: bool
    pixels: torch.Tensor


def _pass(
    media: Media,
    plan: DecodePlan,
    wanted: Container[int],
    signature: FrameExtractionSignature,
    decoder: Decoder,
) -> Iterator[_Told]:
    """The frames of some rows, each as soon as it is known whether damage may have touched it."""
    decode_pass, converter = DecodePass(media, plan), Converter(media.name, media.container_crop)
    spec = PixelSpec.of(signature)
    waiting: dict[int, torch.Tensor] = {}
    for event in decode_pass.frames(decoder, Tally()):
        match event:
            case GroupDone(before):
                for row in [row for row in waiting if row < before]:
                    yield _Told(row, decode_pass.is_suspect(row), waiting.pop(row))
            case DecodedFrame(row, frame):
                if row in wanted:
                    waiting[row] = converter.tensor(frame, spec)
