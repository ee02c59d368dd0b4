"""The format of a stream's samples, as its parameter sets declare it.

FFmpeg reads these fields of H.264 when it decodes the first picture, which takes as long as a
picture of that size. Here they come from the extradata.

Numbers of colours are those of ITU-T H.273; pixel aspects those of ITU-T H.264, table E-1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from frames_pipeline.bitstream.bits import Bits

UNSPECIFIED: Final = 2
"""Number of colours that are not declared."""
_EXTENDED_ASPECT: Final = 255
"""aspect_ratio_idc of an aspect that follows as two numbers."""
_ASPECTS: Final = (
    (0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33),
    (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
"""Pixel aspects by aspect_ratio_idc."""


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """The format of a stream's samples, in the numbers of its standard."""

    bit_depth: int
    """Bits of a luma sample."""
    chroma: int
    """chroma_format_idc: 0 for gray, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4."""
    aspect: tuple[int, int] = (0, 1)
    """Width and height of a pixel; (0, 1) if it is not declared."""
    full_range: bool | None = None
    """Whether samples have the full range; `None` if it is not declared."""
    primaries: int = UNSPECIFIED
    """Colour primaries."""
    transfer: int = UNSPECIFIED
    """Transfer characteristics."""
    matrix: int = UNSPECIFIED
    """Matrix coefficients."""


def read_h264_picture(
    bits: Bits, *, bit_depth: int, chroma: int, frames_only: bool
) -> CodedPicture:
    """Read the rest of a sequence parameter set of H.264 (7.3.2.1.1, E.1.1).

    A damaged rest declares nothing.

    Args:
        bits: The bits after frame_mbs_only_flag.
        bit_depth: Bits of a luma sample.
        chroma: chroma_format_idc.
        frames_only: frame_mbs_only_flag.
    """
    picture = CodedPicture(bit_depth, chroma)
    try:
        if not frames_only:
            bits.u(1)  # mb_adaptive_frame_field_flag
        bits.u(1)  # direct_8x8_inference_flag
        if bits.u(1):  # frame_cropping_flag
            for _ in range(4):
                bits.ue()
        return _read_vui(bits, picture) if bits.u(1) else picture
    except EOFError:
        return picture


def _read_vui(bits: Bits, picture: CodedPicture) -> CodedPicture:
    """Read the start of the usability information."""
    if bits.u(1):  # aspect_ratio_info_present_flag
        picture = replace(picture, aspect=_read_aspect(bits))
    if bits.u(1):  # overscan_info_present_flag
        bits.u(1)
    if not bits.u(1):  # video_signal_type_present_flag
        return picture
    bits.u(3)  # video_format
    picture = replace(picture, full_range=bits.u(1) == 1)
    if not bits.u(1):  # colour_description_present_flag
        return picture
    return replace(picture, primaries=bits.u(8), transfer=bits.u(8), matrix=bits.u(8))


def _read_aspect(bits: Bits) -> tuple[int, int]:
    number = bits.u(8)  # aspect_ratio_idc
    if number == _EXTENDED_ASPECT:
        return bits.u(16), bits.u(16)
    return _ASPECTS[number] if number < len(_ASPECTS) else _ASPECTS[0]
