"""Cutting a video into clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_pipeline import ConfigError, TooShortError, probe
from frames_pipeline.clips import Clip, FixedStride, WholeVideo
from frames_pipeline.index import PacketIndex


@pytest.fixture(scope="module")
def index(video_25s: Path) -> PacketIndex:
    return probe(video_25s)


def seconds(clips: tuple[Clip, ...]) -> list[tuple[float, float]]:
    return [(clip.start_seconds, clip.start_seconds + clip.duration_seconds) for clip in clips]


def test_a_whole_video_is_one_clip(index: PacketIndex) -> None:
    (clip,) = WholeVideo().cut(index, "a.mp4")
    assert seconds((clip,)) == [(0.0, 25.0)]
    assert clip.num_frames == index.num_frames == 125
    assert clip.clip_id == f"a.mp4#{clip.start}-{clip.stop}"


def test_the_seeds_defaults(index: PacketIndex) -> None:
    assert seconds(FixedStride().cut(index, "a")) == [(0, 10), (10, 20), (20, 25)]
    assert seconds(FixedStride(limit_clips=2).cut(index, "a")) == [(0, 10), (10, 20)]


def test_a_last_clip_that_is_too_short_is_left_out(index: PacketIndex) -> None:
    assert seconds(FixedStride(min_clip_length_s=6).cut(index, "a")) == [(0, 10), (10, 20)]
    with pytest.raises(TooShortError, match=r"25\.000 s long, and clips have at least 60 s"):
        FixedStride(clip_len_s=60, min_clip_length_s=60).cut(index, "a")


@given(
    length=st.fractions(min_value=Fraction(1, 10), max_value=30),
    stride=st.fractions(min_value=Fraction(1, 10), max_value=30),
)
@settings(max_examples=50, deadline=None)
def test_clips_hold_the_frames_of_their_span(
    index: PacketIndex, length: Fraction, stride: Fraction
) -> None:
    clips = FixedStride(clip_len_s=length, clip_stride_s=stride, min_clip_length_s=0).cut(
        index, "a"
    )
    pts = index.shown_pts
    for number, clip in enumerate(clips):
        inside = (pts * index.time_base >= number * stride) & (
            pts * index.time_base < number * stride + length
        )
        assert clip.num_frames == ((pts >= clip.start) & (pts < clip.stop)).sum()
        if clip.num_frames and len(clips) * stride >= 25:
            assert clip.num_frames == inside.sum() or stride > length
    assert len({clip.clip_id for clip in clips}) == len(clips)
    if stride <= length:
        assert sum(clip.num_frames for clip in clips) >= index.num_frames


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
