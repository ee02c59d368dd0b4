"""Entries of a folder: each file becomes a key, and only regular files are opened."""

from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frames_pipeline import (
    ConfigError,
    FrameExtractionSignature,
    InternalError,
    PyavDecoder,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnreadableError,
    UnsupportedSourceError,
    extract_frames,
    probe,
)
from frames_pipeline.container.media import Media
from frames_pipeline.sources.entries import describe_passed_over
from frames_pipeline.sources.suffixes import SUFFIXES
from frames_pipeline.sources.videos import Listing, Video, VideoSource
from frames_pipeline.text.keys import key_of, name_of
from tests.entries import GOOD, IN_2099, PASSED_OVER, as_nobody, fill, within
from tests.videos import X264, make_video

FIRST = FrameExtractionSignature(policy="first", target_res=(24, 32))


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Path:
    return fill(tmp_path / "videos", video)


PIECES = (b"\\", b"u", b"dc", b"e9", b"u005c", b"\\udce9", b"\\u005c", b"\xe9", b"\xc3\xa9", b"/")


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=2)).map(b"".join))
@example(b"caf\xe9.mp4")
@example(rb"caf\udce9.mp4")
@example(rb"caf\u005cudce9.mp4")
def test_a_name_and_its_key_are_one_and_the_same_thing(raw: bytes) -> None:
    """Each key maps back to its name, so keys are unique; a key is always valid UTF-8."""
    name = os.fsdecode(raw)
    key = key_of(name)
    assert name_of(key) == name
    assert key.encode().decode() == key
    if name.isascii() and "\\" not in name:
        assert key == name


def names_of(found: Listing) -> list[str]:
    return [video.key for video in found.videos]


def test_what_is_no_file_is_passed_over_and_counted(folder: Path) -> None:
    found = within(VideoSource(str(folder)).look)

    assert tuple(names_of(found)) == GOOD
    assert {one.reason: one.count for one in found.passed_over} == {
        reason: len(keys) for reason, keys in PASSED_OVER.items()
    }
    for one in found.passed_over:
        assert set(one.examples) <= set(PASSED_OVER[one.reason])
    assert "6 no regular file (null.mp4, pipe, pipe.mp4, …)" in describe_passed_over(
        found.passed_over
    )


def test_links_that_lead_outside_are_followed_if_asked(folder: Path) -> None:
    """Each folder is listed once, so a link to a parent folder does not loop."""
    found = within(VideoSource(str(folder), follow_links=True).look)
    assert set(names_of(found)) - set(GOOD) == {"outside.mp4", "elsewhere/v.mp4"}
    reasons = {one.reason: one.count for one in found.passed_over}
    assert "link outside" not in reasons
    assert reasons["no regular file"] == 6


def test_suffixes_are_a_choice(folder: Path) -> None:
    found = VideoSource(str(folder), suffixes=[".TXT"]).look()
    assert names_of(found) == ["notes.txt"]
    for wrong in ([], ["mp4"], ["."]):
        with pytest.raises(ConfigError, match=r"must be a list such as .*\.mp4"):
            VideoSource(str(folder), suffixes=wrong)


@pytest.mark.parametrize("key", [k for keys in PASSED_OVER.values() for k in keys])
def test_an_entry_that_is_passed_over_is_not_opened_by_its_name_either(
    folder: Path, key: str
) -> None:
    source = VideoSource(str(folder))
    if key in (".hidden.mp4", "notes.txt"):  # a single video can be requested
        assert source.find(key).size > 0
        return
    with pytest.raises(SourceNotFoundError, match=r"cannot read|is a link that leads out of"):
        within(lambda: source.find(key))
    with pytest.raises(SourceNotFoundError):
        within(lambda: source.fingerprint(Video(key, 5, 0.0)))
    path = folder / key
    if key != "outside.mp4":  # the library follows a path given to it
        for call in (probe, lambda path: extract_frames(path, [FIRST])):
            with pytest.raises(SourceNotFoundError, match="cannot read"):
                within(partial(call, path))


@pytest.mark.parametrize("key", GOOD)
def test_a_good_entry_gives_frames_beside_all_others(folder: Path, key: str) -> None:
    source = VideoSource(str(folder))
    video = source.find(key)
    assert source.fingerprint(video).startswith("sha256:")
    with source.staged(video) as path:
        assert len(extract_frames(path, [FIRST])[FIRST]) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may list; pytest's own folders are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_an_error_of_that_file(open_folder: Path, video: Path) -> None:
    (open_folder / "closed").mkdir()
    for name in ("a.mp4", "b.mp4", "closed/c.mp4"):
        (open_folder / name).write_bytes(video.read_bytes())
    (open_folder / "b.mp4").chmod(0)
    (open_folder / "closed").chmod(0)
    source = VideoSource(str(open_folder))
    try:
        with as_nobody():
            found = source.look()
            assert names_of(found) == ["a.mp4", "b.mp4"]
            assert describe_passed_over(found.passed_over) == "1 unreadable (closed)"
            assert source.fingerprint(found.videos[0])
            with pytest.raises(
                SourceUnreadableError, match=r"b\.mp4: Permission denied; give this"
            ):
                source.fingerprint(found.videos[1])
            with pytest.raises(SourceUnreadableError, match="Permission denied"):
                source.find("closed/c.mp4")
            for path in (open_folder / "b.mp4", open_folder / "closed" / "c.mp4"):
                with pytest.raises(SourceUnreadableError, match="Permission denied"):
                    probe(path)
    finally:
        (open_folder / "closed").chmod(0o755)


def test_a_file_that_is_another_than_was_listed_is_not_taken_for_it(folder: Path) -> None:
    source = VideoSource(str(folder))
    for change in (b"more", None):
        listed = source.find("good.mp4")
        if change is None:
            os.truncate(folder / "good.mp4", listed.size // 2)
        else:
            with (folder / "good.mp4").open("ab") as file:
                file.write(change)
        with pytest.raises(SourceChangedError, match=r"good\.mp4 is being written"):
            source.fingerprint(listed)
    listed = source.find("good.mp4")
    (folder / "good.mp4").unlink()
    with pytest.raises(SourceNotFoundError, match=r"good\.mp4 is gone"):
        source.fingerprint(listed)
    os.mkfifo(folder / "good.mp4")
    with pytest.raises(SourceNotFoundError, match="it is not a regular file"):
        within(lambda: source.fingerprint(listed))


def test_a_file_that_grows_as_fast_as_it_is_read_ends_all_the_same(tmp_path: Path) -> None:
    path, stop = tmp_path / "v.mp4", threading.Event()
    path.write_bytes(bytes(1 << 20))

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set() and file.tell() < 1 << 30:
                file.write(bytes(1 << 20))

    writer = threading.Thread(target=grow)
    source = VideoSource(str(tmp_path))
    listed = source.find("v.mp4")
    writer.start()
    try:
        while source.find("v.mp4").size == listed.size:
            time.sleep(0.001)
        with pytest.raises(SourceChangedError, match="is being written"):
            within(lambda: source.fingerprint(listed))
    finally:
        stop.set()
        writer.join()


@dataclass(frozen=True)
class Meddler(PyavDecoder):
    """Decodes after changing the file."""

    path: str = ""
    deed: str = ""

    def decode(self, media: Media, *more: Any) -> Any:
        path = Path(self.path)
        if self.deed == "truncate":
            os.truncate(path, path.stat().st_size // 2)
        elif self.deed == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif self.deed == "replace":
            path.with_suffix(".new").write_bytes(path.read_bytes())
            path.with_suffix(".new").rename(path)
        elif self.deed == "delete":
            path.unlink()
        elif self.deed == "bug":
            message = "list index out of range"
            raise IndexError(message)
        return super().decode(media, *more)


@pytest.mark.parametrize("deed", ["truncate", "append", "replace"])
def test_frames_of_a_file_that_is_written_meanwhile_are_not_handed_out(
    tmp_path: Path, video: Path, deed: str
) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(video.read_bytes())
    with pytest.raises(SourceChangedError, match=r"v\.mp4 was written while it was read"):
        extract_frames(path, [FIRST], decoder=Meddler(path=str(path), deed=deed))


def test_a_file_that_is_deleted_meanwhile_gave_what_it_had(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(video.read_bytes())
    meddler = Meddler(path=str(path), deed="delete")
    assert len(extract_frames(path, [FIRST], decoder=meddler)[FIRST]) == 1


def test_a_bug_in_the_library_is_a_typed_error_with_its_cause(video: Path) -> None:
    with pytest.raises(InternalError, match="IndexError: list index out of range") as caught:
        extract_frames(video, [FIRST], decoder=Meddler(deed="bug"))
    assert isinstance(caught.value.__cause__, IndexError)


def test_a_time_in_the_future_is_no_reason_to_wait() -> None:
    now, hour = 1_000_000.0, 3600.0
    assert Video("v", 1, now - 5).last_change(now) == now - 5
    assert Video("v", 1, now + 5, changed=now).last_change(now) == now + 5  # clocks differ a little
    assert Video("v", 1, IN_2099, changed=now - 5).last_change(now) == now - 5
    assert Video("v", 1, IN_2099, changed=IN_2099).last_change(now) == 0.0
    assert Video("v", 1, now + 2 * hour).last_change(now) == 0.0


MADE_AS = {
    ".3g2": ".3gp", ".3gpp": ".3gp", ".264": ".h264", ".265": ".hevc", ".divx": ".avi",
    ".f4v": ".mp4", ".h265": ".hevc", ".m2t": ".ts", ".m2ts": ".ts", ".m4s": ".mp4", ".mj2": ".mp4",
    ".mpe": ".mpg", ".mpv": ".m1v", ".mts": ".ts", ".qt": ".mov", ".wmv": ".asf", ".ogm": ".ogv",
}  # fmt: skip
"""Suffixes unknown to FFmpeg's muxers, with a suffix of the same format."""
CODECS = {
    ".apng": ("apng", "rgb24"), ".gif": ("gif", "rgb8"), ".ivf": ("libvpx", "yuv420p"),
    ".m1v": ("mpeg1video", "yuv420p"), ".m2v": ("mpeg2video", "yuv420p"),
    ".vob": ("mpeg2video", "yuv420p"), ".mpg": ("mpeg2video", "yuv420p"),
    ".mpeg": ("mpeg2video", "yuv420p"), ".webm": ("libvpx", "yuv420p"),
    ".ogv": ("libvpx", "yuv420p"), ".hevc": ("libx265", "yuv420p"),
    ".obu": ("libsvtav1", "yuv420p"), ".avi": ("mpeg4", "yuv420p"), ".asf": ("mpeg4", "yuv420p"),
    ".mxf": ("mpeg2video", "yuv420p"), ".flv": ("flv1", "yuv420p"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_of_a_format_that_is_opened(tmp_path: Path, suffix: str) -> None:
    muxer = MADE_AS.get(suffix, suffix)
    codec, pixel_format = CODECS.get(muxer, ("libx264", "yuv420p"))
    path = tmp_path / f"v{muxer}"
    try:
        make_video(
            path, frames=8, codec=codec, pixel_format=pixel_format, size=(64, 64),
            options=X264 if codec == "libx264" else None,
        )  # fmt: skip
    except ValueError as error:  # FFmpeg was built without it
        pytest.skip(f"no encoder for {muxer}: {error}")
    path = path.rename(tmp_path / f"v{suffix}")
    assert [video.key for video in VideoSource(str(tmp_path)).list()] == [path.name]
    assert probe(path).num_frames == 8


def test_an_empty_file_and_a_name_with_a_zero_byte_are_errors_of_the_family(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    with pytest.raises(UnsupportedSourceError, match=r"v\.mp4 is empty"):
        probe(tmp_path / "v.mp4")
    with pytest.raises(SourceNotFoundError, match="null"):
        probe(f"{tmp_path}/a\0b.mp4")
    with pytest.raises(UnsupportedSourceError, match="not a video"):
        probe(io.BytesIO(b"hello"))
