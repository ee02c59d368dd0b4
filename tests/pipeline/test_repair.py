"""`repair`, or a run with it, mends damaged objects from the rest, or reports them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from frames_pipeline.cli import main
from frames_pipeline.errors import IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline import (
    Workspace,
    discover,
    find_changes,
    mark_near_duplicates,
    repair_store,
)
from frames_pipeline.sources.batches import Batching
from tests.pipeline.test_damage import DAMAGED, OTHER, TWO, make_batch, make_store, tables

FRAMES = f"frames/{DAMAGED}/{TWO.key}"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_store(tmp_path_factory.mktemp("original"))


@pytest.fixture
def here(original: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy to damage."""
    shutil.copytree(original.store.objects.url, tmp_path / "root")
    return Workspace.at(original.source.url, str(tmp_path / "root"))


def again(workspace: Workspace) -> Workspace:
    """Open the same workspace anew, without cached state."""
    return Workspace.at(workspace.source.url, workspace.store.objects.url)


def flip(objects: Objects, *keys: str) -> None:
    """Flip a bit in the middle of each object."""
    for key in keys:
        data = bytearray(objects.get(key))
        data[len(data) // 2] ^= 1
        objects.put(key, bytes(data))


def documents(objects: Objects) -> dict[str, object]:
    """Return all documents by key, without their write times."""
    said: dict[str, object] = {}
    for key in sorted(objects.list()):
        if key.endswith(".json") and "/clips/" not in key and not key.startswith("pack/"):
            document: Mapping[str, object] = json.loads(objects.get(key))
            late = {"created", "sealed", "sha256"}
            said[key] = {name: value for name, value in document.items() if name not in late}
    return said


def only(objects: Objects, start: str) -> str:
    """Return the first key with this prefix."""
    return next(key for key in objects.list() if key.startswith(start))


def rows(workspace: Workspace) -> dict[object, object]:
    """Return the rows of every table, without decode times and attempts."""
    found = tables(workspace, DAMAGED)
    assert isinstance(found, dict)
    return {
        key: {name: column for name, column in columns.items() if name not in TELLS_RUNS_APART}
        for key, columns in found.items()
    }


TELLS_RUNS_APART = {"seconds", "bytes", "frame_paths"}
MENDED = {
    "batch": "batches/batch-000001",
    "signature": f"{FRAMES}/signature.json",
    "manifest": f"{FRAMES}/manifest.json",
    "commit": f"{FRAMES}/commits/",
}


@pytest.mark.parametrize("what", MENDED)
@pytest.mark.parametrize("how", ["flip", "delete"])
def test_a_document_is_rebuilt_from_the_rest(here: Workspace, what: str, how: str) -> None:
    objects = here.store.objects
    before, key = documents(objects), only(objects, MENDED[what])
    flip(objects, key) if how == "flip" else objects.delete([key])
    if (what, how) == ("manifest", "delete"):
        assert repair_store(here).damages == ()  # it looks like a batch that was never published
        return
    found = repair_store(again(here), [DAMAGED])
    assert [(one.key, one.can_mend) for one in found.damages] == [(key, True)]
    assert repair_store(again(here), [DAMAGED], dry_run=False).left == ()
    assert documents(objects) == before
    assert repair_store(again(here)).damages == ()
    assert here.store.verify(DAMAGED, deep=True).ok


def test_every_table_is_made_again_by_its_step(original: Workspace, here: Workspace) -> None:
    objects = here.store.objects
    damaged = list(objects.list("tables"))
    flip(objects, *damaged)
    report = repair_store(here, dry_run=False)
    assert sorted(one.key for one in report.damages) == damaged
    assert [key.split("/", 2)[2] for key in objects.list("damaged")] == damaged
    for batch in (DAMAGED, OTHER):
        make_batch(batch, here)
    mark_near_duplicates(here)
    assert rows(here) == rows(original)
    assert len(objects.list("tables")) == len(damaged)
    assert repair_store(here).damages == ()


def test_a_video_that_is_gone_keeps_its_clips_though_its_table_is_damaged(
    here: Workspace, tmp_path: Path
) -> None:
    """The table of clips also records the video's fingerprint."""
    (tmp_path / "empty").mkdir()
    here = Workspace.at(str(tmp_path / "empty"), here.store.objects.url)
    before = here.store.manifest(DAMAGED, TWO)
    flip(here.store.objects, only(here.store.objects, f"tables/videos/{DAMAGED}"))
    repair_store(here, dry_run=False)
    make_batch(DAMAGED, here)
    assert here.store.manifest(DAMAGED, TWO).digest == before.digest
    assert {row["status"] for row in here.rows("videos", DAMAGED)} == {"gone"}


def test_hints_are_dropped_and_written_again(here: Workspace) -> None:
    objects = here.store.objects
    notes = list(objects.list("origins"))
    flip(objects, *notes)
    assert {one.key for one in repair_store(here, dry_run=False).damages} == set(notes)
    assert objects.list("origins") == {}
    for commit in objects.list(f"{FRAMES}/commits"):
        objects.delete([commit])
    objects.delete([f"{FRAMES}/manifest.json"])
    make_batch(DAMAGED, here)
    assert set(objects.list("origins")) < set(notes)


def test_a_run_with_repair_mends_a_batch_of_which_everything_is_damaged(
    original: Workspace, here: Workspace
) -> None:
    """Frames without a commit and a manifest are decoded again."""
    objects = here.store.objects
    keys = [key for key in objects.list() if DAMAGED in key and not key.startswith("batches/")]
    flip(objects, *keys)
    with pytest.raises(IntegrityError, match="repair"):
        make_batch(DAMAGED, again(here))
    repair_store(again(here), [DAMAGED], dry_run=False)
    make_batch(DAMAGED, again(here), repair=True)
    assert here.store.verify(DAMAGED, deep=True).ok
    assert repair_store(again(here)).damages == ()
    expected = original.store.manifest(DAMAGED, TWO).digest
    assert here.store.manifest(DAMAGED, TWO).digest == expected
    assert rows(here) == rows(original)


def test_what_cannot_be_mended_is_said(here: Workspace) -> None:
    """Repair of a batch's document needs a table or the index; of a commit, the manifest."""
    objects = here.store.objects
    lost = [only(objects, "batches/"), only(objects, f"{FRAMES}/commits")]
    flip(objects, *lost, f"{FRAMES}/manifest.json")
    flip(objects, *(only(objects, f"tables/{name}/{DAMAGED}") for name in ("videos", "clips")))
    left = {one.key: one.remedy for one in repair_store(again(here), dry_run=False).left}
    assert left[lost[0]] == f"restore {lost[0]} from a backup"
    assert "run the extraction with repair" in left[lost[1]]
    assert len(left) == 2


def test_one_damaged_batch_stops_no_other(here: Workspace) -> None:
    """Damages the document of the signature, the manifest and the tables of one batch."""
    objects = here.store.objects
    flip(objects, *[key for key in objects.list() if DAMAGED in key])
    make_batch(OTHER, again(here))
    assert here.store.verify(OTHER, deep=True).ok
    report = here.store.collect_garbage(grace_seconds=0, dry_run=False)
    assert report.attempts == ()
    assert any("manifest" in key for key in report.unreadable)


def test_the_look_for_changes_goes_on_behind_a_damaged_table(here: Workspace) -> None:
    """One failing run reports the batch; changed files of another batch are found as usual."""
    found = discover(here, Batching(), now=0)
    assert find_changes([DAMAGED, OTHER], found, here, settled=1e12) == []
    flip(here.store.objects, only(here.store.objects, f"tables/videos/{DAMAGED}"))
    [told] = find_changes([DAMAGED, OTHER], found, again(here), settled=1e12)
    assert told.batch == DAMAGED
    assert find_changes([DAMAGED], found, again(here), settled=1e12) == [told]


@pytest.mark.parametrize(
    ("note", "spoil"),
    [
        (b"batch-000001", lambda data: data.replace(b"batch-", b"batch/")),
        (b"no JSON", lambda _: b"{"),
        (b"a list", lambda _: b"[]"),
        (b"numbers", lambda _: b'{"batch":1,"video_key":2}'),
        (b"nothing", lambda _: b""),
    ],
)
def test_a_damaged_hint_is_ignored(
    here: Workspace, note: bytes, spoil: Callable[[bytes], bytes]
) -> None:
    """The hint is as version 0.1 wrote it, without a checksum; an invalid batch key is ignored."""
    objects = here.store.objects
    for key in objects.list("origins"):
        old = b'{"batch": "batch-000001", "video_key": "a.mp4"}'
        objects.put(key, spoil(old))
    objects.delete([f"{FRAMES}/manifest.json", *objects.list(f"{FRAMES}/commits")])
    make_batch(DAMAGED, here)
    assert here.store.verify(DAMAGED, deep=True).ok


def test_the_command_reports_and_mends(here: Workspace) -> None:
    root, objects = here.store.objects.url, here.store.objects
    flip(objects, f"{FRAMES}/manifest.json", only(objects, "tables/quality"))
    dry = CliRunner().invoke(main, ["repair", root])
    assert dry.exit_code == 1
    assert "no: give --apply" in dry.stdout
    assert CliRunner().invoke(main, ["verify", root, "--deep"]).exit_code == 1
    done = CliRunner().invoke(main, ["repair", root, DAMAGED, "--apply"])
    assert done.exit_code == 0
    assert "rebuilt from 2 commits" in done.stdout
    assert CliRunner().invoke(main, ["verify", root, "--deep"]).exit_code == 0
