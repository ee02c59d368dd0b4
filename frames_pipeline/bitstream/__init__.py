"""Read packet headers: shown frames, entry points, disposable frames and output order.

    decode order     I0  P4  B2  b1  b3  P8  B6  b5  b7  I9
    entry            x                                   x     decoding may start here
    disposable               ?   x   x       ?   x   x         no other frame is predicted from it
    output order     0   4   2   1   3   8   6   5   7   9

Reads only headers, a few dozen bytes of each packet, and decodes nothing. So damage of a frame is
not detected here. Each family of codecs has a module, which names its source; `codecs` has a record
of each codec.
"""

from __future__ import annotations

from frames_pipeline.bitstream.codecs import CODECS, Codec, codec_named
from frames_pipeline.bitstream.coded_picture import CodedPicture
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
from frames_pipeline.bitstream.h264 import PictureNumbers
from frames_pipeline.bitstream.reader import HeaderReader

__all__ = [
    "BETWEEN",
    "CODECS",
    "COMPLETES",
    "DISPOSABLE",
    "ENTRY",
    "LAYER_SHIFT",
    "OPEN",
    "SETS",
    "SHOWN",
    "Codec",
    "CodedPicture",
    "HeaderReader",
    "PictureNumbers",
    "codec_named",
]
