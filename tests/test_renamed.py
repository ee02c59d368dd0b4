"""Names of version 0.1 work for one release, with a warning."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from frames_pipeline import FrameStore, open_frames
from frames_pipeline._renamed import MODULES, old_parameters
from frames_pipeline.cli import main
from frames_pipeline.readers.packs import pack_frames
from tests.stored import SIGNATURE, fill


@pytest.mark.parametrize("old", MODULES)
def test_old_module_paths_give_the_new_modules(old: str) -> None:
    new = importlib.import_module(f"frames_pipeline.{MODULES[old]}")
    sys.modules.pop(f"frames_pipeline.{old}", None)
    with pytest.warns(DeprecationWarning, match=re.escape(new.__name__)):
        module = importlib.import_module(f"frames_pipeline.{old}")
    names = [name for name in vars(new) if not name.startswith("__")]
    assert names
    assert all(getattr(module, name) is getattr(new, name) for name in names)


def test_names_that_harnesses_rely_on_give_no_warning() -> None:
    code = """
from frames_pipeline.batches import Batching
from frames_pipeline.clips import FixedStride, Shots, WholeVideo
from frames_pipeline.workers import Workers
Batching, FixedStride, Shots, WholeVideo, Workers
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("old", "new"), [("Places", "Workspace"), ("Sight", "BlankReport"), ("Fit", "SignatureFit")]
)
def test_renamed_classes(old: str, new: str) -> None:
    pipeline = importlib.import_module("frames_pipeline.pipeline")
    with pytest.warns(DeprecationWarning, match=new):
        found = getattr(pipeline, old)
    assert found is getattr(pipeline, new)


def test_a_constant_that_a_field_replaces() -> None:
    pipeline = importlib.import_module("frames_pipeline.pipeline")
    with pytest.warns(DeprecationWarning, match=r"use DecodeReport\.copied_from"):
        assert pipeline.COPIED == "copied from "


def test_renamed_parameters_are_passed_on() -> None:
    @old_parameters(places="workspace")
    def work(batch: str, workspace: str) -> str:
        return batch + workspace

    with pytest.warns(DeprecationWarning, match=r"workspace=") as caught:
        found = work("a", places="b")  # type: ignore[call-arg]
    assert found == "ab"
    assert caught[0].filename == __file__


def test_unknown_names_are_attribute_errors() -> None:
    pipeline = importlib.import_module("frames_pipeline.pipeline")
    with pytest.raises(AttributeError, match="no attribute 'Nowhere'"):
        pipeline.Nowhere  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("frames_pipeline.nowhere")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CATALOG", "pipeline.catalog:CATALOG"),
        ("Lineage", "tables:FrameRef"),
        ("caption_rows", "pipeline.kinds.captions:caption_rows"),
        ("embedding_rows", "pipeline.kinds.embeddings:embedding_rows"),
        ("failed_caption_rows", "pipeline.kinds.captions:failed_caption_rows"),
        ("provider_parameters", "models:provider_parameters"),
        ("quality_rows", "pipeline.kinds.quality:quality_rows"),
    ],
)
def test_names_of_the_module_of_tables(old: str, new: str) -> None:
    tables = importlib.import_module("frames_pipeline.tables")
    module, _, name = new.partition(":")
    with pytest.warns(DeprecationWarning, match=f"{old} is .*{name} now"):
        found = getattr(tables, old)
    assert found is getattr(importlib.import_module(f"frames_pipeline.{module}"), name)


@pytest.mark.parametrize(("old", "new"), [("LINEAGE", "FRAME_COLUMNS"), ("Place", "ClipLocation")])
def test_names_of_the_module_of_stored_frames(old: str, new: str) -> None:
    stored_frames = importlib.import_module("frames_pipeline.readers.stored_frames")
    with pytest.warns(DeprecationWarning, match=f"{old} is {new} now"):
        found = getattr(stored_frames, old)
    assert found is getattr(stored_frames, new)


@pytest.mark.parametrize(
    ("old", "home"), [("Fault", "committed"), ("find_commit", "lookup"), ("commit_keys", "lookup")]
)
def test_names_of_the_reader_of_stores(old: str, home: str) -> None:
    reader = importlib.import_module("frames_pipeline.store.reader")
    with pytest.warns(DeprecationWarning, match=rf"{old} is .*{home}\.{old} now"):
        found = getattr(reader, old)
    assert found is getattr(importlib.import_module(f"frames_pipeline.store.{home}"), old)


def test_the_compression_of_a_store_by_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"FrameStore\(codec=…\) is compression= now"):
        store = FrameStore("memory://renamed", codec="none")  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=r"FrameStore\.codec is compression now"):
        assert store.codec == store.compression == "none"


def test_the_compression_of_a_pack_by_its_old_name(tmp_path: Path) -> None:
    fill(str(tmp_path / "store"))
    frames = open_frames(tmp_path / "store", signature=SIGNATURE)
    with pytest.warns(DeprecationWarning, match=r"pack_frames\(codec=…\) is compression= now"):
        pack_frames(frames, tmp_path / "pack", codec="none")  # type: ignore[call-arg]
    options = ["pack", str(tmp_path / "store"), SIGNATURE.key, str(tmp_path / "cli"), "--json"]
    done = CliRunner().invoke(main, [*options, "--codec", "none"])
    assert (done.exit_code, "use `--compression`" in done.stderr) == (0, True)
    again = CliRunner().invoke(main, [*options, "--compression", "none"])
    assert (json.loads(again.stdout)["parts_written"], again.stderr) == (0, "")
