"""Objects under a local folder and in memory; S3 is in store/test_s3.py."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.errors import ConfigError, StoreAccessError, StoreError, TransientError
from frames_pipeline.io import local_objects
from frames_pipeline.io import objects as module
from frames_pipeline.io.objects import ObjectInfo, Objects


@pytest.fixture(params=["path", "file", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An empty root of each kind."""
    fsspec.filesystem("memory").store.clear()
    urls = {
        "path": str(tmp_path / "root"),
        "file": f"file://{tmp_path}/root/",
        "memory": "memory://root",
    }
    return Objects(urls[request.param])


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in the order in which they were synced."""
    folders: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        folders.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return folders


def test_put_then_get(objects: Objects) -> None:
    """What is put is what comes back, and a second put takes its place."""
    objects.put("a/b/c", b"one")
    objects.put("a/b/c", b"other")
    objects.put("a/empty", b"")
    assert objects.get("a/b/c") == b"other"
    assert objects.get("a/empty") == b""
    assert objects.child("a").get("b/c") == b"other"


def test_get_of_nothing(objects: Objects) -> None:
    """What was never put is not found."""
    with pytest.raises(FileNotFoundError):
        objects.get("a/b")
    assert objects.get_many(["a", "b"]) == {}


def test_put_new_once(objects: Objects) -> None:
    """The first writer wins and the second is told."""
    assert objects.put_new("a/b", b"first")
    assert not objects.put_new("a/b", b"second")
    assert objects.get("a/b") == b"first"
    assert list(objects.list()) == ["a/b"]


def test_get_many_leaves_out_what_is_missing(objects: Objects) -> None:
    """In the order that was asked for."""
    for key in ("x", "y"):
        objects.put(key, key.encode())
    assert list(objects.get_many(["y", "none", "x"]).items()) == [("y", b"y"), ("x", b"x")]


def test_a_part_of_an_object(objects: Objects) -> None:
    objects.put("a/b", b"0123456789")
    assert objects.get_range("a/b", 2, 5) == b"234"
    assert objects.get_range("a/b", 8, 99) == b"89"
    with pytest.raises(FileNotFoundError):
        objects.get_range("a/c", 0, 1)


def test_names_are_those_of_the_listing(objects: Objects) -> None:
    assert list(objects.names("a")) == []
    for name in ("z", "b.json", "c.retired"):
        objects.put(f"a/{name}", b"1")
    assert list(objects.names("a")) == list(objects.list("a"))


def test_list_is_recursive_and_sorted(objects: Objects) -> None:
    """Keys are relative to the root, whatever the prefix, which names a folder."""
    for key in ("b/2/x", "b/1", "a", "bb/1"):
        objects.put(key, b"12")
    assert list(objects.list()) == ["a", "b/1", "b/2/x", "bb/1"]
    assert list(objects.list("b")) == ["b/1", "b/2/x"]
    assert objects.list("none") == {}
    info = objects.list("b")["b/1"]
    assert isinstance(info, ObjectInfo)
    assert info.size == 2
    assert info.modified > 1.6e9


def test_folders(objects: Objects) -> None:
    """Only what has something in it, and only one level."""
    for key in ("b/2/x", "b/1", "a/1", "file"):
        objects.put(key, b"")
    assert objects.folders() == ["a", "b"]
    assert objects.folders("b") == ["2"]
    assert objects.folders("none") == []


def test_delete(objects: Objects) -> None:
    """What is gone is gone; what was not there is no error."""
    objects.put("a/b/c", b"")
    objects.put("a/d", b"")
    objects.delete(["a/b/c", "a/none"])
    assert list(objects.list()) == ["a/d"]


def test_delete_prunes_folders(tmp_path: Path) -> None:
    """Folders that are left empty go, the root and those with something in them stay."""
    objects = Objects(tmp_path / "root")
    objects.put("a/b/c", b"")
    objects.put("a/d", b"")
    objects.delete(["a/b/c"])
    assert not (tmp_path / "root/a/b").exists()
    objects.delete(["a/d"])
    assert list((tmp_path / "root").iterdir()) == []


def test_put_while_folders_are_pruned(tmp_path: Path) -> None:
    """A writer and a deleter in one folder do not get in each other's way."""
    objects = Objects(tmp_path, durable=False)
    stop = threading.Event()

    def delete() -> None:
        while not stop.wait(0.0002):
            objects.delete(["a/b/other"])

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for number in range(300):
            objects.put(f"a/b/{number}", b"")
            objects.delete([f"a/b/{number}"])
    finally:
        stop.set()
        thread.join()


@given(url=st.sampled_from(["memory://", "memory:///", "memory://x", "memory://x/"]))
def test_urls_with_and_without_slash(url: str) -> None:
    """Slashes at the end of a root change nothing."""
    fsspec.filesystem("memory").store.clear()
    objects = Objects(url)
    objects.put("a/b", b"1")
    assert list(objects.list()) == ["a/b"]
    assert objects.child("a").get("b") == b"1"


def test_relative_path_is_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that changes its folder does not change the root."""
    monkeypatch.chdir(tmp_path)
    objects = Objects("here")
    monkeypatch.chdir("/")
    objects.put("a", b"")
    assert (tmp_path / "here/a").exists()


def test_local_path(tmp_path: Path) -> None:
    """Only local roots are paths."""
    assert Objects(tmp_path).local_path == tmp_path
    assert Objects(f"file://{tmp_path}").local_path == tmp_path
    assert Objects("memory://x").local_path is None


def test_unusable_urls() -> None:
    """A wrong URL is refused where it is named."""
    with pytest.raises(ConfigError, match="contains credentials; put them into storage_options"):
        Objects("s3://key:secret@bucket/x")
    with pytest.raises(ConfigError, match="cannot reach nonsense:// URLs"):
        Objects("nonsense://bucket")
    with pytest.raises(ConfigError, match="URL is empty"):
        Objects("")


def test_secrets_are_not_shown() -> None:
    """Options stay out of what is printed and logged."""
    assert "hush" not in repr(Objects("memory://x", {"secret": "hush"}))


def test_local_faults_name_the_object(tmp_path: Path) -> None:
    """A folder where an object should be, and an object where a folder should be."""
    objects = Objects(tmp_path)
    objects.put("a/b", b"")
    with pytest.raises(StoreError, match=r"cannot use .*/a: .*[Dd]irectory"):
        objects.get("a")
    with pytest.raises(StoreError, match=r"cannot use .*/a/b/c: .*directory"):
        objects.put("a/b/c", b"")
    with pytest.raises(StoreError, match=r"cannot use .*/a/b/c: .*directory"):
        objects.put_new("a/b/c", b"")
    assert objects.list("a/b") == {}
    assert objects.folders("a/b") == []


def test_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not be taken for an empty one: garbage collection would believe it."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    objects = Objects(tmp_path)
    objects.put("a/b", b"")
    monkeypatch.setattr(os, "scandir", refuse)
    for look in (objects.list, objects.folders):
        with pytest.raises(StoreError, match=r"not allowed to reach .*; check credentials"):
            look("a")


def test_failed_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object is whole or not there, and its temporary file is gone."""

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    objects = Objects(tmp_path)
    objects.put("a", b"old")
    monkeypatch.setattr(local_objects, "_sync_file", fail)
    with pytest.raises(StoreError, match=r"cannot use .*/a: .*No space left"):
        objects.put("a", b"new")
    assert list(objects.list()) == ["a"]
    assert objects.get("a") == b"old"


def test_durable_put_syncs_new_folders(tmp_path: Path, synced: list[Path]) -> None:
    """The object's folder, and the parent of every folder that was made for it."""
    objects = Objects(tmp_path / "root")
    objects.put("a/b/c", b"")
    root = tmp_path / "root"
    assert synced == [root / "a/b", root / "a", root, tmp_path]
    synced.clear()
    objects.put("a/b/d", b"")
    assert synced == [root / "a/b"]


def test_not_durable_put_syncs_nothing(tmp_path: Path, synced: list[Path]) -> None:
    """Speed for those who can write again."""
    Objects(tmp_path / "root", durable=False).put("a/b/c", b"")
    assert synced == []


def test_pickle(tmp_path: Path) -> None:
    """A copy reaches the same root by a connection of its own."""
    objects = Objects(tmp_path, durable=False)
    objects.put("a", b"1")
    copy = pickle.loads(pickle.dumps(objects))
    assert copy.get("a") == b"1"
    assert (copy.url, copy.durable) == (objects.url, False)


def test_no_client_library_is_imported() -> None:
    """Who uses a folder does not wait for S3 to load."""
    code = "import sys; from frames_pipeline.io.objects import Objects; Objects('/x'); "
    code += "print('botocore' in sys.modules)"
    root = Path(module.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert ran.stdout == b"False\n"


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device" and os.getuid() == 0:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.stat("/dev/zero").st_rdev)  # noqa: PTH116
    else:
        path.symlink_to("/dev/zero")
    objects = Objects(str(tmp_path))
    reads: list[Callable[[], bytes]] = [
        lambda: objects.get("a"),
        lambda: objects.get_range("a", 0, 1),
    ]
    for read in reads:
        with pytest.raises(StoreAccessError, match=r"a is not a regular file; remove it"):
            read()
    objects.put("a", b"whole")
    assert objects.get("a") == b"whole"


def test_a_refusal_of_http_is_told_as_such() -> None:
    """The HTTP file system reports every refusal as a missing object."""
    aiohttp = pytest.importorskip("aiohttp")
    objects = Objects("memory://a")

    def fail(status: int) -> None:
        request = aiohttp.RequestInfo("https://h/a?sig=x", "GET", {}, "https://h/a?sig=x")
        error = aiohttp.ClientResponseError(request, (), status=status)
        with objects.faults("a"):
            if status == 404:
                raise FileNotFoundError("https://h/a?sig=x") from error
            raise error

    with pytest.raises(FileNotFoundError, match=r"https://h/a$"):
        fail(404)
    with pytest.raises(
        StoreAccessError, match=r"not allowed to reach .*: 403, .*check credentials"
    ):
        fail(403)
    with pytest.raises(TransientError, match=r"cannot reach memory://a/a now: 503"):
        fail(503)
    with pytest.raises(StoreAccessError, match="cannot use memory://a/a: 451"):
        fail(451)
