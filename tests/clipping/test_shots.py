"""Clips of shots: detectors find them, and rules trim, split and drop them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from frames_pipeline import ConfigError, SingleShotError, TooShortError
from frames_pipeline.clipping import Shots
from frames_pipeline.clipping.detectors import PySceneDetect, TransNetV2
from frames_pipeline.clipping.shot_rules import ShotRules
from frames_pipeline.clips import Clip
from frames_pipeline.container.media import open_media
from tests.libraries import need
from tests.videos import X264, make_video, scenes

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


def test_parameters_that_change_clips_identify_the_clipping() -> None:
    ways = [
        Shots(), Shots(PySceneDetect()), Shots(PySceneDetect(4.0)), Shots(rules=ALL_OF_IT),
        Shots(entire_scene_as_clip=False), Shots(limit_clips=1), Shots(TransNetV2(refine=False)),
    ]  # fmt: skip
    assert len({repr(way) for way in ways}) == len(ways)
    assert "a313d0b3bebf" in repr(Shots())
    with pytest.raises(ConfigError, match="limit_clips=-1 must be 0, for all clips, or above"):
        Shots(limit_clips=-1)
