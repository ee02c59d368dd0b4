"""Contact sheets: what a person sees, and how many bytes it takes."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError
from frames_pipeline.pictures.contact_sheet import Tile, as_markdown, contact_sheet, sheet_of
from tests.models.frame_batches import flat_frames, frame_batch, scene

GREEN, BLUE = (30, 200, 30), (30, 30, 220)
RED_BORDER = (255, 77, 79)


def opened(jpeg: bytes) -> NDArray[np.int16]:
    """Pixels of a sheet. Shape (height, width, 3)."""
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image).astype(np.int16)


def near(sheet: NDArray[np.int16], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where the sheet has about that colour. Shape (height, width)."""
    alike: NDArray[np.bool_] = np.abs(sheet - colour).max(axis=2) < 30
    return alike


def box(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Height and width of the smallest box around what is set."""
    rows, columns = np.nonzero(mask)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def tile(colour: tuple[int, int, int], *, size: tuple[int, int] = (90, 160)) -> Tile:
    return Tile(flat_frames(colour, size=size)[0], "clip.mp4", time="0:01.00")


def test_sheet_shows_every_tile() -> None:
    """Each tile's picture is on the sheet, at the width that was asked for."""
    sheet = opened(contact_sheet([tile(GREEN), tile(BLUE)], title="two"))
    assert sheet.shape[1] == 960
    for colour in (GREEN, BLUE):
        height, width = box(near(sheet, colour))
        assert width / height == pytest.approx(16 / 9, rel=0.02)
        assert width > 300


@pytest.mark.parametrize("size", [(160, 90), (100, 400), (64, 64)])
def test_tiles_keep_their_aspect(size: tuple[int, int]) -> None:
    """A tile that has not the shape of most is fitted into its cell, not stretched."""
    tiles = [tile(BLUE) for _ in range(5)] + [tile(GREEN, size=size)]
    height, width = box(near(opened(contact_sheet(tiles, title="mixed")), GREEN))
    assert width / height == pytest.approx(size[1] / size[0], rel=0.05)


def test_damaged_tile_has_a_red_border() -> None:
    """The border is around the damaged tile, and there is none without damage."""
    damaged = Tile(flat_frames(GREEN, size=(90, 160))[0], "clip.mp4", corrupt=True)
    sheet = opened(contact_sheet([tile(BLUE), damaged, tile(BLUE)], title="one is damaged"))
    red = near(sheet, RED_BORDER)
    picture = near(sheet, GREEN)
    assert all(outer > inner for outer, inner in zip(box(red), box(picture), strict=True))
    assert red[:, picture.any(axis=0)].any(axis=0).all()
    assert not near(opened(contact_sheet([tile(GREEN)], title="sound")), RED_BORDER).any()


def text_pixels(sheet: NDArray[np.int16]) -> int:
    """Pixels that are as bright as text."""
    return int(np.sum(sheet.min(axis=2) > 180))


def test_labels_and_title_are_written() -> None:
    """Title, time and label each add text to the sheet."""
    frame = flat_frames((0, 0, 0), size=(90, 160))[0]
    plain = contact_sheet([Tile(frame, "")], title="")
    titled = contact_sheet([Tile(frame, "")], title="batch-000001")
    timed = contact_sheet([Tile(frame, "", time="0:01.00")], title="batch-000001")
    counts = [text_pixels(opened(jpeg)) for jpeg in (plain, titled, timed)]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    labelled = contact_sheet([Tile(frame, "clip.mp4", time="0:01.00")], title="batch-000001")
    assert labelled != timed


@pytest.mark.parametrize("text", ["x" * 5000, "日本語 Füße\n\t\udce9", "…·"])
def test_any_text_can_be_written(text: str) -> None:
    """Long texts are cut, and characters that the font lacks do not stop the sheet."""
    frame = flat_frames(GREEN)[0]
    sheet = opened(contact_sheet([Tile(frame, text, time=text)], title=text))
    assert near(sheet, GREEN).any()


def test_no_tiles() -> None:
    """A batch without frames has a sheet that says so."""
    empty = opened(contact_sheet([], title="nothing"))
    assert text_pixels(empty) > 0
    assert opened(sheet_of({}, title="nothing")).shape == empty.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_odd_frames(size: tuple[int, int]) -> None:
    """A frame of one pixel, row or column is shown, however thin."""
    green, black = (contact_sheet([tile(c, size=size)], title="") for c in (GREEN, (0, 0, 0)))
    assert np.any(opened(green) - opened(black) > 60)


def test_sixteen_bits_are_shown_by_their_high_byte() -> None:
    """Rounded: the sheet is that of the nearest levels of 255."""
    rgb = np.random.default_rng(0).integers(0, 65536, (90, 160, 3), np.uint16)
    eight = np.round(rgb * (255 / 65535)).astype(np.uint8)
    assert contact_sheet([Tile(rgb, "a")], title="") == contact_sheet([Tile(eight, "a")], title="")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_is_shown_as_gray(dtype: type[np.unsignedinteger[Any]]) -> None:
    """The sheet is that of equal red, green and blue, beside tiles of colour, too."""
    top = np.iinfo(dtype).max
    gray = np.random.default_rng(0).integers(0, top, (90, 160, 1), dtype, endpoint=True)
    one, three = Tile(gray, "a"), Tile(gray.repeat(3, axis=2), "a")
    for others in ([], [tile(GREEN)]):
        assert contact_sheet([one, *others], title="") == contact_sheet([three, *others], title="")


def noise(n: int) -> list[Tile]:
    """Tiles that compress as badly as can be."""
    frames = np.random.default_rng(0).integers(0, 256, (n, 90, 160, 3), np.uint8)
    return [Tile(frame, "clip.mp4", time="0:01.00") for frame in frames]


@settings(max_examples=15)
@given(st.integers(1, 30), st.integers(20_000, 300_000))
def test_sheet_never_exceeds_its_bytes(count: int, max_bytes: int) -> None:
    """However badly the frames compress, the sheet has at most the bytes it may have."""
    assert len(contact_sheet(noise(count), title="noise", max_bytes=max_bytes)) <= max_bytes


def test_lower_quality_comes_before_fewer_pixels() -> None:
    """A sheet a little too large keeps its size; one far too large gives it up, and both say so."""
    tiles = noise(12)
    full = contact_sheet(tiles, title="", max_bytes=10_000_000)
    coarser = contact_sheet(tiles, title="", max_bytes=len(full) // 2)
    smaller = contact_sheet(tiles, title="", max_bytes=len(full) // 12)
    assert opened(coarser).shape == opened(full).shape
    assert opened(smaller).shape[1] < 960
    header = slice(0, 40)
    notes = [
        int(np.sum(opened(jpeg)[header].min(axis=2) > 100)) for jpeg in (full, coarser, smaller)
    ]
    assert notes[0] == 0
    assert min(notes[1:]) > 0


def test_bytes_that_no_sheet_fits() -> None:
    """What cannot be made small enough is refused with what it takes at least."""
    with pytest.raises(ConfigError, match="max_bytes=100 is too small for a sheet of 3 tiles; the"):
        contact_sheet(noise(3), title="noise", max_bytes=100)


@pytest.mark.parametrize("width", [159, 2049])
def test_width_that_cannot_be(width: int) -> None:
    """A sheet has a width that can be read and held."""
    with pytest.raises(ConfigError, match=f"width={width} must lie between 160 and 2048 pixels"):
        contact_sheet([tile(GREEN)], title="odd", width=width)


def test_too_many_tiles() -> None:
    """More tiles than anybody can look at are refused."""
    with pytest.raises(ConfigError, match=r"401 tiles are too many .* up to 400"):
        contact_sheet([tile(GREEN, size=(1, 1))] * 401, title="many")


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_tile_that_is_no_picture(frame: NDArray[np.uint8]) -> None:
    """A tile is RGB or gray pixels, at least one."""
    with pytest.raises(
        ConfigError, match=r"must be uint8 or uint16 \(height, width, 3 or 1\), not"
    ):
        Tile(frame, "clip.mp4")


def test_sheet_of_clips() -> None:
    """Every clip is shown, frames spread over it, and damaged ones are marked."""
    clips = {
        "trips/a.mp4#0-96000": frame_batch(flat_frames(*[GREEN] * 40)),
        "trips/b.mp4#0-96000": frame_batch(flat_frames(*[BLUE] * 3), corrupt=[1]),
        "trips/empty.mp4#0-1": frame_batch(flat_frames()),
    }
    sheet = opened(sheet_of(clips, title="batch-000001", max_tiles=6))
    for colour in (GREEN, BLUE, RED_BORDER):
        assert near(sheet, colour).any()


def test_a_clip_that_cannot_be_read_is_an_empty_marked_tile() -> None:
    """The other clips are shown as usual."""
    clips = {"a.mp4#0-1": frame_batch(flat_frames(GREEN)), "b.mp4#0-1": None}
    sheet = opened(sheet_of(clips, title="batch-000001"))
    for colour in (GREEN, RED_BORDER):
        assert near(sheet, colour).any()
    with_it = sheet_of({"b.mp4#0-1": None}, title="all damaged")
    assert near(opened(with_it), RED_BORDER).any()


def tiles_shown(clips: int, *, frames: int, max_tiles: int) -> int:
    """How many tiles a sheet of equal clips has, by the upper left corners of their pictures."""
    white = flat_frames(*[(255, 255, 255)] * frames, size=(90, 160))
    batches = {str(number): frame_batch(white) for number in range(clips)}
    white_pixels = near(opened(sheet_of(batches, title="", max_tiles=max_tiles)), (255, 255, 255))
    shifts = [(down, right) for down in range(12) for right in range(12)]
    solid = np.all([np.roll(white_pixels, shift, axis=(0, 1)) for shift in shifts], axis=0)
    return int(np.sum(solid & ~np.roll(solid, 1, axis=0) & ~np.roll(solid, 1, axis=1)))


@pytest.mark.parametrize(
    ("clips", "frames", "max_tiles", "shown"),
    [(1, 10, 4, 4), (1, 2, 4, 2), (3, 10, 7, 7), (9, 10, 4, 4)],
)
def test_number_of_tiles(clips: int, frames: int, max_tiles: int, shown: int) -> None:
    """As many tiles as may be, shared out over the clips, or over some of too many clips."""
    assert tiles_shown(clips, frames=frames, max_tiles=max_tiles) == shown


def test_max_tiles_that_cannot_be() -> None:
    """A sheet of clips shows at least one frame."""
    with pytest.raises(ConfigError, match="max_tiles=0 must be 1 or more"):
        sheet_of({"a": frame_batch(flat_frames(GREEN))}, title="none", max_tiles=0)


def test_real_pictures_fit_easily() -> None:
    """A full sheet of natural pictures needs no lower quality."""
    clips = {f"{seed}.mp4": frame_batch(np.stack([scene(seed)] * 3)) for seed in range(8)}
    sheet = sheet_of(clips, title="natural")
    assert opened(sheet).shape[1] == 960
    assert len(sheet) < 200_000


def test_markdown_carries_the_picture() -> None:
    """The data URI decodes to the very bytes."""
    jpeg = contact_sheet([tile(GREEN)], title="one")
    markdown = as_markdown(jpeg)
    prefix, suffix = "![contact sheet](data:image/jpeg;base64,", ")"
    assert markdown.startswith(prefix)
    assert base64.b64decode(markdown.removeprefix(prefix).removesuffix(suffix)) == jpeg
