"""The format of a video's pictures, by FFmpeg's names for it.

    container, bitstream    numbers of ITU-T H.273, FFmpeg's enums      stream_format
    pixel format            depth and chroma of the samples             with_samples
    decoded frame           the same numbers, per frame                 with_colours

Sources: ITU-T H.273, tables 2 to 4; libavutil/pixdesc.c for the names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal, Protocol, cast

from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.stream import VideoStream

from frames_pipeline.bitstream import CodedPicture, codec_named
from frames_pipeline.frames import PictureFormat

PRIMARIES: Final[Mapping[int, str]] = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213", 256: "vgamut",
}  # fmt: skip
"""Names of colour primaries. Other numbers are reserved, and count as unspecified."""
TRANSFERS: Final[Mapping[int, str]] = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100",
    10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10",
    15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67", 256: "vlog",
}  # fmt: skip
"""Names of transfer characteristics. Other numbers are reserved, and count as unspecified."""
MATRICES: Final[Mapping[int, str]] = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c",
    14: "ictcp", 15: "ipt-c2", 16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
"""Names of matrix coefficients. Other numbers are reserved, and count as unspecified."""
PRIMARIES_NUMBERS: Final = {name: number for number, name in PRIMARIES.items()}
TRANSFER_NUMBERS: Final = {name: number for number, name in TRANSFERS.items()}
MATRIX_NUMBERS: Final = {name: number for number, name in MATRICES.items()}
_RANGES: Final[Mapping[int, Literal["limited", "full"]]] = {1: "limited", 2: "full"}
"""Names of ranges (AVColorRange)."""
_FIELD_ORDERS: Final[Mapping[int, Literal["progressive", "tff", "bff"]]] = {
    1: "progressive", 2: "tff", 3: "bff", 4: "bff", 5: "tff",
}  # fmt: skip
"""The field that is shown first (AVFieldOrder): FFmpeg's `tb` codes the top field first, and shows
the bottom field first."""
_CHROMA_IDC: Final = ("gray", "4:2:0", "4:2:2", "4:4:4")
"""Chroma by chroma_format_idc."""
_SUBSAMPLING: Final[Mapping[tuple[int, int], str]] = {
    (1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (4, 1): "4:1:1", (4, 4): "4:1:0",
    (1, 2): "4:4:0",
}  # fmt: skip
"""Chroma by the columns and rows of luma per chroma sample."""
_BLOCK: Final = 64
"""Pixels to measure subsampling with: a multiple of every block."""
_FULL_RANGE: Final = "yuvj"
"""Start of the names of FFmpeg's formats that are full range by definition."""
_READ_SETS_WHEN_OPENED: Final = ("hevc", "av1")
"""Codecs whose decoders read the format from extradata before the first frame."""


class _Coloured(Protocol):
    """A codec context or a frame: numbers of FFmpeg's enums, whose values are those of H.273."""

    @property
    def color_primaries(self) -> int: ...
    @property
    def color_trc(self) -> int: ...
    @property
    def colorspace(self) -> int: ...
    @property
    def color_range(self) -> int: ...


def stream_format(stream: VideoStream) -> PictureFormat:
    """Return the format by the container and the parameter sets; decode nothing.

    The bitstream's colours win over the container's, and the container's pixel aspect over the
    bitstream's, as in FFmpeg.
    """
    context = stream.codec_context
    read = _with_sets_read(context)
    coded = _coded_picture(context)
    found = with_colours(with_colours(PictureFormat(), context), read)
    if coded is not None:
        found = _with_coded(found, coded)
    name = context.pix_fmt or read.pix_fmt
    if name is not None:
        found = with_samples(found, VideoFormat(name))
    return replace(
        found,
        pixel_aspect=_pixel_aspect(stream, read, coded),
        field_order=_FIELD_ORDERS.get(context.field_order, "unspecified"),
    )


def with_colours(picture: PictureFormat, coloured: _Coloured) -> PictureFormat:
    """Return a format with the colours of a codec context or a frame, where it has some."""
    return replace(
        picture,
        primaries=PRIMARIES.get(int(coloured.color_primaries), picture.primaries),
        transfer=TRANSFERS.get(int(coloured.color_trc), picture.transfer),
        matrix=MATRICES.get(int(coloured.colorspace), picture.matrix),
        range=_RANGES.get(int(coloured.color_range), picture.range),
    )


def with_samples(picture: PictureFormat, samples: VideoFormat) -> PictureFormat:
    """Return a format with the depth and the chroma of a pixel format.

    >>> found = with_samples(PictureFormat(), VideoFormat("yuv420p10le"))
    >>> found.bit_depth, found.chroma
    (10, '4:2:0')
    """
    is_full = samples.name.startswith(_FULL_RANGE)
    return replace(
        picture,
        bit_depth=max((part.bits for part in samples.components), default=0),
        chroma=_chroma(samples),
        range="full" if is_full and picture.range == "unspecified" else picture.range,
    )


def _chroma(samples: VideoFormat) -> str:
    if samples.is_rgb or samples.has_palette:
        return "rgb"
    if sum(not part.is_alpha for part in samples.components) == 1:
        return "gray"
    block = _BLOCK // samples.chroma_width(_BLOCK), _BLOCK // samples.chroma_height(_BLOCK)
    return _SUBSAMPLING.get(block, "")


def _with_coded(picture: PictureFormat, coded: CodedPicture) -> PictureFormat:
    """Return a format with the facts of parameter sets, where they have some."""
    ranges: Mapping[bool | None, Literal["limited", "full"]] = {False: "limited", True: "full"}
    matrix = MATRICES.get(coded.matrix, picture.matrix)
    chroma = _CHROMA_IDC[coded.chroma] if coded.chroma < len(_CHROMA_IDC) else ""
    return replace(
        picture,
        primaries=PRIMARIES.get(coded.primaries, picture.primaries),
        transfer=TRANSFERS.get(coded.transfer, picture.transfer),
        matrix=matrix,
        range=ranges.get(coded.full_range, picture.range),
        bit_depth=coded.bit_depth,
        chroma="rgb" if matrix == "gbr" and chroma == "4:4:4" else chroma,
    )


def _pixel_aspect(
    stream: VideoStream, read: VideoCodecContext, coded: CodedPicture | None
) -> Fraction | None:
    """Return the first declared aspect: the container's, then the bitstream's."""
    width, height = (0, 1) if coded is None else coded.aspect
    in_sets = Fraction(width, height) if height else None
    found = stream.sample_aspect_ratio or in_sets or read.sample_aspect_ratio
    return found if found is not None and found > 0 else None


def _coded_picture(context: VideoCodecContext) -> CodedPicture | None:
    read = codec_named(context.codec.canonical_name).coded_picture
    return None if read is None else read(context.extradata or b"")


def _with_sets_read(context: VideoCodecContext) -> VideoCodecContext:
    """Return a context that has read the parameter sets, for decoders that do so when opened.

    The stream's own one has the container's colours, and for a stream without a header in its
    container nothing: the sets are found after libavformat has opened a decoder.
    """
    codec, extradata = context.codec, context.extradata
    if codec.canonical_name not in _READ_SETS_WHEN_OPENED or not extradata:
        return context
    fresh = cast(VideoCodecContext, CodecContext.create(codec.name, "r"))
    fresh.thread_count = 1
    fresh.extradata = extradata
    with contextlib.suppress(FFmpegError, ValueError):
        fresh.open()
    return fresh
