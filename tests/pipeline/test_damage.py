"""Every kind of object against every reader: flip a bit, cut it, empty it, delete it.

A reader returns the right data, raises an error of the family, or reports the damage; it never
returns other data or raises another error. Garbage collection deletes nothing. The test flips one
bit of each kind of object, damages it in one other way, and calls the readers of its folder. With
`FRAMES_DAMAGE_FLIPS=8` it flips ten bits, damages in every way, and calls every reader. As a
module, it prints its table of kinds and readers.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.cli import main
from frames_pipeline.clipping import FixedStride
from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    caption_batch,
    catalog_batch,
    compare_with_signature,
    cut_clips,
    embed_batch,
    extract_batch,
    find_disorder,
    look_at_clips,
    mark_near_duplicates,
    measure_batch,
    open_views,
    origins_of_rows,
    pool_batch,
    repair_store,
    sheet_of_batch,
    timeline_of_batch,
    uses_of_video,
)
from frames_pipeline.readers.packs import open_pack, pack_frames
from frames_pipeline.readers.stored_frames import open_frames
from frames_pipeline.workers.local import Workers
from tests.pipeline.test_incrementality import Reader as Captioner
from tests.videos import X264, make_video

FLIPS = int(os.environ.get("FRAMES_DAMAGE_FLIPS", "0"))
"""Bits to flip in each object, calling every reader; 0: a short test."""
ONE = Workers(1)
TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
DAMAGED, OTHER = "batch-000001", "batch-000002"
VIDEOS = {DAMAGED: "a.mp4", OTHER: "b.mp4"}


def make_store(folder: Path) -> Workspace:
    """Make two batches of one video each with all derived objects, and a pack."""
    (folder / "videos").mkdir()
    workspace = Workspace.at(str(folder / "videos"), str(folder / "root"))
    for number, (batch, video) in enumerate(VIDEOS.items()):
        path = folder / "videos" / video
        make_video(path, frames=50, options=X264, first=100 * number)
        workspace.batches.seal([video], source=workspace.source.url)
        make_batch(batch, workspace)
    mark_near_duplicates(workspace)
    pack_frames(open_frames(workspace.store.objects.url, signature=TWO), folder / "root" / "pack")
    return workspace


def make_batch(batch: str, workspace: Workspace, *, repair: bool = False) -> None:
    """Run every step of a batch."""
    cut_clips(workspace.batches.read(batch), workspace, FixedStride(1, 1, 1), workers=ONE)
    extract_batch(batch, [TWO], workspace, workers=ONE, repair=repair)
    embed_batch(batch, TWO, workspace, PerceptualEmbedding())
    pool_batch(batch, workspace)
    measure_batch(batch, TWO, workspace, TechnicalQuality())
    caption_batch(batch, TWO, workspace, Captioner())
    catalog_batch(batch, {"two": TWO}, workspace)


@dataclass(frozen=True)
class Found:
    """A reader continued and reported the damage."""

    what: Any


def pixels(workspace: Workspace, batch: str) -> object:
    store = workspace.store
    return [store.read(batch, TWO, clip).digest() for clip in store.manifest(batch, TWO).clips]


def lazily(workspace: Workspace, batch: str) -> object:
    clips = [
        workspace.store.open_commit(batch, TWO, commit)
        for commit in workspace.store.manifest(batch, TWO).clips.values()
    ]
    return [
        (
            np.asarray(clip.frames[i]).tobytes(),
            np.asarray(clip.time[:]).tobytes(),
            clip.pts.tolist(),
        )
        for clip in clips
        for i in range(len(clip))
    ]


def mapping(workspace: Workspace, batch: str) -> object:
    frames = open_frames(workspace.store.objects.url, signature=TWO, batches=batch)
    read = {clip: frames.read(clip) for clip in frames}
    return [
        (clip, one.digest(), frames.lineage(clip, one).to_pydict()) for clip, one in read.items()
    ]


def commits(workspace: Workspace, batch: str) -> object:
    return workspace.store.clips(batch, TWO)


def manifest(workspace: Workspace, batch: str) -> object:
    return workspace.store.manifest(batch, TWO).to_document()


def sealed(workspace: Workspace, batch: str) -> object:
    return workspace.batches.read(batch)


def tables(workspace: Workspace, batch: str) -> object:
    names = workspace.store.objects.folders("tables")
    return {
        (table, part): workspace.tables.read(table, batch, part=part).to_pydict()
        for table in names
        for part in workspace.tables.parts(table, batch)
    }


def sheet(workspace: Workspace, batch: str) -> object:
    """Draw the contact sheet and the timeline; an unreadable clip has an empty tile or line."""
    published = workspace.store.manifest(batch, TWO)
    pictures = sheet_of_batch(published, TWO, workspace), timeline_of_batch(published, workspace)
    return pictures if workspace.store.verify(batch, deep=True).ok else Found(pictures)


def inspection(workspace: Workspace, batch: str) -> object:
    published = workspace.store.manifest(batch, TWO)
    fit = compare_with_signature(published, TWO, workspace)
    return fit, find_disorder(published, workspace), look_at_clips(published, workspace, seed=1)


def lineage(workspace: Workspace, batch: str) -> object:
    rows = [
        row
        for table in ("embeddings", "quality")
        for row in origins_of_rows(table, batch, workspace)
    ]
    return rows, uses_of_video(VIDEOS[batch], workspace)


def verify(workspace: Workspace, batch: str) -> object:
    report = workspace.store.verify(batch)
    return report if report.ok else Found(report.faults)


def verify_deep(workspace: Workspace, batch: str) -> object:
    report = workspace.store.verify(batch, deep=True)
    return report if report.ok else Found(report.faults)


OF_ONE: Mapping[str, Callable[[Workspace, str], object]] = {
    "read": pixels, "frames[i]": lazily, "open_frames": mapping, "clips": commits,
    "manifest": manifest, "batch": sealed, "tables": tables, "sheet, timeline": sheet,
    "inspection": inspection, "lineage": lineage, "verify": verify, "verify deep": verify_deep,
}  # fmt: skip
"""Readers of one batch."""


def collect(workspace: Workspace) -> object:
    report = workspace.store.collect_garbage(grace_seconds=0, dry_run=False)
    assert report.attempts == ()
    return Found(report.unreadable) if report.unreadable else report


def views(workspace: Workspace) -> object:
    return {
        name: view.to_table().to_pydict()
        for name, view in open_views(workspace, check=True).items()
    }


def repair_dry(workspace: Workspace) -> object:
    report = repair_store(workspace)
    return Found(report.damages) if report.damages else report


def packed(workspace: Workspace) -> object:
    pack = open_pack(f"{workspace.store.objects.url}/pack")
    return [(clip, pack.read(clip).digest()) for clip in pack]


def packed_verify(workspace: Workspace) -> object:
    found = open_pack(f"{workspace.store.objects.url}/pack").verify()
    return Found(found) if found else ()


def command(workspace: Workspace, *args: str) -> object:
    """Return the output of a command. Damage ends it with status 1 and a line of advice."""
    result = CliRunner().invoke(main, [args[0], workspace.store.objects.url, *args[1:]])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    said = result.stderr or "damaged" in result.stdout
    return Found(result.output) if result.exit_code or said else result.stdout


OF_ALL: Mapping[str, Callable[[Workspace], object]] = {
    "gc": collect, "views": views, "repair, dry": repair_dry, "pack": packed,
    "pack verify": packed_verify,
    "ls": lambda workspace: command(workspace, "ls"),
    "sql": lambda workspace: command(workspace, "sql"),
}  # fmt: skip
"""Readers of the whole root."""


def damages(data: bytes, key: str) -> Iterator[tuple[str, bytes | None]]:
    """Return damaged versions of an object: bits flip at seeded places and at both ends."""
    seeded = random.Random(kind(key))
    bits = [0, 8 * len(data) - 1] if FLIPS else []
    bits += [seeded.randrange(8 * len(data)) for _ in range(FLIPS or 1)]
    for bit in bits:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield "flip", bytes(flipped)
    others: list[tuple[str, bytes | None]] = [
        ("cut", data[: seeded.randrange(1, len(data))]),
        ("empty", b""),
        ("delete", None),
    ]
    yield from others if FLIPS else [seeded.choice(others)]


UNTOUCHED: Mapping[str, set[str]] = {
    "frames": {"tables", "views", "sql", "pack", "pack verify"},
    "tables": {"read", "frames[i]", "open_frames", "pack", "pack verify"},
    "pack": {*OF_ONE, "views", "sql", "ls"},
}
"""Readers that the short test does not call, by folder: they read other objects."""
FINDERS = {"verify deep", "repair, dry", "pack verify"}
"""Readers that together find any damage."""


def asked(key: str, readers: Iterable[str]) -> list[str]:
    """Return the readers to call for an object; the short test adds the finders."""
    left_out = UNTOUCHED.get(key.partition("/")[0], set()) | FINDERS
    return [name for name in readers if FLIPS or name not in left_out]


def kind(key: str) -> str:
    """Return an object's row in the table: its key without names.

    >>> kind("frames/batch-000001/sequence-1/clips/a-1/0-1/frames/c/0/0/0/0")
    'clips/…/frames/c/…'
    """
    key = re.sub(r"^frames/[^/]+/[^/]+/", "", key)
    key = re.sub(r"^clips/[^/]+/[^/]+/", "clips/…/", key)
    key = re.sub(r"^commits/.*", "commits/….json", key)
    key = re.sub(r"^origins/.*", "origins/….json", key)
    key = re.sub(r"^batches/.*json", "batches/….json", key)
    key = re.sub(r"^(tables/[^/]+)/.*", r"\1", key)
    key = re.sub(r"parts/[^/]+/", "parts/…/", key)
    return re.sub(r"/c/[0-9/]+$", "/c/…", key)


def outcome(read: Callable[[], object], right: object, how: str) -> str:
    """Return `same` data, damage `found`, or `less` if an object is gone; fail otherwise."""
    try:
        found = read()
    except FramesPipelineError:
        return "found"
    if isinstance(found, Found):
        return "found"
    if found == right:
        return "same"
    assert how == "delete", "other data than were written"
    return "less"


Matrix = defaultdict[tuple[str, str], set[str]]


def damaged_objects(workspace: Workspace) -> list[str]:
    """Return an object of each kind, of the first batch and of the whole root."""
    keys = [key for key in workspace.store.objects.list() if OTHER not in key]
    return list({kind(key): key for key in keys}.values())


def right_answers(workspace: Workspace) -> dict[tuple[str, str], object]:
    right: dict[tuple[str, str], object] = {
        (name, batch): read(workspace, batch) for name, read in OF_ONE.items() for batch in VIDEOS
    }
    return right | {(name, ""): read(workspace) for name, read in OF_ALL.items()}


def try_object(workspace: Workspace, key: str, right: Mapping[tuple[str, str], object]) -> Matrix:
    """Damage one object in every way, and call every reader."""
    matrix: Matrix = defaultdict(set)
    name = ""
    objects, data = workspace.store.objects, workspace.store.objects.get(key)
    for how, damaged in damages(data, key):
        objects.put(key, damaged) if damaged is not None else objects.delete([key])
        here = Workspace.at(workspace.source.url, objects.url)
        before = set(objects.list())
        try:
            for name in asked(key, OF_ONE):
                read = OF_ONE[name]
                found = outcome(partial(read, here, DAMAGED), right[name, DAMAGED], how)
                matrix[kind(key), name].add(f"{found} ({how})" if how == "delete" else found)
                if FLIPS or how == "flip":
                    assert outcome(partial(read, here, OTHER), right[name, OTHER], how) == "same"
            for name in asked(key, OF_ALL):
                found = outcome(partial(OF_ALL[name], here), right[name, ""], how)
                matrix[kind(key), name].add(f"{found} ({how})" if how == "delete" else found)
            assert set(objects.list()) == before
            if how != "delete":
                matrix[kind(key), "found"].add(found_by_the_finders(here, right))
        except BaseException as error:
            error.add_note(f"{how} of {key}, read by {name}")
            raise
        finally:
            objects.put(key, data)
    return matrix


def found_by_the_finders(workspace: Workspace, right: Mapping[tuple[str, str], object]) -> str:
    """Whether `verify --deep`, which calls these readers, or the pack's `verify` finds it."""
    finders = {
        ("verify deep", DAMAGED): partial(verify_deep, workspace, DAMAGED),
        ("repair, dry", ""): partial(repair_dry, workspace),
        ("pack verify", ""): partial(packed_verify, workspace),
    }
    return min(outcome(read, right[name], "flip") for name, read in finders.items())  # found, same


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_store(tmp_path_factory.mktemp("made"))


@pytest.mark.live
def test_every_object_against_every_reader(made: Workspace) -> None:
    right = right_answers(made)
    keys = damaged_objects(made)
    assert len(keys) == 24
    for key in keys:
        matrix = try_object(made, key, right)
        assert matrix[kind(key), "found"] == {"found"}, key


def table(matrix: Matrix) -> Iterator[str]:
    """Return the matrix as Markdown."""
    readers = [*OF_ONE, *OF_ALL]
    yield f"| object | {' | '.join(readers)} |"
    yield "|---" * (1 + len(readers)) + "|"
    for name in dict.fromkeys(name for name, _ in matrix):
        cells = [", ".join(sorted(matrix[name, reader])) for reader in readers]
        yield f"| `{name}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        store = make_store(Path(name))
        answers, whole = right_answers(store), Matrix(set)
        for one in damaged_objects(store):
            whole |= try_object(store, one, answers)
        sys.stdout.write("\n".join(table(whole)) + "\n")
