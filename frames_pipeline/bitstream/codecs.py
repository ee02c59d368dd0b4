"""One record per codec: how its headers are read, and facts about its streams and decoders.

A codec without a record is decoded from its start, or frame by frame if FFmpeg calls it intra-only.
A container's key flag alone makes no entry point: AVI and Matroska set it on every packet of H.263,
APNG on every packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from frames_pipeline.bitstream.av1 import Av1Reader, frame_ends
from frames_pipeline.bitstream.coded_picture import CodedPicture
from frames_pipeline.bitstream.ffv1 import Ffv1Reader
from frames_pipeline.bitstream.h263 import FlvReader, H263Reader
from frames_pipeline.bitstream.h264 import (
    H264Order,
    H264Reader,
    PictureNumbers,
    coded_picture,
)
from frames_pipeline.bitstream.hevc import HevcOrder, HevcReader
from frames_pipeline.bitstream.jpeg import JpegReader
from frames_pipeline.bitstream.mpeg import Mpeg4Reader, MpegReader
from frames_pipeline.bitstream.order import ranks_of_references
from frames_pipeline.bitstream.pictures import cinepak_shows, dirac_shows, gif_shows, wmv2_shows
from frames_pipeline.bitstream.reader import (
    HeaderReader,
    IntraReader,
    OpaqueReader,
    PictureReader,
    Shows,
    TheoraReader,
)
from frames_pipeline.bitstream.vpx import Vp8Reader, Vp9Reader

OutputRanks = Callable[[bytes, Iterable[memoryview], Iterable[int]], list[int] | None]
"""Returns, from extradata, packets and their flags, the rank of each packet's frame in the
decoder's output; `None` if the headers lack it (picture order count type 1 of H.264)."""
PacketCutter = Callable[[memoryview], list[int]]
"""Returns the end of each part of a packet. Each part is a frame."""


@dataclass(frozen=True, slots=True)
class Codec:
    """The packet reader of a codec, with facts about its streams and decoders."""

    reader: Callable[[bytes], HeaderReader] = OpaqueReader
    """Opens a reader of packet headers, with a stream's extradata."""
    shows: Shows | None = None
    """Test for packets with a picture, for opaque codecs in which a valid packet may hold none. In
    all others that FFmpeg can write, every packet gives a frame or an error
    (`tests/container/test_pictures.py`)."""
    output_ranks: OutputRanks | None = None
    """Reads the output order from headers, if the codec may reorder frames."""
    picture_numbers: Callable[[bytes], PictureNumbers] | None = None
    """Opens a detector of lost pictures, if the codec numbers its pictures."""
    coded_picture: Callable[[bytes], CodedPicture | None] | None = None
    """Reads the format of the samples from extradata, if FFmpeg reads it only while decoding."""
    cut: PacketCutter | None = None
    """Cuts a packet that holds several frames into packets of one frame each."""
    starts_at_entry: bool = False
    """Whether a decoder outputs nothing before the first entry point."""
    leading_is_unneeded: bool = False
    """Whether no other picture may refer to a leading one."""
    has_spatial_layers: bool = False
    """Whether a packet may hold one picture in several sizes, all marked shown. FFmpeg's decoder
    outputs all of them."""
    reports_damage: bool = False
    """Whether FFmpeg's decoder reports all damage of predicted frames with frame threads, too."""
    returns_broken: bool = False
    """Whether FFmpeg's decoder outputs broken pictures unmarked, unless an option forbids it."""

    def open_reader(self, extradata: bytes, *, width: int = 0, height: int = 0) -> HeaderReader:
        """Return a reader of a stream's packets, for frames of a size."""
        if self.shows is not None:
            return PictureReader(self.shows, width, height)
        return self.reader(extradata)


def _h264_ranks(
    extradata: bytes, packets: Iterable[memoryview], flags: Iterable[int]
) -> list[int] | None:
    return H264Order(extradata).ranks(packets)


def _hevc_ranks(
    extradata: bytes, packets: Iterable[memoryview], flags: Iterable[int]
) -> list[int] | None:
    return HevcOrder(extradata).ranks(packets)


def _mpeg_ranks(
    extradata: bytes, packets: Iterable[memoryview], flags: Iterable[int]
) -> list[int] | None:
    return ranks_of_references(flags)


_MPEG: Final = Codec(MpegReader, output_ranks=_mpeg_ranks, starts_at_entry=True)
CODECS: Final[Mapping[str, Codec]] = {
    # Entry points are pictures that reset the decoder; parameter sets and headers in force there
    # are replayed.
    "h264": Codec(
        # FFmpeg marks a damaged picture once it is decoded, and with threads may return it before:
        # of 171 streams with flipped bits, 5 to 9 came out without a mark. So do MPEG's decoders.
        H264Reader,
        output_ranks=_h264_ranks,
        picture_numbers=PictureNumbers,
        coded_picture=coded_picture,
        starts_at_entry=True,
    ),
    "hevc": Codec(
        HevcReader,
        output_ranks=_hevc_ranks,
        starts_at_entry=True,
        leading_is_unneeded=True,  # H.265, 7.4.2.2
        reports_damage=True,
        returns_broken=True,
    ),
    "mpeg1video": _MPEG,
    "mpeg2video": _MPEG,
    "mpeg4": Codec(Mpeg4Reader, output_ranks=_mpeg_ranks),
    # Entry points are pictures that reset the decoder, with their headers or in the extradata.
    "av1": Codec(Av1Reader, cut=frame_ends, starts_at_entry=True, reports_damage=True),
    "vp9": Codec(Vp9Reader, starts_at_entry=True, has_spatial_layers=True, reports_damage=True),
    "vp8": Codec(Vp8Reader, starts_at_entry=True, reports_damage=True),
    "h263": Codec(H263Reader),
    "flv1": Codec(FlvReader),
    "theora": Codec(TheoraReader),
    "ffv1": Codec(Ffv1Reader),
    "mjpeg": Codec(JpegReader),
    # Opaque codecs
    "gif": Codec(shows=gif_shows),
    "dirac": Codec(shows=dirac_shows),
    "cinepak": Codec(shows=cinepak_shows),
    "wmv2": Codec(shows=wmv2_shows),
}
"""Codecs with known facts, by FFmpeg's canonical name."""
_INTRA: Final = Codec(IntraReader)
_OPAQUE: Final = Codec()


def codec_named(name: str, *, intra_only: bool = False) -> Codec:
    """Return the record of a codec, by FFmpeg's canonical name of it.

    Args:
        name: The name.
        intra_only: Whether FFmpeg marks the codec as intra-only.

    >>> codec_named("hevc").leading_is_unneeded, codec_named("png").leading_is_unneeded
    (True, False)
    """
    return CODECS.get(name, _INTRA if intra_only else _OPAQUE)
