"""Contact sheets: thumbnails of frames in one small JPEG.

┌──────────────────────────────────────┐
│ title                           note │
│ ┌──────────┐┌──────────┐┌──────────┐ │
│ │          ││ ┌──────┐ ││          │ │   tiles keep their aspect inside equal cells;
│ │          ││ └──────┘ ││          │ │   a damaged frame has a red border
│ └──────────┘└──────────┘└──────────┘ │
│ 0:00.50     0:01.00     0:01.50      │
│ a.mp4       a.mp4       b.mp4        │
└──────────────────────────────────────┘
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch, as_uint8
from frames_pipeline.pictures.drawing import (
    BACKGROUND,
    BRIGHT,
    CELL,
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
from frames_pipeline.sampling import spread


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One frame on a sheet."""

    frame: NDArray[Any]
    """RGB or gray pixels, uint8 or uint16. Shape (height, width, 3 or 1)."""
    label: str
    """Name below the picture, such as the clip's."""
    time: str = ""
    """Presentation time, as text for people."""
    corrupt: bool = False
    """Whether the frame may be damaged."""

    @classmethod
    def unreadable(cls, label: str) -> Tile:
        """Return an empty tile, marked as damaged, for an unreadable frame."""
        return cls(np.zeros((9, 16, 3), np.uint8), label, time="unreadable", corrupt=True)

    def __post_init__(self) -> None:
        """Check type and shape of the frame."""
        frame = self.frame
        is_picture = frame.ndim == 3 and frame.shape[2] in (1, 3) and frame.size
        if frame.dtype not in (np.uint8, np.uint16) or not is_picture:
            message = "a tile's frame must be uint8 or uint16 (height, width, 3 or 1), not "
            raise ConfigError(f"{message}{frame.dtype} {frame.shape}")

    @property
    def picture(self) -> Image.Image:
        """The frame as a person sees it, in 8 bits. Gray stays gray."""
        shown = as_uint8(self.frame)
        return Image.fromarray(shown if shown.shape[2] == 3 else shown[:, :, 0])


def contact_sheet(
    tiles: Sequence[Tile], *, title: str, width: int = 960, max_bytes: int = 200_000
) -> bytes:
    """Return a JPEG of at most `max_bytes` with labelled tiles in a grid.

    If needed, the quality is lowered first and then the size, with a note at the top right.

    Raises:
        ConfigError: There are too many tiles, or `max_bytes` is too small.
    """
    _check_size(len(tiles), width=width)
    full = _Layout.of(tiles, width)
    pictures = [_fitted(tile.picture, full.cell) for tile in tiles]
    for attempt, (smaller, quality) in enumerate(_attempts(width)):
        note = (
            f"{smaller} px, JPEG quality {quality}, to fit {max_bytes:,} bytes" if attempt else ""
        )
        layout = _Layout.of(tiles, smaller)
        sheet = _drawn(tiles, pictures, layout=layout, title=title, note=note)
        jpeg = _encoded(sheet, quality=quality)
        if len(jpeg) <= max_bytes:
            return jpeg
    message = f"max_bytes={max_bytes} is too small for a sheet of {len(tiles)} tiles; the smallest "
    raise ConfigError(message + f"takes {len(jpeg)}: raise it, or show fewer tiles")


def sheet_of(
    clips: Mapping[str, FrameBatch | None],
    *,
    title: str,
    max_tiles: int = 24,
    width: int = 960,
    max_bytes: int = 200_000,
) -> bytes:
    """Return a contact sheet of clips, with up to `max_tiles` frames spread evenly over them.

    A clip that is `None` gets one tile marked as unreadable.
    """
    if max_tiles < 1:
        message = f"max_tiles={max_tiles} must be 1 or more"
        raise ConfigError(message)
    names = [name for name, clip in clips.items() if clip is None or len(clip)]
    names = [names[index] for index in spread(len(names), min(len(names), max_tiles))]
    tiles = []
    for number, name in enumerate(names):
        share = max_tiles // len(names) + (number < max_tiles % len(names))
        tiles += _tiles(clips[name], name, count=share)
    return contact_sheet(tiles, title=title, width=width, max_bytes=max_bytes)


def as_markdown(picture: bytes, *, kind: str = "jpeg") -> str:
    """Return a Markdown image with embedded bytes, for Dagster metadata.

    >>> as_markdown(b"...")
    '![contact sheet](data:image/jpeg;base64,Li4u)'
    """
    return f"![contact sheet](data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')})"


_MIN_WIDTH: Final = 160
_MAX_WIDTH: Final = 2048
_MAX_TILES: Final = 400
_MAX_COLUMNS: Final = 8
_SHAPE: Final = 0.68
"""Aspect, height to width, that the choice of columns aims at."""

_QUALITIES: Final = (90, 80, 70, 60, 50)
_SHRINK: Final = 0.8

_DESIGN_WIDTH: Final = 960
"""Width at which the lengths below, and those of `drawing`, are in pixels."""
_GAP: Final = 16
_BORDER: Final = 3
_MIN_TEXT_SIZE: Final = 9
_LEADING: Final = 1.4
"""Height of a line to the size of its text."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Positions and sizes on a sheet, in pixels."""

    width: int
    columns: int
    rows: int
    cell: tuple[int, int]
    """Width and height of a tile's picture."""
    lines: int
    """Lines of text below each tile."""

    @classmethod
    def of(cls, tiles: Sequence[Tile], width: int) -> _Layout:
        """Return the best layout of that width."""
        count = max(1, len(tiles))
        lines = any(tile.time or tile.corrupt for tile in tiles) + any(tile.label for tile in tiles)
        aspects = [tile.frame.shape[1] / tile.frame.shape[0] for tile in tiles] or [1.0]
        aspect = float(np.clip(np.median(aspects), 0.5, 2.5))
        choices = []
        for columns in range(1, min(count, _MAX_COLUMNS) + 1):
            free = width - 2 * _scaled(MARGIN, width) - (columns - 1) * _scaled(_GAP, width)
            cell = max(1, free // columns), max(1, round(free / columns / aspect))
            choices.append(cls(width, columns, rows=-(-count // columns), cell=cell, lines=lines))
        return min(choices, key=lambda layout: layout.penalty(count))

    def scaled(self, length: int) -> int:
        """Return a design length in pixels of this sheet."""
        return _scaled(length, self.width)

    @property
    def text(self) -> ImageFont.FreeTypeFont:
        """The font of labels and notes."""
        return font(max(_MIN_TEXT_SIZE, self.scaled(TEXT_SIZE)))

    @property
    def title(self) -> ImageFont.FreeTypeFont:
        """The font of the title."""
        return font(max(_MIN_TEXT_SIZE, self.scaled(TITLE_SIZE)))

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return round(self.text.size * _LEADING)

    @property
    def top(self) -> int:
        """Top of the first row of tiles."""
        return self.scaled(MARGIN) + round(self.title.size * _LEADING) + self.scaled(_GAP)

    @property
    def pitch(self) -> int:
        """Distance between the tops of two rows of tiles."""
        caption = self.lines * self.line + self.scaled(_GAP) // 2
        return self.cell[1] + caption + self.scaled(_GAP)

    def penalty(self, count: int) -> float:
        """Return the distance from an ideal sheet: good shape, no empty cells."""
        empty = 1 - count / (self.columns * self.rows)
        return abs(self.height / self.width - _SHAPE) + empty

    @property
    def height(self) -> int:
        """Height of the sheet."""
        return self.top + self.rows * self.pitch - self.scaled(_GAP) + self.scaled(MARGIN)

    def place(self, index: int) -> tuple[int, int]:
        """Return left and top of a tile's cell."""
        row, column = divmod(index, self.columns)
        margin, gap = self.scaled(MARGIN), self.scaled(_GAP)
        left = margin + round(column * (self.width - 2 * margin + gap) / self.columns)
        return left, self.top + row * self.pitch


def _scaled(length: int, width: int) -> int:
    return max(1, round(length * width / _DESIGN_WIDTH))


def _check_size(count: int, *, width: int) -> None:
    if count > _MAX_TILES:
        message = f"{count} tiles are too many for one contact sheet; give up to {_MAX_TILES}"
        raise ConfigError(message)
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        message = f"width={width} must lie between {_MIN_WIDTH} and {_MAX_WIDTH} pixels"
        raise ConfigError(message)


def _attempts(width: int) -> Iterator[tuple[int, int]]:
    """Yield widths and JPEG qualities to try, best first.

    >>> list(_attempts(200))
    [(200, 90), (200, 80), (200, 70), (200, 60), (200, 50), (160, 50)]
    """
    yield from ((width, quality) for quality in _QUALITIES)
    while (width := round(width * _SHRINK)) >= _MIN_WIDTH:
        yield width, _QUALITIES[-1]


def _drawn(
    tiles: Sequence[Tile],
    pictures: Sequence[Image.Image],
    *,
    layout: _Layout,
    title: str,
    note: str,
) -> Image.Image:
    """Draw the sheet."""
    sheet = Image.new("RGB", (layout.width, layout.height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    draw_header(
        pen,
        title=(title, layout.title),
        note=(note, layout.text),
        width=layout.width,
        margin=layout.scaled(MARGIN),
        gap=layout.scaled(_GAP),
    )
    if not tiles:
        pen.text(layout.place(0), "no frames", fill=DIM, font=layout.text)
    for index, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        left, top = layout.place(index)
        sheet.paste(_letterboxed(picture, layout.cell), (left, top))
        if tile.corrupt:
            _draw_border(pen, layout=layout, left=left, top=top)
        _draw_caption(pen, tile, layout=layout, left=left, top=top)
    return sheet


def _draw_border(pen: ImageDraw.ImageDraw, *, layout: _Layout, left: int, top: int) -> None:
    """Draw a red frame around the cell; it hides no pixel."""
    border = layout.scaled(_BORDER)
    right, bottom = left + layout.cell[0] - 1, top + layout.cell[1] - 1
    box = (left - border, top - border, right + border, bottom + border)
    pen.rectangle(box, outline=DAMAGE, width=border)


def _draw_caption(
    pen: ImageDraw.ImageDraw, tile: Tile, *, layout: _Layout, left: int, top: int
) -> None:
    """Draw the time, then the label, below the cell."""
    lines = [(text, fill) for text, fill in (_time_line(tile, layout), (tile.label, DIM)) if text]
    first = top + layout.cell[1] + layout.scaled(_GAP) // 2
    for number, (text, fill) in enumerate(lines):
        shown = elided(text, layout.text, width=layout.cell[0])
        pen.text((left, first + number * layout.line), shown, fill=fill, font=layout.text)


def _time_line(tile: Tile, layout: _Layout) -> tuple[str, str]:
    """Return a tile's time and its colour, with `damaged` after it if that applies and fits."""
    if not tile.corrupt:
        return tile.time, BRIGHT
    damaged = f"{tile.time} damaged".strip()
    fits = layout.text.getlength(damaged) <= layout.cell[0]
    return damaged if fits else tile.time, DAMAGE


def _fitted(picture: Image.Image, cell: tuple[int, int]) -> Image.Image:
    """Scale the picture to fit the cell, keeping its aspect."""
    scale = min(cell[0] / picture.width, cell[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _letterboxed(picture: Image.Image, cell: tuple[int, int]) -> Image.Image:
    """Centre the picture in a dark cell."""
    box = Image.new("RGB", cell, CELL)
    fitted = _fitted(picture, cell)
    box.paste(fitted, ((cell[0] - fitted.width) // 2, (cell[1] - fitted.height) // 2))
    return box


def _encoded(sheet: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _tiles(clip: FrameBatch | None, name: str, *, count: int) -> list[Tile]:
    """Return tiles of up to `count` frames spread evenly over a clip, with the name of its file."""
    file = name.rpartition("/")[2]
    label = file.rpartition("#")[0] or file
    if clip is None:
        return [Tile.unreadable(label)]
    seconds = clip.pts_seconds
    return [
        Tile(clip.frames[i], label, time=clock(seconds[i]), corrupt=bool(clip.corrupt[i]))
        for i in spread(len(clip), min(len(clip), count))
    ]
