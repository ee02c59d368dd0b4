"""What lies under a source, and what its bytes are."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from frames_pipeline import ConfigError, LimitExceededError, SourceNotFoundError
from frames_pipeline.sources.videos import Video, VideoSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.MP4", "a.mp4", "deep/c.webm", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_videos_are_listed_by_key(folder: Path) -> None:
    videos = VideoSource(str(folder)).list()
    assert [video.key for video in videos] == ["a.mp4", "b.MP4", "deep/c.webm"]
    assert [video.size for video in videos] == [5, 5, 11]


def test_a_fingerprint_is_of_the_bytes_alone(folder: Path) -> None:
    source = VideoSource(str(folder))
    before = source.find("a.mp4")
    fingerprint = source.fingerprint(before)
    os.utime(folder / "a.mp4", (1, 1))
    touched = source.find("a.mp4")

    assert not touched.is_same_file(before)
    assert source.fingerprint(touched) == fingerprint
    assert fingerprint.startswith("sha256:")
    (folder / "a.mp4").write_bytes(b"other")
    assert source.fingerprint(source.find("a.mp4")) != fingerprint


def test_an_object_stores_etag_is_the_fingerprint(folder: Path) -> None:
    assert VideoSource(str(folder)).fingerprint(Video("x", 7, 0.0, "abc")) == "etag:abc-7"


def test_a_remote_video_is_staged_into_a_folder_of_its_own() -> None:
    with fsspec.open("memory://bucket/staging/v.mp4", "wb") as file:
        file.write(b"video")
    source = VideoSource("memory://bucket/staging")
    (video,) = source.list()
    with source.staged(video) as path:
        assert path.read_bytes() == b"video"
        assert [other.name for other in path.parent.iterdir()] == [path.name]
    with source.staged(video, fresh=True) as another:
        assert another.read_bytes() == b"video"
        assert another.parent != path.parent
    assert not another.exists()
    with (
        pytest.raises(LimitExceededError, match=r"v\.mp4 has 5 bytes, and the limit is 4"),
        source.staged(video, max_bytes=4),
    ):
        pass


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"z\.mp4 is gone from"):
        VideoSource(str(folder)).find("z.mp4")
    with pytest.raises(SourceNotFoundError, match=r"cannot list videos: .*nowhere is not a folder"):
        VideoSource(str(folder / "nowhere")).list()
    with pytest.raises(ConfigError, match="credentials"):
        VideoSource("s3://key:secret@bucket/videos")
