"""Packets of a plain MP4 or MOV file, read one at a time at their offsets.

libavformat's own index must agree with the sample table, and the key flags of its parser with the
table's. If they differ, or if a header is not supported, the stream is demuxed instead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from frames_pipeline.bitstream import ENTRY, HeaderReader
from frames_pipeline.container.byte_reader import ByteReader
from frames_pipeline.container.index import PacketColumns
from frames_pipeline.container.sample_table import SampleTable, read_sample_table
from frames_pipeline.errors import SourceError

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]

_HEAD: Final = 64
"""Bytes to read of each packet for its headers; longer headers take a second read."""
_ENDS: Final = 64
"""Samples at either end to compare with libavformat's index; see `_CHECKS` for the rest."""
_CHECKS: Final = 256
"""Samples and key samples between them to compare, evenly spaced."""


class SampledPackets:
    """Packets by row, each read from the file on demand."""

    ended_early = ""

    def __init__(
        self,
        file: ByteReader,
        table: SampleTable,
        flags: NDArray[np.int64],
        *,
        in_output_order: bool,
        name: str,
    ) -> None:
        """Take the table and flags of a file; `sampled_packets` makes them."""
        self._file = file
        self._offset, self._size = table.offset, table.size
        self._name = name
        self.in_output_order = in_output_order
        unmarked = np.zeros(len(table), np.bool_)
        self.columns = PacketColumns(
            pts=table.pts,
            dts=table.dts,
            duration=table.duration,
            size=table.size,
            key=table.sync,
            discard=unmarked,
            corrupt=unmarked,
            flags=flags,
        )

    def references(self, start: int, stop: int) -> None:
        return None

    def headers(self) -> Iterator[memoryview]:
        for row in range(len(self.columns)):
            yield memoryview(self._bytes(row))

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        for row in rows:
            data = self._bytes(row)
            packet = cast("VideoPacket", Packet(len(data)))  # has the padding that decoders need
            packet.update(data)
            packet.pts = packet.dts = row
            packet.is_keyframe = bool(self.columns.key[row])
            yield row, packet

    def run(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        return self.read(rows)  # a plain table has one description and no parameter sets in samples

    def close(self) -> None:
        pass

    def _bytes(self, row: int) -> bytes:
        size = int(self._size[row])
        data = self._file.read(int(self._offset[row]), size)
        if len(data) != size:
            message = f"{self._name} changed while it was read; run it again"
            raise SourceError(message)
        return data


def sampled_packets(
    stream: VideoStream, file: ByteReader, reader: HeaderReader, *, max_packets: int, name: str
) -> SampledPackets | None:
    """Return the packets of a stream; `None` if the stream must be demuxed.

    Args:
        stream: The stream, in a container that is still unread.
        file: The same file.
        reader: Reads the stream's headers.
        max_packets: Maximum packets to handle here.
        name: Name of the source in errors.
    """
    table = read_sample_table(file.read, file_size=file.size, track=stream.id)
    if table is None or len(table) > max_packets or not _is_agreed(table, stream):
        return None
    heads = file.read_each(table.offset.tolist(), _HEAD)
    heads[-_ENDS:] = [head.ljust(_HEAD, b"\0") for head in heads[-_ENDS:]]  # the file ends there
    flags = reader.read_heads(
        np.frombuffer(b"".join(heads), np.uint8).reshape(len(table), _HEAD),
        table.size,
        key=table.sync,
        read=functools.partial(_read_packet, file, table),
    )
    if flags is None:
        return None
    flags[list(reader.refuted)] &= ~ENTRY
    return SampledPackets(file, table, flags, in_output_order=reader.in_output_order, name=name)


def _read_packet(
    file: ByteReader, table: SampleTable, row: int, start: int = 0, size: int | None = None
) -> memoryview:
    """Return some bytes of a sample, filled with zeros past the end of the file."""
    left = int(table.size[row]) - start
    size = left if size is None else size
    data = file.read(int(table.offset[row]) + start, max(min(left, size), 0))
    return memoryview(data.ljust(size, b"\0"))


def _is_agreed(table: SampleTable, stream: VideoStream) -> bool:
    """Return whether libavformat's index agrees with the sample table.

    An edit list may hide or drop samples at either end, and a shift moves all of them. So the ends
    are compared in full, and the samples between at even distances.
    """
    entries, n = stream.index_entries, len(table)
    if len(entries) != n:
        return False
    keys = np.flatnonzero(table.sync)
    rows = np.zeros(n, np.bool_)
    rows[:_ENDS] = rows[-_ENDS:] = rows[:: max(n // _CHECKS, 1)] = True
    rows[keys[:: max(len(keys) // _CHECKS, 1)]] = True
    places = (column[rows].tolist() for column in (table.offset, table.size, table.dts, table.sync))
    return all(
        (entry.pos, entry.size, entry.timestamp, entry.is_keyframe, entry.is_discard)
        == (*place, False)
        for row, *place in zip(np.flatnonzero(rows).tolist(), *places, strict=True)
        for entry in (entries[row],)
    )
