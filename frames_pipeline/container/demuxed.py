"""Packets that libavformat reads from a container.

Packets stay in memory up to a limit. Packets of a larger stream are read a second time, from a
second container. It seeks if that saves reading, and checks its position after each seek.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, cast, get_args

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet, PacketSideData, PktSideDataT
from av.video.stream import VideoStream
from numpy.typing import NDArray

from frames_pipeline.bitstream import (
    ENTRY,
    SETS,
    SHOWN,
    HeaderReader,
    codec_named,
)
from frames_pipeline.bitstream.codecs import PacketCutter
from frames_pipeline.container.index import NO_PTS, PacketColumns
from frames_pipeline.errors import LimitExceededError, SourceError, UnsupportedSourceError

if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]

_NEW_EXTRADATA: Final = get_args(PktSideDataT).index("new_extradata")
_COLUMNS: Final = 8
"""Numbers to keep per packet: see `_row`."""
_LEAST_PACKET: Final = 4
"""Least bytes of a file per packet, container headers included."""
_FEW: Final = 4096
"""Packets that a file of any size may have."""
_PER_PACKET: Final = 512
"""Memory of a packet besides its data, in bytes."""
_SEEK_OVER: Final = 512
"""Distance in packets from which seeking beats reading on."""


class DemuxedPackets:
    """The packets of a stream, by row in decode order."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        reader: HeaderReader,
        reopen: Callable[[], InputContainer],
        memory: int,
        max_packets: int,
        max_bytes: int,
        file_size: int,
        name: str,
    ) -> None:
        """Read the whole stream once.

        Args:
            container: Container to read the stream from.
            stream: The stream.
            reader: Reads the stream's headers.
            reopen: Opens the container again, for a stream that does not stay in memory.
            memory: Maximum bytes of packets to hold.
            max_packets: Maximum packets of the stream.
            max_bytes: Maximum bytes of the packets of all streams together.
            file_size: Bytes of the file.
            name: Name of the source in errors.

        Raises:
            LimitExceededError: The stream has more packets, or packets have more bytes.
            UnsupportedSourceError: The stream is encrypted.
        """
        self._stream_index = stream.index
        self._cut = codec_named(stream.codec_context.codec.canonical_name).cut
        self._reopen = reopen
        self._name = name
        self._reader = reader
        self._held: list[VideoPacket] | None = []
        self._cursor: _Cursor | None = None
        self._seekable = True
        self.ended_early = ""
        """Reason for not reading the container to its end; empty if it was."""
        self._extradata: list[tuple[int, bytes]] = [(-1, _extradata(stream))]
        """Rows of packets with other extradata, and the extradata."""
        self._palettes: list[int] = []
        """Rows of packets with a palette."""
        allowance = _Allowance(name, max_packets=max_packets, max_bytes=max_bytes, size=file_size)
        table = self._read_all(container, allowance, memory)
        self._settle_flags(table[-1])
        self.columns = _as_columns(table, damaged=reader.damaged)

    def _read_all(
        self, container: InputContainer, allowance: _Allowance, memory: int
    ) -> NDArray[np.int64]:
        """Read every packet once; return the columns of `_row`, and hold packets that fit."""
        rows, held = array("q"), 0
        for row, packet in enumerate(self._demux_all(container, allowance)):
            allowance.count_packet(row)
            self._note_side_data(row, packet)
            rows.extend(_row(packet, self._reader))
            held += packet.size + _PER_PACKET
            if held > memory:
                self._held = None
            if self._held is not None:
                self._held.append(_stamped(packet, row))
        return np.frombuffer(rows, np.int64).reshape(-1, _COLUMNS).T

    def _note_side_data(self, row: int, packet: VideoPacket) -> None:
        """Note extradata and palettes that come with a packet.

        Raises:
            UnsupportedSourceError: The packet is encrypted.
        """
        if packet.has_sidedata("encryption_info"):
            message = f"{self._name} is encrypted; decrypt it first"
            raise UnsupportedSourceError(message)
        if packet.has_sidedata("new_extradata"):
            self._extradata.append((row, bytes(packet.get_sidedata("new_extradata"))))
            self._reader.renew(self._extradata[-1][1])
        if packet.has_sidedata("palette") and self._reader.may_have_palettes:
            self._palettes.append(row)

    def _settle_flags(self, flags: NDArray[np.int64]) -> None:
        """Mark packets that change the decoder's state, and clear impossible entry points.

        A palette stays in force until the next one, so decoding can begin only at a packet with a
        palette.
        """
        flags[[row for row, _ in self._extradata[1:]]] |= SETS
        flags[self._palettes] |= SETS
        if self._palettes:
            lacks = np.arange(len(flags)) > self._palettes[0]
            lacks[self._palettes] = False
            flags[lacks] &= ~ENTRY
        flags[list(self._reader.refuted)] &= ~ENTRY
        if self._reader.state_varies:
            for row in np.flatnonzero(flags & ENTRY).tolist():
                if self._reader.state_before(row) is None:
                    flags[row] &= ~ENTRY
        flags[list(self._reader.discarded)] &= ~SHOWN

    def _demux_all(self, container: InputContainer, allowance: _Allowance) -> Iterator[VideoPacket]:
        """Yield every packet up to the end or the first error; set `ended_early` to the error."""
        try:
            yield from _demux(container, self._stream_index, self._cut, allowance)
        except MemoryError:
            raise
        except (FFmpegError, ValueError) as error:
            self.ended_early = f"the container cannot be read to its end: {error}"

    @property
    def in_output_order(self) -> bool:
        return self._reader.in_output_order

    def references(self, start: int, stop: int) -> Sequence[tuple[int, ...]] | None:
        known = self._reader.references
        return None if known is None else known[start:stop]

    def headers(self) -> Iterator[memoryview]:
        described = {row for row, _ in self._extradata[1:]}
        for row, packet in self.read(range(len(self.columns))):
            yield memoryview(self._prepared(row, packet) if row in described else packet)

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        for row in rows:
            yield row, self._held[row] if self._held is not None else self._read_again(row)

    def run(self, rows: Iterable[int]) -> Iterator[tuple[int, VideoPacket]]:
        is_first = True
        for row, packet in self.read(rows):
            yield row, self._prepared(row, packet) if is_first else packet
            is_first = False

    def _prepared(self, row: int, packet: VideoPacket) -> VideoPacket:
        """Return a packet with the decoder state before it."""
        state = (self._reader.state_varies and self._reader.state_before(row)) or b""
        extradata = self._extradata_before(row)
        if not state and not extradata:
            return packet
        prepared = cast("VideoPacket", Packet(len(state) + packet.size))
        prepared.update(state + bytes(packet))
        prepared.pts, prepared.dts, prepared.time_base = packet.pts, packet.dts, packet.time_base
        prepared.is_keyframe = packet.is_keyframe
        for item in packet.iter_sidedata():
            prepared.set_sidedata(item)
        if extradata and not packet.has_sidedata("new_extradata"):
            item = PacketSideData(_NEW_EXTRADATA, len(extradata))  # type: ignore[call-arg]
            item.update(extradata)
            prepared.set_sidedata(item)
        return prepared

    def _extradata_before(self, row: int) -> bytes:
        """Return the extradata in force before a row; empty if the stream has only one."""
        if len(self._extradata) == 1:
            return b""
        return [extradata for first, extradata in self._extradata if first < row][-1]

    def close(self) -> None:
        """Release the packets and the second container."""
        self._held = []
        if self._cursor is not None:
            self._cursor.close()

    def _read_again(self, row: int) -> VideoPacket:
        packet = self._cursor_before(row).advance(row)
        if packet is None or packet.size != self.columns.size[row]:
            message = f"{self._name} changed while it was read; run it again"
            raise SourceError(message)
        return _stamped(packet, row)

    def _cursor_before(self, row: int) -> _Cursor:
        """Return the cursor, at or before a row; it seeks only if the landing row is certain."""
        if self._cursor is None:
            self._cursor = _Cursor(self._reopen(), self._stream_index, self._cut)
        if 0 <= row - self._cursor.next_row <= _SEEK_OVER:
            return self._cursor
        if self._seekable and self.columns.dts[row] != NO_PTS:
            self._seekable = self._cursor.seek(
                int(self.columns.dts[row]), self._row_of, at_most=row
            )
            if self._seekable:
                return self._cursor
            self._cursor.next_row = row + 1  # its position after the seek is unknown
        if row < self._cursor.next_row:
            self._cursor.close()
            self._cursor = _Cursor(self._reopen(), self._stream_index, self._cut)
        return self._cursor

    def _row_of(self, packet: VideoPacket) -> int | None:
        """Return the row of a packet; `None` if it is ambiguous."""
        if packet.dts is None or packet.pts is None:
            return None
        is_same = (self.columns.dts == packet.dts) & (self.columns.pts == packet.pts)
        rows = np.flatnonzero(is_same & (self.columns.size == packet.size))
        return int(rows[0]) if len(rows) == 1 else None


class _Allowance:
    """Limits on packets.

    Packets may share bytes of the file or be compressed in it, so the file's size does not bound
    them.
    """

    def __init__(self, name: str, *, max_packets: int, max_bytes: int, size: int) -> None:
        self._name = name
        self._max_packets = max_packets
        self._held_at_most = size // _LEAST_PACKET + _FEW
        self._left = self._most = max_bytes
        self._size = size

    def count_packet(self, before: int) -> None:
        """Count a packet of the stream, after `before` others.

        Raises:
            LimitExceededError: There are too many packets.
        """
        if before >= self._max_packets:
            message = f"{self._name} has more than {self._max_packets} packets; raise max_packets "
            raise LimitExceededError(message + "if that is expected")
        if before >= self._held_at_most:
            message = f"{self._name} has {self._size} bytes, and makes more than {before} packets "
            raise LimitExceededError(message + f"of them: less than {_LEAST_PACKET} bytes each")

    def spend(self, size: int) -> None:
        """Count the bytes of a packet of any stream.

        Raises:
            LimitExceededError: There are too many bytes.
        """
        self._left -= size
        if self._left < 0:
            message = f"{self._name} has packets of more than {self._most} bytes: they share bytes "
            message += "of the file, or are compressed; raise max_reuse if that is expected"
            raise LimitExceededError(message)


class _Cursor:
    """A position in a container that is read a second time."""

    def __init__(
        self, container: InputContainer, stream_index: int, cut: PacketCutter | None
    ) -> None:
        self._container = container
        self._stream_index = stream_index
        self._cut = cut
        self._packets = _demux(container, stream_index, cut)
        self._pending: VideoPacket | None = None
        self.next_row = 0

    def seek(self, dts: int, row_of: Callable[[VideoPacket], int | None], *, at_most: int) -> bool:
        """Seek to the key packet at or before a decode time; return whether its row is certain."""
        stream = self._container.streams[self._stream_index]
        try:
            self._container.seek(dts, stream=stream)
        except (FFmpegError, OSError):
            return False
        self._packets = _demux(self._container, self._stream_index, self._cut)
        self._pending = next(self._packets, None)
        row = None if self._pending is None else row_of(self._pending)
        if row is None or row > at_most:
            return False
        self.next_row = row
        return True

    def advance(self, row: int) -> VideoPacket | None:
        """Read on to the packet of a row."""
        while True:
            packet = self._pending or next(self._packets, None)
            self._pending = None
            self.next_row += 1
            if packet is None or self.next_row > row:
                return packet

    def close(self) -> None:
        self._container.close()


def _extradata(stream: VideoStream) -> bytes:
    return stream.codec_context.extradata or b""


def _row(
    packet: VideoPacket, reader: HeaderReader
) -> tuple[int, int, int, int, bool, bool, bool, int]:
    """Return the numbers to keep of a packet, in the order of `PacketColumns`."""
    key = packet.is_keyframe
    return (
        NO_PTS if packet.pts is None else packet.pts,
        NO_PTS if packet.dts is None else packet.dts,
        packet.duration or 0,
        packet.size,
        key,
        packet.is_discard,
        packet.is_corrupt,
        reader.read(memoryview(packet), key=key),
    )


def _as_columns(table: NDArray[np.int64], *, damaged: Sequence[int]) -> PacketColumns:
    """Return the columns of a table.

    Args:
        table: The numbers of `_row`. Shape (columns, rows).
        damaged: Rows that fail their own checksums.
    """
    pts, dts, duration, size, key, discard, corrupt, flags = table
    is_corrupt = corrupt.astype(np.bool_)
    is_corrupt[list(damaged)] = True
    return PacketColumns(
        pts=pts,
        dts=dts,
        duration=duration,
        size=size,
        key=key.astype(np.bool_),
        discard=discard.astype(np.bool_),
        corrupt=is_corrupt,
        flags=flags,
    )


def _demux(
    container: InputContainer,
    stream_index: int,
    cut: PacketCutter | None,
    allowance: _Allowance | None = None,
) -> Iterator[VideoPacket]:
    """Yield the packets of a stream that contain data: an empty one would end decoding.

    After the last packet PyAV yields an empty one per stream, and raises for streams that it
    discovered during reading.
    """
    with contextlib.suppress(IndexError):
        for packet in cast("Iterator[VideoPacket]", container.demux()):
            if allowance is not None:
                allowance.spend(packet.size)
            if not packet.size or packet.stream_index != stream_index:
                continue
            if cut is None:
                yield packet
            else:
                yield from _parts(packet, cut(memoryview(packet)))


def _parts(packet: VideoPacket, ends: list[int]) -> Iterator[VideoPacket]:
    """Yield a packet as packets of one frame each. A packet with flags or side data stays whole."""
    if len(ends) == 1 or packet.is_discard or packet.is_corrupt or any(packet.iter_sidedata()):
        yield packet
        return
    for start, stop in pairwise([0, *ends]):
        part = _copied(packet, start, stop)
        part.pts, part.dts, part.duration = packet.pts, packet.dts, packet.duration
        part.is_keyframe = packet.is_keyframe
        yield part


def _stamped(packet: VideoPacket, row: int) -> VideoPacket:
    packet = _undiscarded(packet) if packet.is_discard else packet
    packet.pts = packet.dts = row
    return packet


def _undiscarded(packet: VideoPacket) -> VideoPacket:
    """Return a copy without the discard flag, so that a decoder outputs its frame.

    With the flag, the decoder would drop the frame together with the fact that it is damaged, which
    later frames inherit.
    """
    copy = _copied(packet, 0, packet.size)
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    for item in packet.iter_sidedata():
        copy.set_sidedata(item)
    return copy


def _copied(packet: VideoPacket, start: int, stop: int) -> VideoPacket:
    """Return some bytes of a packet, with the padding that decoders need after them."""
    copy = cast("VideoPacket", Packet(stop - start))
    copy.update(bytes(memoryview(packet)[start:stop]))
    return copy
