"""What the documents say is true: snippets run, links lead somewhere, nothing is left out."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import yaml

from dagster_defs import FramesComponent
from dagster_defs.attributes import Definition
from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.pipeline.kinds import kind_of
from tests.libraries import need
from tests.settings import settings
from tests.videos import X264, make_video

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
LINK = re.compile(r"\[[^]]*\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (REPOSITORY / name).read_text(), re.DOTALL)


def sections(name: str) -> dict[str, str]:
    """The text under each heading of a document, as links name it."""
    parts = re.split(r"^#+ (.*)\n", (REPOSITORY / name).read_text(), flags=re.MULTILINE)[1:]
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in parts[::2]]
    return dict(zip(slugs, parts[1::2], strict=True))


def vars_of(provider: object) -> dict[str, Any]:
    """The parameters of a provider by name."""
    return {name: getattr(provider, name) for name in settings(type(provider))}


def test_snippets_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """README's, and then those of docs/reference/store.md, which go on from there."""
    make_video(tmp_path / "video.mp4", frames=75)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in [*blocks("README.md", "python"), *blocks("docs/reference/store.md", "python")]:
        exec(compile(block, "document", "exec"), names)
    told = capsys.readouterr().out
    assert "(7, 224, 224, 3)" in told
    assert names["clip"].digest() == names["whole"].digest()
    assert (names["pixels"] == names["whole"].frames).all()
    assert (names["at_1s"].values == names["whole"].frames[2]).all()
    assert names["store"].verify("my-batch").ok


@pytest.mark.live
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first line to its last, in a shell and in Python; then Dagster takes it up."""
    (tmp_path / "videos").mkdir()
    for number, name in enumerate(("one.mp4", "two.mp4")):
        make_video(tmp_path / "videos" / name, frames=50, options=X264, first=100 * number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    text = (REPOSITORY / "docs" / "start" / "tutorial.md").read_text()
    names: dict[str, Any] = {}
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, "tutorial", "exec"), names)
        else:
            done = subprocess.run(
                ["bash", "-euc", block], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000

    [document] = map(yaml.safe_load, blocks("docs/start/tutorial.md", "yaml"))
    job = FramesComponent.model_validate(document["attributes"]).definitions()
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("video_batch", ["batch-000001"])
        result = job.resolve_job_def("process_batch").execute_in_process(
            instance=instance,
            partition_key="batch-000001",
            asset_selection=[
                dg.AssetKey(key) for key in ("videos", "clips", ["clip_frames", "dense"])
            ],
        )
        (made,) = result.asset_materializations_for_node("clip_frames")
        assert made.metadata["clips_decoded_now"].value == 0
        assert made.metadata["clips"].value == 4


def test_components_and_run_config_are_taken() -> None:
    """Those of README.md and docs/reference/configuration.md load, and their runs can be set up."""
    [mine] = map(yaml.safe_load, blocks("README.md", "yaml"))
    assert FramesComponent.model_validate(mine["attributes"]).definitions().assets
    documents = blocks("docs/reference/configuration.md", "yaml")
    [component, run_config] = map(yaml.safe_load, documents)
    definitions = FramesComponent.model_validate(component["attributes"]).definitions()
    assert dg.validate_run_config(definitions.resolve_job_def("process_batch"), run_config)


def test_captionings_of_the_documents_are_taken() -> None:
    """Those of docs/guides/captions.md are of known providers, with parameters that they have."""
    for block in blocks("docs/guides/captions.md", "yaml"):
        for name, said in yaml.safe_load(block)["captions"].items():
            opened = Definition.model_validate(said).open(kind_of("captions"), name)
            assert said["parameters"].items() <= vars_of(opened).items()


def test_snippets_of_readers_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of docs/guides/readers.md, which go on from the start page's."""
    need("torch")
    make_video(tmp_path / "video.mp4", frames=75)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    start = blocks("docs/index.md", "python")
    for block in [*start, *blocks("docs/guides/readers.md", "python")]:
        exec(compile(block, "document", "exec"), names)
    told = capsys.readouterr().out
    assert "1 7 ('my-batch',) ['video.mp4']" in told
    assert "(2, 224, 224, 3) [25 37] [1.   1.48]" in told
    assert "torch.Size([2, 4, 224, 224, 3])" in told
    assert "{'FrameExtractionPolicy.sequence-2000': (7, 224, 224, 3)}" in told
    assert names["second"].positions.tolist() == [25, 37]


def test_snippets_of_own_models_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The provider is taken by name, and the decoder decodes."""
    provider, decoder = blocks("docs/guides/own-models.md", "python")
    (tmp_path / "my_models.py").write_text(provider)
    make_video(tmp_path / "video.mp4", frames=75)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    [said] = map(yaml.safe_load, blocks("docs/guides/own-models.md", "yaml"))
    [chosen] = said["embeddings"].values()
    made = open_embedding_provider(chosen["provider"], **chosen["parameters"])
    vectors = made.embed(np.zeros((2, 4, 4, 3), np.uint8))
    assert vectors.shape == (2, made.dimensions)

    exec(compile(decoder, "document", "exec"), {})
    frames, name = capsys.readouterr().out.split()
    assert int(frames) > 0
    assert name == "counting"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        path = document.parent / target.strip() if target else document
        assert path.exists(), target
        if anchor:
            assert anchor in sections(str(path.relative_to(REPOSITORY))), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_modules_that_are_named_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # of the past
    text = document.read_text()
    for path in re.findall(r"\b(?:tests|frames_pipeline|dagster_defs)/[\w/]+\.py", text):
        assert (REPOSITORY / path).exists(), path
    for dotted in re.findall(r"(?<!from )\bframes_pipeline(?:\.\w+)+", text):
        assert pkgutil.resolve_name(dotted) is not None, dotted


def test_every_reason_is_in_the_documents() -> None:
    def family(kind: type[FramesPipelineError]) -> Iterator[type[FramesPipelineError]]:
        yield kind
        for below in kind.__subclasses__():
            yield from family(below)

    text = (REPOSITORY / "docs" / "reference" / "outcomes.md").read_text()
    for kind in family(FramesPipelineError):
        if kind.__module__.startswith("frames_pipeline"):
            assert f"| `{kind.reason}` | `{kind.__name__}` |" in text


def test_every_target_is_in_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for document in DOCUMENTS:
        text = document.read_text()
        named = re.findall(r"(?:^    |`)make +([a-z-]+)", text, re.MULTILINE)
        assert set(named) <= set(targets), document
