"""Feed packets to a libavcodec context; yield frames and errors with their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends.base import Decoded, Tally

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]

_REPORTED: Final = (FFmpegError, ValueError)
"""Errors that PyAV raises for a packet that cannot be decoded."""
_GAP: Final = "a packet before it is lost: picture numbers have a gap"


def feed(
    context: VideoCodecContext, media: Media, rows: Sequence[int], tally: Tally, *, delay: int = 0
) -> Iterator[Decoded]:
    """Feed some rows, drain the decoder, and leave it ready for other rows.

    Args:
        context: The decoder.
        media: The video.
        rows: Rows to feed, in decode order.
        tally: Receives the counts.
        delay: Number of packets by which the decoder reports an error late: its threads less one.

    Raises:
        MemoryError: Memory ran out. This is no sign of damaged packets.
    """
    decoded = _fed(context, media, rows, tally, delay=delay)
    return _last_of_each_row(decoded) if media.index.codec_facts.has_spatial_layers else decoded


def _last_of_each_row(decoded: Iterator[Decoded]) -> Iterator[Decoded]:
    """Yield only the last size of a picture with spatial layers, which is the shown one.

    FFmpeg returns all sizes, libvpx only the last of a packet.
    """
    held: Decoded | None = None
    for item in decoded:
        if item.frame is None:
            yield item
            continue
        if held is not None and held.row != item.row:
            yield held
        held = item
    if held is not None:
        yield held


def _fed(
    context: VideoCodecContext, media: Media, rows: Sequence[int], tally: Tally, *, delay: int
) -> Iterator[Decoded]:
    numbers = media.picture_numbers
    if numbers is not None:
        numbers.restart()
    try:
        for number, (row, packet) in enumerate(media.packets.run(rows)):
            tally.packets_fed += 1
            if numbers is not None and packet.has_sidedata("new_extradata"):
                numbers.renew(bytes(packet.get_sidedata("new_extradata")))
            if numbers is not None and not numbers.is_next(memoryview(packet)):
                yield Decoded(row, None, _GAP, is_gap=True)
            yield from _decode(context, packet, rows[max(0, number - delay)], tally)
        yield from _decode(context, None, rows[-1], tally)
    finally:
        context.flush_buffers()


def _decode(
    context: VideoCodecContext, packet: VideoPacket | None, row: int, tally: Tally
) -> Iterator[Decoded]:
    try:
        frames = context.decode(packet)
    except MemoryError:
        raise
    except _REPORTED as error:
        yield Decoded(row, None, getattr(error, "strerror", None) or str(error))
        return
    for frame in frames:
        tally.frames_decoded += 1
        yield Decoded(-1 if frame.pts is None else frame.pts, frame)
