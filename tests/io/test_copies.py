"""Remote videos are fetched once per machine, kept within bounds, and left behind by nobody."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import fsspec
import pytest

from frames_pipeline import ConfigError, SourceChangedError, WorkerTimeoutError
from frames_pipeline.io.copies import Copies
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.workers.local import Workers
from tests.s3 import S3
from tests.waiting import processor_seconds, wait_for


def filled(count: int, *, keep: bool = True) -> Callable[[Path], bool]:
    def fetch(path: Path) -> bool:
        path.write_bytes(bytes(count))
        return keep

    return fetch


def never(path: Path) -> bool:
    raise AssertionError(path)


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("video*"))


def test_a_copy_is_made_once(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    with copies.held("a", ".mp4", 5, filled(5)) as first:
        assert first.name == "video.mp4"
        with copies.held("a", ".mp4", 5, never) as again:
            assert again == first
        with copies.held("b", ".mp4", 6, filled(6)) as other:
            assert other.stat().st_size == 6
    with copies.held("a", ".mp4", 5, never) as again:
        assert again == first


def test_what_may_not_be_kept_is_not(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    with copies.held("a", "", 5, filled(5, keep=False)) as path:
        assert path.stat().st_size == 5
    assert not path.exists()
    with pytest.raises(AssertionError), copies.held("a", "", 5, never):
        pass
    with copies.held("a", "", 5, filled(5)) as path:
        assert path.exists()


@pytest.mark.parametrize(
    ("most", "left"), [(0, "d"), (9, "d"), (10, "cd"), (15, "bcd"), (24, "bcd"), (25, "abcd")]
)
def test_those_used_longest_ago_go_first(tmp_path: Path, most: int, left: str) -> None:
    copies = Copies(tmp_path, most)
    names = {}
    with copies.held("d", "", 5, filled(5)) as names["d"]:
        for name, size in (("a", 10), ("b", 5), ("c", 5)):
            with copies.held(name, "", size, filled(size)) as names[name]:
                assert kept(tmp_path) <= max(most, size + 5)
            time.sleep(0.01)
        assert {name for name in names if names[name].exists()} == set(left) | {"d"}
    assert kept(tmp_path) <= most


def test_a_fault_leaves_nothing(tmp_path: Path) -> None:
    def fetch(path: Path) -> bool:
        path.write_bytes(b"half")
        raise OSError

    copies = Copies(tmp_path)
    with pytest.raises(OSError), copies.held("a", "", 8, fetch):  # noqa: PT011
        pass
    assert kept(tmp_path) == 0
    with copies.held("a", "", 5, filled(5)) as path:
        assert path.stat().st_size == 5


def _hold(folder: Path, name: str) -> None:
    def fetch(path: Path) -> bool:
        with (folder / f"{name}-fetched").open("a") as log:
            log.write("x")
        path.write_bytes(b"1")
        time.sleep(0.05)
        path.write_bytes(b"whole")
        return True

    (folder / "copies").mkdir(exist_ok=True)
    for _ in range(20):
        with Copies(folder / "copies", 5).held(name, "", 5, fetch) as path:
            assert path.read_bytes() == b"whole"


@pytest.mark.live
def test_many_processes_at_once(tmp_path: Path) -> None:
    """With room for one of two copies, all of them always see a whole one."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_hold, args=(tmp_path, name)) for name in ("a", "b", "a", "b")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert kept(tmp_path) <= 5


@pytest.fixture
def remote(s3: S3) -> tuple[VideoSource, Video]:
    """A video in a bucket."""
    with fsspec.open(f"{s3.url}/v.mp4", "wb", **s3.options) as file:
        file.write(bytes(100_000))
    source = VideoSource(s3.url, s3.options)
    (video,) = source.list()
    s3.count()
    return source, video


def _read(task: tuple[VideoSource, Video]) -> tuple[int, str]:
    with task[0].staged(task[1]) as path:
        return path.stat().st_size, str(path)


def _hang(task: tuple[VideoSource, Video]) -> None:
    with task[0].staged(task[1], fresh=True):
        time.sleep(60)


def test_workers_fetch_a_video_once(s3: S3, remote: tuple[VideoSource, Video]) -> None:
    for _ in range(2):
        found = [result for _, result in Workers(2).map(_read, [remote] * 6)]
        assert {size for size, _ in found} == {100_000}  # type: ignore[misc]
    assert s3.count()["GET"] == 1
    list(Workers(2, copies_bytes=0).map(_read, [remote]))
    [(_, (_, path))] = Workers(2, copies_bytes=0).map(_read, [remote])  # type: ignore[misc]
    assert s3.count()["GET"] == 1  # the first of them deleted what there was
    assert not Path(path).exists()
    with pytest.raises(ConfigError, match="copies_bytes=-1 must be"):
        Workers(copies_bytes=-1)


def test_a_video_that_was_written_meanwhile_is_not_kept(
    s3: S3, remote: tuple[VideoSource, Video]
) -> None:
    """Bytes that differ from the listing are an error, and no copy is kept."""
    source, before = remote
    with fsspec.open(f"{s3.url}/v.mp4", "wb", **s3.options) as file:
        file.write(bytes(99_999))
    with pytest.raises(SourceChangedError, match=r"v\.mp4 changed"), source.staged(before):
        pass
    (after,) = source.list()
    with source.staged(after) as path:
        assert path.stat().st_size == 99_999
    assert path.exists()


SCRIPT = """
import sys, time
from pathlib import Path
from frames_pipeline.io.copies import copies
here = copies()
with here.held("a", "", 5, lambda path: bool(path.write_bytes(b"whole"))) as path:
    print(path, flush=True)
    sys.stdin.readline()
"""


def started(tmp: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp)},
    )


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """By a process that ends; of one that is killed, by the next. One that lives is let alone."""
    with started(tmp_path) as living, started(tmp_path) as killed:
        assert living.stdout is not None
        assert killed.stdout is not None
        copy = Path(living.stdout.readline().strip())
        orphan = Path(killed.stdout.readline().strip())
        assert copy.parents[1] != orphan.parents[1]
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert orphan.exists()
        with started(tmp_path) as other:
            other.communicate("\n")
        assert not orphan.parents[1].exists()
        assert copy.read_bytes() == b"whole"
        living.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def plant(tmp: Path, kind: str) -> None:
    """Create a foreign file, folder or link under one of our names."""
    (tmp / "precious").mkdir()
    (tmp / "precious" / "file").write_text("precious")
    (tmp / "precious" / "owner-of-copies").touch()
    home = tmp / "frames-pipeline-planted0"
    kind, _, where = kind.partition(" in a ")
    if where:
        home.mkdir()
        home /= "owner-of-copies"
    match kind:
        case "pipe":
            os.mkfifo(home)
        case "link":
            home.symlink_to(tmp / "precious" / ("file" if where else ""))
        case "file":
            home.write_text("a file")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(home))
        case "folder" | "folder that is being made":
            home.mkdir()
        case "folder of somebody else":
            home.mkdir()
            (home / "owner-of-copies").touch()
            os.chown(home, 12345, 12345)


KINDS = (
    "pipe", "link", "file", "pipe in a folder", "link in a folder", "folder in a folder",
    "socket in a folder", "folder that is being made", "folder of somebody else",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_put_there_is_let_alone(kind: str) -> None:
    """A process does not wait for it, follow it or delete it."""
    if kind == "folder of somebody else" and os.getuid() != 0:
        pytest.skip("only root can make another user's folder")
    with tempfile.TemporaryDirectory() as short:  # the path of a socket must be short
        tmp = Path(short)
        plant(tmp, kind)
        before = {path: path.lstat() for path in tmp.rglob("*")}
        with started(tmp) as process:
            told, _ = process.communicate("\n")
        assert process.returncode == 0
        assert Path(told.strip()).parents[1].parent == tmp
        after = {path: path.lstat() for path in tmp.rglob("*")}
        assert {path: info.st_ino for path, info in after.items()} == {
            path: info.st_ino for path, info in before.items()
        }
        assert (tmp / "precious" / "file").read_text() == "precious"


def test_a_folder_that_was_never_finished_goes_in_an_hour(tmp_path: Path) -> None:
    """Its process was killed before it could lock anything."""
    for name, age in (("young", 60), ("old", 7200)):
        home = tmp_path / f"frames-pipeline-{name}"
        home.mkdir()
        (home / "new").touch()
        os.utime(home, (time.time() - age,) * 2)
    with started(tmp_path) as process:
        process.communicate("\n")
    assert [path.name for path in tmp_path.iterdir()] == ["frames-pipeline-young"]


RUN = """
import sys
from pathlib import Path
from frames_pipeline.workers.local import Workers
from tests.io.test_copies import sleep_beside
if __name__ == "__main__":
    list(Workers(2).map(sleep_beside, [Path(sys.argv[1]) / name for name in "ab"]))
"""


def sleep_beside(file: Path) -> None:
    file.touch()
    time.sleep(600)


def test_a_run_that_is_killed_with_all_its_processes_leaves_nothing(tmp_path: Path) -> None:
    """The next process that starts deletes its folder, socket and semaphores."""
    script = tmp_path / "script.py"
    script.write_text(RUN)
    with tempfile.TemporaryDirectory() as short:
        tmp = Path(short)
        run = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            env={**os.environ, "TMPDIR": short, "PYTHONPATH": str(Path.cwd())},
            start_new_session=True,
        )
        wait_for(
            lambda: all((tmp_path / name).exists() for name in "ab"),
            name="both tasks",
            progress=processor_seconds(run),
        )
        (home,) = tmp.iterdir()
        left = [*tmp.rglob("listener-*"), *Path("/dev/shm").glob(f"sem.{home.name}-*")]
        assert len(left) > 1
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert all(path.exists() for path in left)
        with started(tmp) as other:
            other.communicate("\n")
        assert [path for path in (*left, *tmp.iterdir()) if path.exists()] == []


SCRIPT_WITH_A_HANG = """
import pickle, sys
from frames_pipeline.workers.local import Workers
from tests.io.test_copies import _hang
if __name__ == "__main__":
    remote = pickle.loads(bytes.fromhex(sys.argv[1]))
    [(_, found)] = Workers(1, timeout_s=3).map(_hang, [remote])
    print(type(found).__name__)
"""


def test_a_worker_that_is_killed_leaves_its_copy_to_its_parent(
    remote: tuple[VideoSource, Video], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT_WITH_A_HANG)
    with tempfile.TemporaryDirectory() as tmp:  # of a short path, for sockets
        done = subprocess.run(
            [sys.executable, str(script), pickle.dumps(remote).hex()],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": tmp, "PYTHONPATH": str(Path.cwd())},
        )
        assert done.stdout.strip() == WorkerTimeoutError.__name__
        assert [
            path for path in Path(tmp).iterdir() if path.name.startswith("frames-pipeline-")
        ] == []


def test_threads_share_them(s3: S3, remote: tuple[VideoSource, Video]) -> None:
    found: list[tuple[int, str]] = []
    threads = [Thread(target=lambda: found.append(_read(remote))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path for _, path in found}) == 1
    assert len(found) == 4
    assert s3.count()["GET"] == 1
