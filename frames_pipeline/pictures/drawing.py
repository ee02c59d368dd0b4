"""Font, colours, sizes, headers and clock times of pictures."""

from __future__ import annotations

import bisect
import unicodedata
from functools import cache
from typing import Final, cast

from PIL import ImageDraw, ImageFont

BACKGROUND: Final = "#16181d"
CELL: Final = "#0b0c0f"
BRIGHT: Final = "#f2f4f7"
DIM: Final = "#98a0ac"
DAMAGE: Final = "#ff4d4f"

MARGIN: Final = 24
TITLE_SIZE: Final = 20
TEXT_SIZE: Final = 13
"""Lengths in pixels of a picture 960 pixels wide."""

_GLYPHS: Final = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("·…")
"""Characters of Pillow's built-in font."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in font."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


def elided(text: str, font: ImageFont.FreeTypeFont, *, width: float) -> str:
    """Return the text, with an ellipsis in its middle if it is too long."""
    text = _drawable(text)
    if font.getlength(text) <= width:
        return text

    def cut(kept: int) -> str:
        return text[: kept // 2] + "…" + text[len(text) - (kept - kept // 2) :]

    fitting = bisect.bisect_right(range(len(text)), width, key=lambda k: font.getlength(cut(k)))
    return cut(max(0, fitting - 1))


def draw_header(
    pen: ImageDraw.ImageDraw,
    *,
    title: tuple[str, ImageFont.FreeTypeFont],
    note: tuple[str, ImageFont.FreeTypeFont],
    width: int,
    margin: int,
    gap: int,
) -> None:
    """Draw a title at the top left and a note at the top right, each shortened to fit.

    Args:
        pen: The pen of the picture.
        title: Text and font of the title.
        note: Text and font of the note, which takes at most half of the line.
        width: Width of the picture in pixels.
        margin: Empty pixels around the header.
        gap: Least pixels between title and note.
    """
    (text, big), (aside, small) = title, note
    left, right, baseline = margin, width - margin, margin + round(big.size)
    aside = elided(aside, small, width=(right - left) / 2)
    text = elided(text, big, width=right - left - small.getlength(aside) - gap)
    pen.text((left, baseline), text, fill=BRIGHT, font=big, anchor="ls")
    pen.text((right, baseline), aside, fill=DIM, font=small, anchor="rs")


def _drawable(text: str) -> str:
    """Return the text in the font's characters: accents dropped, `?` for others.

    >>> _drawable("Café · 日本.mp4")
    'Cafe · ??.mp4'
    """
    bare = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return "".join(c if c in _GLYPHS else "?" for c in bare)


def clock(seconds: float) -> str:
    """Return a time as text for people.

    >>> clock(83.456), clock(3600.004), clock(-0.5)
    ('1:23.46', '1:00:00.00', '-0:00.50')
    """
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{'-' if seconds < 0 else ''}{clock}:{rest // 100:02}.{rest % 100:02}"
