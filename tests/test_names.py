"""Untrusted names, captions and messages in the output of every command."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

import frames_pipeline.cli
from frames_pipeline.cli import main
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models.captioning import Caption
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import open_quality_provider
from frames_pipeline.pipeline import (
    Workspace,
    caption_batch,
    catalog_batch,
    cut_clips,
    discover,
    embed_batch,
    extract_batch,
    measure_batch,
)
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batching
from frames_pipeline.text.plain import fit_to_show
from frames_pipeline.workers.local import Workers
from tests.payloads import PAYLOADS, as_key, random_texts, unseen
from tests.videos import make_videos

BATCH = "batch-000001"
FEW = FrameExtractionSignature(policy="uniform", num_frames=2, target_res=(24, 32))
NAMES = [as_key(text) for text in (*PAYLOADS, *random_texts(8, seed=7))]
NAMES = [name for name in dict.fromkeys(NAMES) if not name.startswith(".")]
BROKEN = f"broken-{as_key(PAYLOADS[6])}"


class Parrot:
    """A captioner that returns untrusted text."""

    name: ClassVar[str] = "parrot"
    revision: ClassVar[int] = 1
    model: str = "[bold]par\x1brot"
    prompt: str = "[/]"

    def __init__(self) -> None:
        self.said = 0

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "revision": self.revision, "model": self.model}

    def caption(self, clip: FrameBatch) -> Caption:
        self.said += 1
        text = PAYLOADS[self.said % len(PAYLOADS)]
        return Caption(text, self.model, (int(clip.positions[0]),), (0,))


@dataclass(frozen=True)
class Stored:
    """A folder of videos and a root with everything derived from them."""

    videos: Path
    root: Path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder = tmp_path_factory.mktemp("names")
    videos, root = folder / "videos", folder / "root"
    videos.mkdir()
    make_videos(videos, NAMES, frames=4)
    (videos / BROKEN).write_text("no video")
    here = Workspace.at(str(videos), str(root))
    (batch,) = discover(here, Batching(batch_size=1000, max_wait_s=0), now=1e12).sealed
    assert len(batch.videos) == len(NAMES) + 1
    one = Workers(1)
    cut_clips(batch, here, WholeVideo(), workers=one)
    extract_batch(batch, [FEW], here, workers=one)
    embed_batch(BATCH, FEW, here, PerceptualEmbedding())
    measure_batch(BATCH, FEW, here, open_quality_provider("technical"))
    caption_batch(BATCH, FEW, here, Parrot())
    catalog_batch(BATCH, {"[few]": FEW}, here)
    return Stored(videos, root)


def printed(*command: object, codes: tuple[int, ...] = (0,)) -> str:
    """Return a command's output; check that it has no control characters and no traceback."""
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in codes, result.output
    assert not unseen(result.output), unseen(result.output)
    return result.output


def both(*command: object, codes: tuple[int, ...] = (0,)) -> tuple[str, Any]:
    """Run the command for a table and for a JSON document."""
    return printed(*command, codes=codes), json.loads(printed(*command, "--json", codes=codes))


def has_names(table: str, names: list[str] = NAMES) -> None:
    for name in names:
        assert fit_to_show(name).strip() in table, name


def test_lists(stored: Stored) -> None:
    table, rows = both("ls", stored.root, BATCH)
    has_names(table)
    assert {row["clip"].rpartition("#")[0] for row in rows} == set(NAMES)
    assert len(table.splitlines()) == len(NAMES) + 1
    both("ls", stored.root)


def test_extract_and_probe(stored: Stored, tmp_path: Path) -> None:
    uris = [stored.videos / name for name in NAMES[:6]]
    table, rows = both("probe", *uris)
    has_names(table, NAMES[:6])
    assert [row["uri"] for row in rows] == list(map(str, uris))
    table, _ = both("probe", stored.videos / BROKEN, f"{uris[0]}\x1b[31m", codes=(1,))
    has_names(table, [BROKEN, f"{NAMES[0]}\x1b[31m"])
    latin = os.fsencode(stored.videos) + b"/caf\xe9\x1b[31m.mp4"
    assert "caf\\xe9\\x1b[31m.mp4" in printed("probe", os.fsdecode(latin), codes=(1,))

    root = ("--root", tmp_path, "--processes", "1", "-s", "policy=first,target_res=24x32")
    table, _ = both("extract", *uris, stored.videos / BROKEN, *root, codes=(1,))
    has_names(table, [Path(name).name for name in [*NAMES[:6], BROKEN]])


def test_looks(stored: Stored, tmp_path: Path) -> None:
    sheet = tmp_path / "[red]\x1b[31msheet.jpg"
    assert "\\x1b[31msheet" in printed("show", stored.root, BATCH, FEW.key, "-o", sheet)
    blocks = CliRunner().invoke(main, ["show", str(stored.root), BATCH, FEW.key])
    assert not unseen(re.sub(r"\x1b\[[0-9;]*m", "", blocks.output))


def test_dry_runs(stored: Stored) -> None:
    both("estimate", stored.videos, "--sample", "3", "--processes", "1")
    both("dry-run", stored.root, "-s", "policy=first", "--embeddings", "provider=perceptual")


@pytest.mark.parametrize("name", NAMES[:8])
def test_lineage(stored: Stored, name: str) -> None:
    table, found = both("lineage", "video", stored.root, name)
    has_names(table, [name])
    (clip,) = {row["clip_id"] for row in found["frames"]}
    both("lineage", "frame", stored.root, BATCH, clip, 0)
    gone = printed("lineage", "video", stored.root, f"{name}\x1b[31m", codes=(1,))
    assert "\\x1b[31m" in gone


def test_lineage_of_rows(stored: Stored) -> None:
    table, _ = both("lineage", "rows", stored.root, "captions", BATCH)
    has_names(table)
    has_names(table, list(PAYLOADS))


def test_questions(stored: Stored) -> None:
    pytest.importorskip("duckdb")
    table, rows = both("sql", stored.root, "SELECT clip_id, text, model FROM captions")
    has_names(table)
    assert {row["text"] for row in rows} <= set(PAYLOADS)
    both("sql", stored.root)
    both("sql", stored.root, 'SELECT 1 AS "[/b]\x1b[31m"')
    wrong = printed("sql", stored.root, "SELECT '\x1b[31m' FRM [/b]", codes=(2,))
    assert "\\x1b[31m" in wrong


def test_housekeeping(stored: Stored, tmp_path: Path) -> None:
    both("verify", stored.root)
    both("gc", stored.root, "--grace-hours", "0")
    printed("export", stored.root, FEW.key, tmp_path / "[x]\x1b[31m", "--as", "images")
    both("pack", stored.root, FEW.key, tmp_path / "pack")
    both("prune", tmp_path / "pack")
    victim = next(stored.root.glob("frames/*/*/clips/*/*/frames/c/0/0/0/0"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1])
    both("verify", stored.root, "--deep", codes=(1,))
    victim.write_bytes(whole)


@pytest.mark.parametrize("text", [*PAYLOADS, "\udcff"])
def test_what_is_wrong_is_told_legibly(stored: Stored, text: str) -> None:
    """Covers invalid arguments, which a shell may have expanded from file names."""
    for command in (
        ("ls", f"{stored.root}/{text}"),
        ("ls", stored.root, text),
        ("ls", stored.root, BATCH, text),
        ("show", stored.root, BATCH, text),
        ("show", stored.root, text, FEW.key),
        ("retire", stored.root, text),
        ("lineage", "rows", stored.root, "captions", text),
        ("extract", "a.mp4", "--root", stored.root, "-s", text),
        ("ls", stored.root, "--root-option", text),
        ("ls", stored.root, f"--{text}"),
        (text,),
        (f"-{text}",),
    ):
        printed(*command, codes=(0, 1, 2))


def test_a_terminal_gets_nothing_but_the_head_in_bold(stored: Stored) -> None:
    """The test uses a real terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = "from frames_pipeline.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "ls", str(stored.root), BATCH],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"},
    ) as process:
        os.close(theirs)
        told = b"".join(_read(ours)).decode()
    assert process.returncode == 0, told
    assert set(re.findall(r"\x1b[^m]*m", told)) == {"\x1b[1m", "\x1b[0m"}
    assert not unseen(re.sub(r"\x1b\[[01]m", "", told).replace("\r\n", "\n"))


def _read(terminal: int) -> Iterator[bytes]:
    try:
        while part := os.read(terminal, 65536):
            yield part
    except OSError:  # on Linux, the other end is closed
        return
    finally:
        os.close(terminal)


def test_one_module_prints() -> None:
    """Output printed by another module would not be escaped."""
    prints = {"echo", "secho", "print", "Console", "stdout"}
    for path in Path(frames_pipeline.cli.__file__).parent.glob("*.py"):
        if path.name != "output.py":
            tree = ast.walk(ast.parse(path.read_text()))
            names = {getattr(node, "attr", getattr(node, "id", "")) for node in tree}
            assert not names & prints, path.name
