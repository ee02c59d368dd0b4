"""What an extraction is said to come to, and what it comes to."""

from __future__ import annotations

import shutil

import pytest

from frames_pipeline import ConfigError, FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.pipeline import estimate_extraction
from frames_pipeline.sources.videos import VideoSource
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
SECONDS = FixedStride(1, 1, 0)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> VideoSource:
    """20 videos of a second, and one of 30: 50 clips, most of them in one video."""
    folder = tmp_path_factory.mktemp("uneven")
    short = make_video(folder / "00.mp4", frames=25, options=X264)
    for number in range(1, 20):
        shutil.copy(short, folder / f"{number:02d}.mp4")
    make_video(folder / "long.mp4", frames=750, options=X264)
    return VideoSource(str(folder))


def test_of_all_videos_it_is_exact(uneven: VideoSource) -> None:
    found = estimate_extraction(uneven, [TWO], clipping=SECONDS, sample=1000, workers=ONE)
    assert (found.videos, found.sampled, found.failed) == (21, 21, ())
    assert (found.clips.total, found.clips.error) == (50, 0)
    assert found.video_seconds.total == pytest.approx(50)


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_does_not_miss_the_one_that_has_most(uneven: VideoSource, seed: int) -> None:
    found = estimate_extraction(uneven, [TWO], clipping=SECONDS, sample=4, seed=seed, workers=ONE)
    assert found.sampled == 4
    assert found.clips.total == pytest.approx(50)
    assert found.video_seconds.total == pytest.approx(50)


def test_of_one_video_nothing_is_known_of_the_error(uneven: VideoSource) -> None:
    found = estimate_extraction(uneven, [TWO], clipping=SECONDS, sample=1, workers=ONE)
    assert found.sampled == 1
    assert found.clips.error == float("inf")


def test_none_is_no_sample(uneven: VideoSource) -> None:
    with pytest.raises(ConfigError, match="a sample of 0: nothing to estimate from"):
        estimate_extraction(uneven, [TWO], sample=0)
