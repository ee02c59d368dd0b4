"""A readable file object gives the file's frames; any other raises a typed error."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frames_pipeline import (
    ConfigError,
    FrameExtractionSignature,
    FramesPipelineError,
    SourceError,
    extract_frames,
    probe,
)
from tests.videos import X264, make_video

EVERY = FrameExtractionSignature(target_fps=25)
SUFFIXES = ("mp4", "mkv", "ts", "avi")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {
        suffix: make_video(folder / f"v.{suffix}", frames=30, options=X264) for suffix in SUFFIXES
    }


class Given(io.BytesIO):
    """A file with `read` and `seek` replaced by a test."""

    def __init__(
        self, data: bytes, *, read: Callable[[bytes], Any] = bytes, after: int = 0
    ) -> None:
        super().__init__(data)
        self.reads = 0
        self._given, self._after = read, after

    def read(self, size: int | None = -1, /) -> Any:
        self.reads += 1
        data = super().read(size)
        return data if self.reads <= self._after else self._given(data)


class Short(io.BytesIO):
    """A file that returns fewer bytes than requested, as sockets and archive members do."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = random.Random(self.tell()).choice([1, 7, 100, 4096])
        return super().read(most if size is None or size < 0 else min(size, most))


class Plain:
    """The minimal interface: no `seekable`, `readable` or `close`; `seek` returns `None`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.read, self.tell = self._file.read, self._file.tell

    def seek(self, offset: int, whence: int = 0) -> None:
        self._file.seek(offset, whence)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [Short, Plain, lambda data: Given(data, read=memoryview)])
def test_files_that_can_be_read_give_what_the_path_gives(
    files: dict[str, Path], suffix: str, kind: Callable[[bytes], Any]
) -> None:
    path = files[suffix]
    expected = extract_frames(path, [EVERY])[EVERY]
    found = extract_frames(kind(path.read_bytes()), [EVERY])[EVERY]
    assert found.digest() == expected.digest()
    assert found.outcome.status == "ok"


def closed(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.close()
    return file


class Unseekable(io.RawIOBase):
    """A pipe as a Python file object."""

    def readable(self) -> bool:
        return True


class Headless:
    """A file object with only `read`."""

    def read(self, size: int) -> bytes:
        return bytes(size)


def give_none(_: bytes) -> None:
    return None


def give_text(data: bytes) -> str:
    return data.decode("latin-1")


def give_more(data: bytes) -> bytes:
    return data + bytes(70_000)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (closed, "seeking failed: ValueError: I/O operation on closed file"),
        (
            lambda data: io.StringIO(data.decode("latin-1")),
            "opened as text; open it with mode 'rb'",
        ),
        (lambda _: Unseekable(), "seeking failed: UnsupportedOperation"),
        (lambda _: Headless(), "seeking failed: AttributeError"),
        (lambda data: Given(data, read=give_none), "gave NoneType, not bytes"),
        (lambda data: Given(data, read=give_text), "gave str, not bytes; open it with mode 'rb'"),
        (lambda data: Given(data, read=give_more), "bytes for a request of 1"),
        (lambda _: object(), "give a path, a URL, bytes or a binary file"),
    ],
)
def test_files_that_cannot_be_read_are_the_callers_fault(
    files: dict[str, Path], make: Callable[[bytes], Any], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        extract_frames(make(files["mp4"].read_bytes()), [EVERY])


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("no video")
    with (tmp_path / "v.txt").open() as file, pytest.raises(ConfigError, match="opened as text"):
        probe(file)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (OSError(5, "Input/output error"), "reading it failed: OSError: .*Input/output error"),
        (ConnectionResetError("reset"), "reading it failed: ConnectionResetError: reset"),
        (ValueError("I/O operation on closed file."), "reading it failed: ValueError"),
        (ZeroDivisionError("odd"), "reading it failed: ZeroDivisionError: odd"),
        (None, "gave NoneType, not bytes"),
    ],
)
def test_a_read_that_fails_midway_is_the_sources_fault_wherever_it_happens(
    files: dict[str, Path], suffix: str, fault: Exception | None, match: str
) -> None:
    """Partial frames never pass as complete: libavformat treats a failed read as the end."""
    data = files[suffix].read_bytes()

    def fail(_: bytes) -> None:
        if fault is not None:
            raise fault

    counting = Given(data)
    extract_frames(counting, [EVERY])
    for after in range(1, counting.reads):
        with pytest.raises(SourceError, match=match) as caught:
            extract_frames(Given(data, read=fail, after=after), [EVERY])
        assert caught.value.__cause__ is fault


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_file_object_gives_the_frames_or_a_typed_error(
    files: dict[str, Path], suffix: str
) -> None:
    """Reads are short, empty, too long, of another type or raise, in any order."""
    data = files[suffix].read_bytes()
    expected = extract_frames(data, [EVERY])[EVERY]

    def odd(rng: random.Random) -> Callable[[bytes], Any]:
        def read(given: bytes) -> Any:
            match rng.randrange(12):
                case 0:
                    return None
                case 1:
                    return given + b"x"
                case 2:
                    return given.decode("latin-1")
                case 3:
                    raise rng.choice([OSError, RuntimeError, EOFError])
                case _:
                    return given[: max(1, rng.randrange(len(given) + 1))]

        return read

    for seed in range(60):
        rng = random.Random(seed)
        file = Given(data, read=odd(rng), after=rng.randrange(12))
        try:
            found = extract_frames(file, [EVERY])[EVERY]
        except FramesPipelineError:
            continue
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.digest() == expected.digest()
