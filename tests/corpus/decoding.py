"""The library's plan, decoder and pass, without the conversion to RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import PyavDecoder, Tally
from frames_pipeline.decoding.decode_pass import DecodedFrame, DecodePass
from frames_pipeline.decoding.plan import DecodePlan
from frames_pipeline.decoding.row_decode import Restarted, RowDecode
from tests.oracle import raw_digest

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Decode:
    """Result of decoding some wanted rows."""

    digests: dict[int, str]
    """Digest of the samples of each decoded wanted row."""
    suspect: frozenset[int]
    """Wanted rows that may be damaged."""
    fed: int
    """Packets that the plan feeds."""


def decode_planned(media: Media, wanted: Rows, algorithm: str = "sha1") -> Decode:
    """Decode by the plan, and again from the start after damage."""
    decode, rows = RowDecode(media, wanted, PyavDecoder()), set(wanted.tolist())
    digests: dict[int, str] = {}
    for event in decode.events():
        match event:
            case DecodedFrame(row, frame):
                if row in rows:
                    digests[row] = raw_digest(frame, algorithm)
            case Restarted():
                digests.clear()
    suspect = frozenset(row for row in rows if decode.is_suspect(row))
    return Decode(digests, suspect, decode.report(len(media.index.order)).packets_planned)


def decode_by(media: Media, plan: DecodePlan, wanted: Rows, algorithm: str = "sha1") -> Decode:
    """Decode by one plan."""
    sweep, rows = DecodePass(media, plan), set(wanted.tolist())
    digests = {
        event.row: raw_digest(event.frame, algorithm)
        for event in sweep.frames(PyavDecoder(), Tally())
        if isinstance(event, DecodedFrame) and event.row in rows
    }
    return Decode(digests, frozenset(row for row in rows if sweep.is_suspect(row)), plan.packets)
