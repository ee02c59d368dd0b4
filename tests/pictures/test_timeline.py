"""Timelines: a tick where a frame is, red where it may be damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from frames_pipeline.pictures.timeline import Lane, timeline


def pixels(*lanes: Lane, width: int = 960) -> np.ndarray:
    with Image.open(io.BytesIO(timeline(lanes, title="title", width=width))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def columns(picture: np.ndarray, lane: int, *, red: bool) -> list[int]:
    """Left edges of the ticks of a lane, off its middle line."""
    row = picture[24 + 40 + 30 * lane + 15 - 5, 960 * 28 // 100 + 1 : 960 - 24 - 110]
    found = (row[:, 0] > 200) & ((row[:, 1] < 120) if red else (row[:, 1] > 200))
    return np.flatnonzero(found).tolist()


def test_ticks_are_where_the_frames_are() -> None:
    times = [10.0 + step for step in (1.0, 4.0, 9.0)]
    picture = pixels(Lane("a.mp4", 10.0, 10.0, times, [False] * 3))
    ticks = columns(picture, 0, red=False)
    assert len(ticks) == 3
    assert (ticks[1] - ticks[0]) / (ticks[2] - ticks[1]) == pytest.approx(3 / 5, abs=0.02)


def test_damage_is_red_and_lanes_share_a_scale() -> None:
    long = Lane("long", 0.0, 20.0, [5.0], [True])
    short = Lane("short", 0.0, 10.0, [5.0], [False], missing=3)
    picture = pixels(long, short)
    assert columns(picture, 0, red=True) == columns(picture, 1, red=False)
    assert columns(picture, 0, red=False) == []


def test_no_clips_and_clips_without_length() -> None:
    assert pixels().shape[1] == 960
    assert columns(pixels(Lane("a" * 500, 0.0, 0.0, [], [])), 0, red=True) == []
