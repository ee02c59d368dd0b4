"""Clipping a video into clips."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_pipeline import ConfigError, SingleShotError, TooShortError
from frames_pipeline.clipping import FixedStride, Shots, WholeVideo
from frames_pipeline.clipping.detectors import PySceneDetect, TransNetV2
from frames_pipeline.clipping.shot_rules import ShotRules
from frames_pipeline.clips import Clip
from frames_pipeline.container.media import Media, open_media
from tests.libraries import need
from tests.videos import X264, make_video, scenes


@pytest.fixture(scope="module")
def media(video_25s: Path) -> Iterator[Media]:
    with open_media(video_25s) as opened:
        yield opened


def seconds(clips: tuple[Clip, ...]) -> list[tuple[float, float]]:
    return [(clip.start_seconds, clip.start_seconds + clip.duration_seconds) for clip in clips]


def test_a_whole_video_is_one_clip(media: Media) -> None:
    (clip,) = WholeVideo().cut(media, "a.mp4")
    assert seconds((clip,)) == [(0.0, 25.0)]
    assert clip.num_frames == media.index.num_frames == 125
    assert clip.clip_id == f"a.mp4#{clip.start}-{clip.stop}"


def test_the_seeds_defaults(media: Media) -> None:
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
@settings(max_examples=50, deadline=None)
def test_clips_hold_the_frames_of_their_span(
    media: Media, length: Fraction, stride: Fraction
) -> None:
    clips = FixedStride(clip_len_s=length, clip_stride_s=stride, min_clip_length_s=0).cut(
        media, "a"
    )
    index = media.index
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


ALL_OF_IT = ShotRules(min_length_s=0, max_length_s=0, crop_s=0)


def cut(path: Path, clipping: Shots) -> tuple[Clip, ...]:
    need("scenedetect")
    with open_media(path) as media:
        return clipping.cut(media, "a.mp4")


def test_shots_are_cut_by_time_where_the_rate_varies(tmp_path: Path) -> None:
    """Frames 20 and 41 start a shot. Times are those of the frames, whatever the rate."""
    times = [7 * number * number + 100 for number in range(60)]
    path = make_video(
        tmp_path / "vfr.mp4", frames=60, pts=times, time_base=Fraction(1, 1000), options=X264,
        draw=scenes([20, 21, 19]),
    )  # fmt: skip
    clips = cut(path, Shots(PySceneDetect(), ALL_OF_IT))
    assert [clip.num_frames for clip in clips] == [20, 21, 19]
    starts = [clip.start * clip.time_base for clip in clips]
    assert starts == [Fraction(times[first], 1000) for first in (0, 20, 41)]
    assert [clip.stop for clip in clips[:-1]] == [clip.start for clip in clips[1:]]

    rules = ShotRules(min_length_s=3, max_length_s=6, crop_s="0.25")
    for clip in cut(path, Shots(PySceneDetect(), rules)):
        assert clip.num_frames == sum(
            clip.start <= Fraction(time, 1000) / clip.time_base < clip.stop for time in times
        )
        assert 3 <= (clip.stop - clip.start) * clip.time_base <= Fraction(11, 2) + clip.time_base


def test_a_video_without_a_cut_is_one_shot_or_none(tmp_path: Path) -> None:
    path = make_video(tmp_path / "one.mp4", frames=50, options=X264, draw=scenes([50]))
    (clip,) = cut(path, Shots(PySceneDetect(), ALL_OF_IT))
    assert clip.num_frames == 50
    with pytest.raises(SingleShotError, match="no transition was found"):
        cut(path, Shots(PySceneDetect(), ALL_OF_IT, entire_scene_as_clip=False))
    with pytest.raises(TooShortError, match=r"none of 1 shots gives a clip of 2 s, after 0\.5 s"):
        cut(path, Shots(PySceneDetect()))


def test_what_decides_the_clips_identifies_the_cutting() -> None:
    ways = [
        Shots(), Shots(PySceneDetect()), Shots(PySceneDetect(4.0)), Shots(rules=ALL_OF_IT),
        Shots(entire_scene_as_clip=False), Shots(limit_clips=1), Shots(TransNetV2(refine=False)),
    ]  # fmt: skip
    assert len({repr(way) for way in ways}) == len(ways)
    assert "a313d0b3bebf" in repr(Shots())
    with pytest.raises(ConfigError, match="limit_clips=-1 must be 0, for all clips, or above"):
        Shots(limit_clips=-1)
