"""Packets of one stream: read once for the index, then provided by row.

demuxed    libavformat reads the whole file; packets stay in memory, or are read again
sampled    a plain MP4 or MOV: its sample table locates the packets, and each is fetched
           when it is fed; the index needs only the first bytes of each
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from av.packet import Packet
from av.video.stream import VideoStream

from frames_pipeline.container.byte_reader import ByteReader
from frames_pipeline.container.demuxed import DemuxedPackets
from frames_pipeline.container.index import PacketColumns
from frames_pipeline.container.sampled import sampled_packets

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]

__all__ = [
    "ByteReader",
    "DemuxedPackets",
    "Packets",
    "sampled_packets",
]


class Packets(Protocol):
    """The packets of a stream, by row in decode order."""

    @property
    def columns(self) -> PacketColumns:
        """Columns of all rows."""

    @property
    def ended_early(self) -> str:
        """Reason for not reading the container to its end; empty if it was."""

    @property
    def in_output_order(self) -> bool:
        """Whether headers declare that frames are shown in decode order."""

    def references(self, start: int, stop: int) -> Sequence[tuple[int, ...]] | None:
        """Return the rows that the frame of each row in [start, stop) may be predicted from.

        `None` if the headers do not contain this.
        """

    def headers(self) -> Iterator[memoryview]:
        """Yield the bytes of every packet, at least up to its first slice header."""

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        """Yield rows with their packets; the pts of each packet is its row.

        A decoder copies the pts of a packet to its frame, so every frame carries its row, even if
        the container's timestamps are wrong.
        """

    def run(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        """Yield packets like `read`, the first one with the decoder state before it.

        The state is the parameter sets, headers and extradata of earlier packets.
        """

    def close(self) -> None:
        """Close the source."""
