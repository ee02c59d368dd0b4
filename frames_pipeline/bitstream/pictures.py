"""Codecs with a single test: whether a packet holds a picture.

A packet may be an extension after a GIF's last picture, a sequence header of Dirac, or a mark that
the picture did not change. A decoder accepts it without an error and gives no frame.

Sources: GIF89a specification, 17 to 27; Dirac specification 2.2.3, 9.6; FFmpeg's `cinepak.c` and
`wmv2dec.c` for formats without one.
"""

from __future__ import annotations

from typing import Final

from frames_pipeline.bitstream.bits import Bits

_GIF_SIGNATURES: Final = (b"GIF87a", b"GIF89a")
_GIF_SCREEN: Final = 13
"""Bytes of the signature and the logical screen descriptor."""
_GIF_EXTENSION, _GIF_TRAILER = 0x21, 0x3B
_DIRAC_PREFIX: Final = b"BBCD"
_DIRAC_PICTURE: Final = 0x08
"""Bit of a parse code that marks a picture."""
_CINEPAK_STRIPS: Final = slice(8, 10)
_WMV2_BY_ROW, _WMV2_BY_COLUMN = 2, 3


def gif_shows(data: memoryview, width: int, height: int) -> bool:
    """Return whether the blocks are more than extensions: an image, or invalid bytes."""
    at = 0
    if bytes(data[:6]) in _GIF_SIGNATURES and len(data) >= _GIF_SCREEN:
        at = _GIF_SCREEN + _gif_colours(data[10])
    while at + 1 < len(data) and data[at] == _GIF_EXTENSION:
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return at < len(data) and data[at] != _GIF_TRAILER


def _gif_colours(packed: int) -> int:
    """Return the bytes of the global colour table."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def dirac_shows(data: memoryview, width: int, height: int) -> bool:
    """Return whether one of the parse units is a picture."""
    text, at = bytes(data), 0
    while (at := text.find(_DIRAC_PREFIX, at)) >= 0 and at + 4 < len(text):
        if text[at + 4] & _DIRAC_PICTURE:
            return True
        at += len(_DIRAC_PREFIX)
    return False


def cinepak_shows(data: memoryview, width: int, height: int) -> bool:
    """Return whether the frame has strips.

    One cut before its strip count is broken rather than empty.
    """
    strips = data[_CINEPAK_STRIPS]
    return len(strips) < 2 or any(strips)


def wmv2_shows(data: memoryview, width: int, height: int) -> bool:
    """Return whether a predicted picture codes any rows or columns, rather than skipping all."""
    bits = Bits(bytes(data[: 2 + (max(width, height) >> 7)]))
    try:
        if not bits.u(1):
            return True  # an intra picture
        bits.u(5)  # quantiser
        skipped = {_WMV2_BY_ROW: height, _WMV2_BY_COLUMN: width}.get(bits.u(2), 0)
        macroblocks = (skipped + 15) // 16
        return not macroblocks or not all(bits.u(1) for _ in range(macroblocks))
    except EOFError:
        return True
