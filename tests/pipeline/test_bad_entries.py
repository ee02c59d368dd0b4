"""A batch continues past bad or changing videos, and past bugs that they trigger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from frames_pipeline import FrameExtractionSignature, PyavDecoder
from frames_pipeline.cli import main
from frames_pipeline.clipping import Clipping, FixedStride, WholeVideo
from frames_pipeline.container.media import Media
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    estimate_extraction,
    extract_batch,
    extract_uris,
    find_changes,
    observe_videos,
)
from frames_pipeline.sources.batches import Batch, Batching, BatchRegistry
from frames_pipeline.workers.local import Workers
from tests.entries import GOOD, IN_2099, PASSED_OVER, fill, within
from tests.pipeline.conftest import ONE

FIRST = FrameExtractionSignature(policy="first", target_res=(24, 32))
DAY = 86_400.0


def sealed(workspace: Workspace) -> Batch:
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    return batch


def outcomes(batch: Batch, workspace: Workspace, **options: Any) -> dict[str, tuple[str, str]]:
    """Run over the batch; return status and reason by video."""
    clipping: Clipping = options.pop("clipping", WholeVideo())
    cut_clips(batch, workspace, clipping, workers=ONE)
    report = within(lambda: extract_batch(batch, [FIRST], workspace, workers=ONE, **options)[FIRST])
    rows = report.outcomes.to_pylist()
    return {row["clip_id"].partition("#")[0]: (row["status"], row["reason"]) for row in rows}


def test_a_folder_with_everything_in_it_becomes_a_batch_of_its_videos(
    tmp_path: Path, video: Path
) -> None:
    workspace = Workspace.at(str(fill(tmp_path / "videos", video)), str(tmp_path / "root"))
    found = within(lambda: discover(workspace, Batching(max_wait_s=0), now=1e12))
    assert {one.reason: one.count for one in found.passed_over} == {
        reason: len(keys) for reason, keys in PASSED_OVER.items()
    }
    (batch,) = found.sealed
    assert batch.videos == GOOD
    assert outcomes(batch, workspace) == dict.fromkeys(GOOD, ("ok", ""))
    assert len(workspace.store.manifest(batch.key, FIRST).clips) == len(GOOD)
    assert discover(workspace, Batching(max_wait_s=0), now=1e12).sealed == ()  # none is a new one
    again = Workspace.at(workspace.source.url, workspace.store.objects.url)
    assert again.batches.sealed_videos() == dict.fromkeys(GOOD, batch.key)


def test_what_a_sealed_video_becomes_is_its_outcome_and_no_other_ones(workspace: Workspace) -> None:
    batch, videos = sealed(workspace), Path(workspace.source.url)
    (videos / "a.mp4").unlink()
    os.mkfifo(videos / "a.mp4")
    (videos / "b.mp4").rename(videos.parent / "b.mp4")
    (videos / "b.mp4").symlink_to("../b.mp4")
    (videos / "c.mp4").unlink()
    (videos / "c.mp4").symlink_to("/dev/zero")
    rows = within(lambda: observe_videos(batch, workspace)).to_pylist()
    assert [row["status"] for row in rows] == ["gone", "gone", "gone", "ok"]
    assert "it is not a regular file" in rows[0]["detail"]
    assert "b.mp4 is a link that leads out of" in rows[1]["detail"]
    wrong = dict.fromkeys(("a.mp4", "b.mp4", "c.mp4"), ("failed", "not_found"))
    assert outcomes(batch, workspace) == wrong | {"d.mp4": ("ok", "")}

    followed = Workspace.at(workspace.source.url, workspace.store.objects.url, follow_links=True)
    assert outcomes(batch, followed)["b.mp4"] == ("ok", "")
    (videos / "a.mp4").unlink()
    (videos / "a.mp4").write_bytes((videos / "d.mp4").read_bytes())
    assert outcomes(batch, workspace)["a.mp4"] == ("ok", "")  # it was never asked to try again


@dataclass(frozen=True)
class Meddler(PyavDecoder):
    """Decodes after changing one of the files, or raises."""

    folder: str = ""
    name: str = ""
    deed: str = ""

    def decode(self, media: Media, *more: Any) -> Any:
        path = Path(self.folder, self.name)
        if media.name == self.name and self.deed == "truncate":
            os.truncate(path, path.stat().st_size // 2)
        elif media.name == self.name and self.deed == "append":
            with path.open("ab") as file:
                file.write(b"more")
        elif media.name == self.name and self.deed == "bug":
            message = "list index out of range"
            raise IndexError(message)
        elif media.name == self.name and self.deed == "exit":
            sys.exit("enough")
        return super().decode(media, *more)


@pytest.mark.parametrize("deed", ["truncate", "append"])
def test_a_video_that_is_written_meanwhile_is_tried_again_by_the_next_run(
    workspace: Workspace, deed: str
) -> None:
    batch = sealed(workspace)
    meddler = Meddler(folder=workspace.source.url, name="b.mp4", deed=deed)
    expected = dict.fromkeys(batch.videos, ("ok", "")) | {"b.mp4": ("failed", "changed")}
    assert outcomes(batch, workspace, decoder=meddler) == expected
    assert outcomes(batch, workspace)["b.mp4"][0] != "changed"
    assert workspace.rows("videos", batch.key)[1]["status"] == "ok"


@pytest.mark.parametrize("deed", ["bug", "exit"])
def test_a_bug_that_one_video_brings_to_light_is_its_outcome(
    workspace: Workspace, deed: str
) -> None:
    batch = sealed(workspace)
    meddler = Meddler(name="b.mp4", deed=deed)
    expected = dict.fromkeys(batch.videos, ("ok", "")) | {"b.mp4": ("failed", "internal")}
    assert outcomes(batch, workspace, decoder=meddler) == expected
    (row,) = [
        row
        for row in workspace.rows("outcomes", batch.key, part=FIRST.key)
        if row["reason"] == "internal"
    ]
    said = "IndexError: list index out of range" if deed == "bug" else "SystemExit: enough"
    assert row["detail"].startswith(f"{said} (a bug: report it")
    assert "test_bad_entries.py" in row["detail"]  # the traceback
    assert outcomes(batch, workspace) == dict.fromkeys(batch.videos, ("ok", ""))


@dataclass(frozen=True)
class BuggyCut:
    """Cuts all videos but one."""

    name: str

    def check(self) -> None:
        """Accept every video."""

    def cut(self, media: Media, key: str) -> Any:
        if key == self.name:
            raise KeyError(key)
        return WholeVideo().cut(media, key)


def test_a_bug_in_cutting_is_one_videos_outcome_too(workspace: Workspace) -> None:
    batch = sealed(workspace)
    found = outcomes(batch, workspace, clipping=BuggyCut("c.mp4"))
    assert found == dict.fromkeys(batch.videos, ("ok", "")) | {"c.mp4": ("failed", "internal")}
    rows = cut_clips(batch, workspace, WholeVideo(), workers=ONE).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 4


def test_the_same_bug_in_every_clip_does_not_hide_which_ones_are_good(workspace: Workspace) -> None:
    """Clips of a video are decoded in one pass, and one by one if that pass meets a bug."""
    batch = sealed(workspace)
    meddler = Meddler(name="b.mp4", deed="bug")
    cut_clips(batch, workspace, FixedStride(1, 1, 1), workers=ONE)
    report = extract_batch(batch, [FIRST], workspace, workers=ONE, decoder=meddler)[FIRST]
    reasons = report.outcomes["reason"].to_pylist()
    assert reasons == ["", "", "internal", "internal", "", "", "", ""]


def test_a_modification_time_in_2099_holds_nothing_up(workspace: Workspace) -> None:
    """The batch is sealed a day after the actual write, and a later change is noticed."""
    videos = Path(workspace.source.url)
    for path in videos.iterdir():
        os.utime(path, (IN_2099, IN_2099))
    rule, now = Batching(max_wait_s=DAY), time.time()
    assert discover(workspace, rule, now=now).sealed == ()
    (batch,) = discover(workspace, rule, now=now + DAY + 1).sealed
    observe_videos(batch, workspace)

    (videos / "a.mp4").write_bytes((videos / "b.mp4").read_bytes())
    os.utime(videos / "a.mp4", (IN_2099 + 5, IN_2099 + 5))
    found = discover(workspace, rule, now=now)
    later = time.time() + DAY + 1
    assert find_changes([batch.key], found, workspace, settled=time.time() - DAY) == []
    (change,) = find_changes([batch.key], found, workspace, settled=later - DAY, now=later)
    assert change.batch == batch.key


def test_a_damaged_table_of_videos_is_that_batchs_alone_and_is_written_anew(
    workspace: Workspace,
) -> None:
    rule = Batching(batch_size=2, max_wait_s=0)
    first, second = discover(workspace, rule, now=1e12).sealed
    before = [observe_videos(batch, workspace) for batch in (first, second)]
    path = Path(workspace.tables.url("videos", first.key))
    path.write_bytes(path.read_bytes()[:-100])
    (Path(workspace.source.url) / second.videos[0]).unlink()

    found, later = discover(workspace, rule, now=1e12), time.time() + DAY
    keys = [first.key, second.key]
    changes = find_changes(keys, found, workspace, settled=later, now=later)
    assert [change.batch for change in changes] == keys
    assert observe_videos(first, workspace).equals(before[0])


def test_more_suffixes_make_new_batches_and_leave_sealed_ones_alone(workspace: Workspace) -> None:
    videos, root = Path(workspace.source.url), workspace.store.objects.url
    (videos / "e.vob").write_bytes((videos / "a.mp4").read_bytes())
    few = Workspace.at(workspace.source.url, root, suffixes=[".mp4"])
    (first,) = discover(few, Batching(max_wait_s=0), now=1e12).sealed
    found = discover(workspace, Batching(max_wait_s=0), now=1e12)
    assert [batch.videos for batch in found.sealed] == [("e.vob",)]
    assert BatchRegistry(root).read(first.key) == first


def test_a_batch_of_version_0_1_keeps_a_name_that_is_no_text(workspace: Workspace) -> None:
    """The sealed name contains half a character, which no table can store."""
    root, name = Path(workspace.store.objects.url), os.fsdecode(b"caf\xe9.mp4")
    videos = Path(workspace.source.url)
    (videos / "a.mp4").rename(videos / name)
    document = {"format": "video-batch/1", "key": "batch-000001", "sealed": "", "source": ""}
    (root / "batches").mkdir(parents=True)
    sealed_then = json.dumps(document | {"videos": ["b.mp4", "c.mp4", "d.mp4", name]})
    (root / "batches" / "batch-000001.json").write_text(sealed_then)

    found = discover(workspace, Batching(max_wait_s=0), now=1e12)
    assert (found.sealed, found.waiting) == ((), 0)
    batch = workspace.batches.read("batch-000001")
    assert outcomes(batch, workspace)[r"caf\udce9.mp4"] == ("ok", "")


def test_uris_of_every_kind_have_an_outcome_each(tmp_path: Path, video: Path) -> None:
    folder = fill(tmp_path / "videos", video)
    names = names_in(folder)
    uris = [f"{folder}/{os.fsdecode(name)}" for name in names]
    (report,) = within(
        lambda: extract_uris(uris, [FIRST], str(tmp_path / "root"), workers=Workers(2))
    )
    rows = report.frames[FIRST].outcomes.to_pylist()
    found = {row["clip_id"].partition("#")[0]: row["status"] for row in rows}
    assert len(found) == len(names)
    good = {name for name in GOOD if "/" not in name} | {"outside.mp4", ".hidden.mp4"}
    assert {key for key, status in found.items() if status == "ok"} == good | {"notes.txt"}


def test_an_estimate_says_what_it_passed_over(tmp_path: Path, video: Path) -> None:
    workspace = Workspace.at(str(fill(tmp_path / "videos", video)), str(tmp_path / "root"))
    found = within(lambda: estimate_extraction(workspace.source, [FIRST], workers=ONE))
    assert (found.videos, found.failed) == (len(GOOD), ())
    assert {one.reason for one in found.passed_over} == set(PASSED_OVER)


def names_in(folder: Path) -> list[bytes]:
    return [name for name in os.listdir(os.fsencode(folder)) if b"." in name]  # noqa: PTH208


def test_the_command_line_goes_on_whatever_it_meets(tmp_path: Path, video: Path) -> None:
    folder, root = fill(tmp_path / "videos", video), str(tmp_path / "root")
    uris = [f"{folder}/{os.fsdecode(name)}" for name in names_in(folder)]

    def said(*arguments: str, code: int) -> Any:
        found = within(lambda: CliRunner().invoke(main, [*arguments, "--json"]))
        assert found.exit_code == code, found.output
        return json.loads(found.stdout)

    size = ("-s", "policy=first,target_res=24x32", "--processes", "1")
    rows = said("extract", *uris, "--root", root, *size, code=1)
    assert len(rows) == len(uris)
    assert {row["status"] for row in rows} == {"ok", "failed"}
    (stored,) = said("ls", f"{root}/adhoc", code=0)
    assert stored["clips"] == sum(row["status"] == "ok" for row in rows)
    planned = said("estimate", str(folder), *size, code=0)
    assert planned["videos"] == len(GOOD)
    assert {one["reason"] for one in planned["passed_over"]} == set(PASSED_OVER)
    all_of_them = said("estimate", str(folder), "--suffix", ".mp4", "--follow-links", *size, code=0)
    assert all_of_them["videos"] == len(GOOD) + 2


def test_names_that_are_no_text_are_told_as_text(tmp_path: Path, video: Path) -> None:
    """A shell passes such names as bytes."""
    folder = fill(tmp_path / "videos", video)
    uris = [os.fsencode(folder) + b"/" + name for name in names_in(folder)]
    program = [sys.executable, "-c", "from frames_pipeline.cli import main; main()", "probe"]
    done = subprocess.run([*program, *uris, "--json"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    rows = json.loads(done.stdout)
    assert len(rows) == len(uris)
    assert {row["status"] for row in rows} == {"ok", "not_found"}
    assert {row["status"] for row in rows if "caf" in row["uri"]} == {"ok"}
