"""Read packet headers: shown frames, entry points, disposable frames and output order.

    decode order     I0  P4  B2  b1  b3  P8  B6  b5  b7  I9
    entry            x                                   x     decoding may start here
    disposable               ?   x   x       ?   x   x         no other frame is predicted from it
    output order     0   4   2   1   3   8   6   5   7   9

Only headers are read, a few dozen bytes of each packet. Nothing is decoded, so damage of a frame is
not detected here. Each family of codecs has a module, which names its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.av1 import Av1Reader, frame_ends
from frames_pipeline.bitstream.ffv1 import Ffv1Reader
from frames_pipeline.bitstream.flags import (
    BETWEEN,
    COMPLETES,
    DISPOSABLE,
    ENTRY,
    LAYER_SHIFT,
    OPEN,
    SETS,
    SHOWN,
)
from frames_pipeline.bitstream.h263 import FlvReader, H263Reader
from frames_pipeline.bitstream.h264 import H264Order, H264Reader, PictureNumbers
from frames_pipeline.bitstream.heads import Heads, PacketBytes
from frames_pipeline.bitstream.hevc import HevcOrder, HevcReader
from frames_pipeline.bitstream.jpeg import JpegReader
from frames_pipeline.bitstream.mpeg import Mpeg4Reader, MpegReader
from frames_pipeline.bitstream.pictures import (
    cinepak_shows,
    dirac_shows,
    gif_shows,
    wmv2_shows,
)
from frames_pipeline.bitstream.vpx import Vp8Reader, Vp9Reader

__all__ = [
    "BETWEEN",
    "COMPLETES",
    "DISPOSABLE",
    "ENTRY",
    "LAYER_SHIFT",
    "OPEN",
    "SETS",
    "SHOWN",
    "HeaderReader",
    "PictureNumbers",
    "damaged_packets",
    "decodes_in_output_order",
    "discarded_pictures",
    "header_reader",
    "may_have_palettes",
    "output_order",
    "packet_cutter",
    "picture_numbers",
    "read_heads",
    "references",
    "refuted_entries",
    "renew",
    "starts_at_an_entry",
    "state_before",
    "state_varies",
]

Shows = Callable[[memoryview, int, int], bool]
"""Whether a packet holds a picture of some width and height."""


class HeaderReader(Protocol):
    """Reads the packets of one stream in decode order."""

    def read(self, data: memoryview, *, key: bool) -> int:
        """The flags of one packet, with its temporal layer above `LAYER_SHIFT`.

        Args:
            data: The packet's bytes.
            key: Whether the container calls it a key frame.
        """


class TheoraReader:
    """Entry points are intra frames, as the first byte of a packet says (Theora, 7.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the three headers, which a decoder is opened with."""

    def read(self, data: memoryview, *, key: bool) -> int:
        if not data or data[0] & 0x80:
            return 0  # a header, or nothing
        return SHOWN if data[0] & 0x40 else SHOWN | ENTRY


class IntraReader:
    """A codec in which every frame stands alone."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which says nothing here."""

    def read(self, data: memoryview, *, key: bool) -> int:
        return SHOWN | ENTRY | DISPOSABLE


class OpaqueReader:
    """A codec that nothing is known of: its frames show, and decoding starts at the first."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which says nothing here."""
        self._flags = SHOWN | ENTRY

    def read(self, data: memoryview, *, key: bool) -> int:
        flags, self._flags = self._flags, SHOWN
        return flags


class PictureReader:
    """An opaque codec with a known test for packets that hold a picture."""

    def __init__(self, shows: Shows, width: int, height: int) -> None:
        """Take the test for a picture, and the size of frames."""
        self._shows, self._width, self._height = shows, width, height
        self._entry = ENTRY

    def read(self, data: memoryview, *, key: bool) -> int:
        entry, self._entry = self._entry, 0
        return entry | (SHOWN if self._shows(data, self._width, self._height) else 0)


_SHOWS: Final[dict[str, Shows]] = {
    "gif": gif_shows,
    "dirac": dirac_shows,
    "cinepak": cinepak_shows,
    "wmv2": wmv2_shows,
}
"""Opaque codecs in which a sound packet may hold no picture. In all others that FFmpeg can write
every packet gives a frame or an error (`tests/container/test_pictures.py`)."""
_READERS: Final[dict[str, Callable[[bytes], HeaderReader]]] = {
    # Entry points are pictures that reset the decoder; parameter sets and headers in force there
    # are replayed.
    "h264": H264Reader,
    "hevc": HevcReader,
    "mpeg1video": MpegReader,
    "mpeg2video": MpegReader,
    "mpeg4": Mpeg4Reader,
    # Entry points are pictures that reset the decoder, with their headers or in the extradata.
    "av1": Av1Reader,
    "vp9": Vp9Reader,
    "vp8": Vp8Reader,
    "h263": H263Reader,
    "flv1": FlvReader,
    "theora": TheoraReader,
    "ffv1": Ffv1Reader,
    "mjpeg": JpegReader,
}
"""Readers that find entry points in the bitstream. A container's key flag alone makes none: AVI and
Matroska set it on every packet of H.263, APNG on every packet. Other codecs are decoded from their
start, or frame by frame if FFmpeg calls them intra-only."""
_Stateful = H264Reader | HevcReader | MpegReader | Mpeg4Reader
"""Readers that log headers and parameter sets."""


def header_reader(
    codec: str,
    extradata: bytes,
    *,
    intra_only: bool = False,
    width: int = 0,
    height: int = 0,
) -> HeaderReader:
    """The reader for a codec, by FFmpeg's canonical name of it."""
    if codec in _SHOWS:
        return PictureReader(_SHOWS[codec], width, height)
    return _READERS.get(codec, IntraReader if intra_only else OpaqueReader)(extradata)


def read_heads(
    reader: HeaderReader,
    heads: Heads,
    lengths: NDArray[np.int64],
    *,
    key: NDArray[np.bool_],
    read: PacketBytes,
) -> NDArray[np.int64] | None:
    """Return the flags of all packets of a stream at once, as `read` gives them one by one.

    `None` if this codec has no such reader, if a packet holds more than one picture with its
    parameter sets and SEI, or if the container's key flags contradict the headers.

    Args:
        reader: A reader that has read nothing yet.
        heads: The first bytes of each packet. Shape (packets, bytes).
        lengths: Bytes of each packet. Shape (packets,).
        key: Whether the container calls it a key frame. Shape (packets,).
        read: Reads more of a packet.
    """
    if isinstance(reader, H264Reader | HevcReader):
        return reader.read_heads(heads, lengths, key=key, read=read)
    return None


def packet_cutter(codec: str) -> Callable[[memoryview], list[int]] | None:
    """Return a function that cuts a packet into parts of one frame each; `None` for most codecs.

    The function returns the end of each part.
    """
    return frame_ends if codec == "av1" else None


def references(reader: HeaderReader) -> list[tuple[int, ...]] | None:
    """Return the packets that each packet is predicted from; `None` if headers do not tell."""
    return reader.references if isinstance(reader, Av1Reader) else None


def renew(reader: HeaderReader, extradata: bytes) -> None:
    """Give a reader the extradata that comes with the next packet."""
    if isinstance(reader, H264Reader | HevcReader):
        reader.renew(extradata)


def may_have_palettes(reader: HeaderReader) -> bool:
    """Return whether palettes in side data apply: to intra-only codecs without a parser."""
    return isinstance(reader, IntraReader)


def state_varies(reader: HeaderReader) -> bool:
    """Return whether packets read so far change decoder state other than pictures (see `state`)."""
    return isinstance(reader, _Stateful) and reader.state_varies


def state_before(reader: HeaderReader, row: int) -> bytes | None:
    """Return the bytes that put a decoder into the state of a linear decode before a packet.

    `None` if no bytes can: decoding must not begin at that packet.
    """
    if isinstance(reader, _Stateful) and reader.state_varies:
        return reader.state_before(row)
    return b""


def discarded_pictures(reader: HeaderReader) -> list[int]:
    """Return packets of pictures that a decoder drops before output."""
    return reader.discarded if isinstance(reader, HevcReader) else []


def refuted_entries(reader: HeaderReader) -> list[int]:
    """Return packets that claim to be entry points, and are refuted by later ones."""
    return reader.refuted if isinstance(reader, H264Reader) else []


def damaged_packets(reader: HeaderReader) -> list[int]:
    """Return the packets read so far that fail their own checksums."""
    return reader.damaged if isinstance(reader, Ffv1Reader) else []


def picture_numbers(codec: str, extradata: bytes) -> PictureNumbers | None:
    """Return a detector of lost pictures, for codecs that number their pictures."""
    return PictureNumbers(extradata) if codec == "h264" else None


def decodes_in_output_order(reader: HeaderReader) -> bool:
    """Return whether the headers read so far declare that output order is decode order."""
    return isinstance(reader, H264Reader) and reader.in_output_order


def starts_at_an_entry(codec: str) -> bool:
    """Return whether a decoder of this codec outputs nothing before the first entry point."""
    return codec in {"h264", "hevc", "av1", "vp9", "vp8", "mpeg1video", "mpeg2video"}


def output_order(
    codec: str, extradata: bytes, packets: Iterable[memoryview], flags: Iterable[int]
) -> list[int] | None:
    """The rank of each packet's frame in the decoder's output, told from headers alone.

    Returns:
        A sort key per packet, or `None` where the headers do not tell (picture order count type
        1 of H.264) for a codec that may reorder.
    """
    match codec:
        case "h264":
            return H264Order(extradata).ranks(packets)
        case "hevc":
            return HevcOrder(extradata).ranks(packets)
        case "mpeg1video" | "mpeg2video" | "mpeg4":
            return _after_their_references(flags)
        case _:
            return [rank for rank, _ in enumerate(flags)]


def _after_their_references(flags: Iterable[int]) -> list[int]:
    """Output order of I, P and B pictures: a reference waits until the next one arrives.

    >>> _after_their_references([SHOWN, SHOWN, BETWEEN, BETWEEN, SHOWN])
    [0, 3, 1, 2, 4]
    """
    ranks: list[int] = []
    waiting: int | None = None
    shown = 0
    for row, flag in enumerate(flags):
        ranks.append(-1)
        if flag & BETWEEN:
            ranks[row], shown = shown, shown + 1
            continue
        if waiting is not None:
            ranks[waiting], shown = shown, shown + 1
        waiting = row
    if waiting is not None:
        ranks[waiting] = shown
    return ranks
