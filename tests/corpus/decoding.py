"""The product's own plan, decoder and sweep, without the conversion to RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import PyavDecoder, Tally
from frames_pipeline.decoding.decode_pass import DecodedFrame, DecodePass, PlanFailedError
from frames_pipeline.decoding.plan import DecodePlan, plan_decode, plan_linear
from tests.oracle import raw_digest

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Decode:
    """What came of some wanted rows."""

    digests: dict[int, str]
    """Digest of the samples of each wanted row that came."""
    suspect: frozenset[int]
    """Wanted rows that damage may have touched."""
    fed: int
    """Packets that the plan feeds."""


def decode_planned(media: Media, wanted: Rows, algorithm: str = "sha1") -> Decode:
    """By the plan, and from the start where damage is met on the way."""
    try:
        plan = plan_decode(media.index, wanted, media.packets.references)
        return decode_by(media, plan, wanted, algorithm)
    except PlanFailedError:
        plan = plan_linear(media.index, wanted, reason="damage was met")
        return decode_by(media, plan, wanted, algorithm)


def decode_by(media: Media, plan: DecodePlan, wanted: Rows, algorithm: str = "sha1") -> Decode:
    """By one plan."""
    sweep, rows = DecodePass(media, plan), set(wanted.tolist())
    digests = {
        event.row: raw_digest(event.frame, algorithm)
        for event in sweep.frames(PyavDecoder(), Tally())
        if isinstance(event, DecodedFrame) and event.row in rows
    }
    return Decode(digests, frozenset(row for row in rows if sweep.is_suspect(row)), plan.packets)
