"""Clips of a fixed length, a fixed stride apart."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError, TooShortError
from frames_pipeline.clipping import FixedStride
from frames_pipeline.clips import Clip
from frames_pipeline.container.media import Media


def seconds(clips: tuple[Clip, ...]) -> list[tuple[float, float]]:
    return [(clip.start_seconds, clip.start_seconds + clip.duration_seconds) for clip in clips]


def test_defaults_are_ten_seconds(media: Media) -> None:
    assert seconds(FixedStride().cut(media, "a")) == [(0, 10), (10, 20), (20, 25)]
    assert seconds(FixedStride(limit_clips=2).cut(media, "a")) == [(0, 10), (10, 20)]


def test_a_last_clip_that_is_too_short_is_left_out(media: Media) -> None:
    assert seconds(FixedStride(min_clip_length_s=6).cut(media, "a")) == [(0, 10), (10, 20)]
    with pytest.raises(TooShortError, match=r"25\.000 s long, and clips have at least 60 s"):
        FixedStride(clip_len_s=60, min_clip_length_s=60).cut(media, "a")


@given(
    length=st.fractions(min_value=Fraction(1, 10), max_value=30),
    stride=st.fractions(min_value=Fraction(1, 10), max_value=30),
)
def test_clips_hold_the_frames_of_their_span(
    media: Media, length: Fraction, stride: Fraction
) -> None:
    clips = FixedStride(clip_len_s=length, clip_stride_s=stride, min_clip_length_s=0).cut(
        media, "a"
    )
    pts = media.index.shown_pts.tolist()
    for clip in clips:
        assert clip.num_frames == sum(clip.start <= tick < clip.stop for tick in pts)
    assert len({clip.clip_id for clip in clips}) == len(clips)
    for clip in clips:
        start = clip.start * clip.time_base
        assert abs(start - round(start / stride) * stride) <= clip.time_base
    if stride <= length:
        assert sum(clip.num_frames for clip in clips) >= media.index.num_frames


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"clip_len_s": 0}, "clip_len_s=0 must be a number of seconds above zero"),
        ({"clip_stride_s": -1}, "clip_stride_s=-1 must be a number of seconds above zero"),
        ({"min_clip_length_s": "x"}, "min_clip_length_s='x' must be a number of seconds"),
        ({"limit_clips": -1}, "limit_clips=-1 must be 0, for all clips, or above"),
    ],
)
def test_wrong_lengths_are_refused(fields: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        FixedStride(**fields)  # type: ignore[arg-type]
