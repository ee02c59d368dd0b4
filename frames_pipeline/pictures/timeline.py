"""Timelines: the times of clips' frames in one small picture.

┌──────────────────────────────────────────────┐
│ title                                  note  │
│ a.mp4    |──'──'──'──'──'──'──'──'──|        │   a line per clip, all to one scale; a tick
│ b.mp4    |─'─''─────'─|            3 missing │   per frame, red where it may be damaged
└──────────────────────────────────────────────┘
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from frames_pipeline.pictures.drawing import (
    BACKGROUND,
    BRIGHT,
    DAMAGE,
    DIM,
    MARGIN,
    TEXT_SIZE,
    TITLE_SIZE,
    clock,
    draw_header,
    elided,
    font,
)

_LANE: Final = 30
_NAME: Final = 0.28
"""Share of the width for names."""
_NOTE: Final = 110
"""Width at the end of a lane for the count of missing frames, in pixels."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The frames of one clip."""

    name: str
    """Name of the clip."""
    start: float
    """Start in seconds, on its video's clock."""
    duration: float
    """Its length in seconds."""
    times: Sequence[float]
    """Presentation times of its frames, in seconds on the same clock."""
    corrupt: Sequence[bool]
    """Whether each frame may be damaged."""
    missing: int = 0
    """Number of selected frames that did not decode."""


def timeline(lanes: Sequence[Lane], *, title: str, note: str = "", width: int = 960) -> bytes:
    """Return a PNG with one line per clip, from its start, and a tick per frame.

    Args:
        lanes: The clips, from top to bottom.
        title: Text at the top left.
        note: Text at the top right.
        width: Width in pixels.
    """
    top = MARGIN + 2 * TITLE_SIZE
    height = top + _LANE * max(1, len(lanes)) + MARGIN
    picture = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    draw_header(
        pen,
        title=(title, font(TITLE_SIZE)),
        note=(note, font(TEXT_SIZE)),
        width=width,
        margin=MARGIN,
        gap=MARGIN,
    )
    longest = max((lane.duration for lane in lanes), default=0.0) or 1.0
    left, right = round(width * _NAME), width - MARGIN - _NOTE
    for number, lane in enumerate(lanes):
        middle = top + _LANE * number + _LANE // 2
        _draw_lane(pen, lane, y=middle, left=left, scale=(right - left) / longest)
        if lane.missing:
            text = f"{lane.missing} missing"
            pen.text((width - MARGIN, middle), text, fill=DAMAGE, font=font(TEXT_SIZE), anchor="rm")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_lane(pen: ImageDraw.ImageDraw, lane: Lane, *, y: int, left: int, scale: float) -> None:
    """Draw the name, the span from the left edge on, and its frames."""
    label = font(TEXT_SIZE)
    name = elided(f"{lane.name} · {clock(lane.start)}", label, width=left - MARGIN - 12)
    pen.text((MARGIN, y), name, fill=DIM, font=label, anchor="lm")
    end = left + round(lane.duration * scale)
    pen.line((left, y, end, y), fill=DIM)
    for edge in (left, end):
        pen.line((edge, y - 9, edge, y + 9), fill=DIM)
    for seconds, damaged in zip(lane.times, lane.corrupt, strict=True):
        x = left + round((seconds - lane.start) * scale)
        pen.line((x, y - 6, x, y + 6), fill=DAMAGE if damaged else BRIGHT)
