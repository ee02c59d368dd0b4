"""Untrusted video names reach Dagster as text in tables, metadata and errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt

from dagster_defs.attributes import Stride
from dagster_defs.retries import retrying_transients
from frames_pipeline import StoreError
from frames_pipeline.text.plain import fit_to_show
from tests.dagster_defs.conftest import Project, project_of
from tests.payloads import PAYLOADS, as_key, unseen
from tests.videos import make_videos

NAMES = [as_key(text) for text in PAYLOADS[::3]]
BROKEN = "<img src=x onerror=alert(1)>[b]**x**\x1b[31m.mp4"
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Return a project of videos with these names, in one batch."""
    videos = tmp_path / "videos"
    videos.mkdir()
    make_videos(videos, NAMES, frames=30)
    (videos / BROKEN).write_text("no video")
    with dg.instance_for_test() as instance:
        made = project_of(videos, tmp_path / "root", instance)
        made.attributes |= {"clipping": Stride(kind="fixed_stride", min_clip_length_s=0)}
        yield made


def metadata_of(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, dg.MetadataValue[Any]]]:
    for event in result.all_events:
        found: Mapping[str, dg.MetadataValue[Any]] = {}
        if event.is_step_materialization:
            found = event.step_materialization_data.materialization.metadata
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data.metadata
        yield from found.items()


def test_names_are_text_in_metadata(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """Covers every table, and Markdown, also with damaged pictures."""
    caplog.set_level(logging.DEBUG)
    project.seal()
    assert project.run(selection=["videos", "clips", "clip_frames/embeddings"]).success
    for chunk in project.root.glob("frames/*/*/clips/*/*/frames/c/0/0/0/0"):
        chunk.write_bytes(chunk.read_bytes()[:-1])
    again = project.run(selection=["clip_frames/embeddings"])

    told, markdown = [], []
    for name, value in metadata_of(again):
        match value:
            case dg.TableMetadataValue(records=records):
                told += [str(cell) for record in records for cell in record.data.values()]
            case dg.MarkdownMetadataValue(md_str=str(text)):
                markdown.append(text)
            case dg.TextMetadataValue(text=text):
                told.append(str(text))
        told.append(name)
    assert not unseen("\n".join(told))
    assert not any("\n" in text for text in told)
    for name in (*NAMES, BROKEN):
        assert any(fit_to_show(name) in text for text in told), name

    assert markdown  # a damaged picture is a marked tile
    for text in markdown:
        inline = [child for token in MARKDOWN.parse(text) for child in token.children or ()]
        kinds = {child.type for child in inline}
        if text.startswith("No contact sheet: "):
            assert kinds <= {"text", "text_special"}, text
        else:  # a picture that holds its own bytes
            assert kinds == {"image"}
            assert str(inline[0].attrs["src"]).startswith("data:image/")
    for record in caplog.records:
        assert not unseen(record.getMessage().replace("\t", "")), record.getMessage()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_errors_are_text(payload: str) -> None:
    """Dagster stores and prints the text of an error and of each of its causes."""

    @dg.op
    def fail() -> None:
        with retrying_transients():
            cause = KeyError(payload)
            cause.__cause__ = ValueError(f"the server says {payload}")
            raise StoreError(f"cannot use {payload}") from cause

    @dg.job
    def failing() -> None:
        fail()

    result = failing.execute_in_process(raise_on_error=False)
    (event,) = [one for one in result.all_events if one.is_step_failure]
    info = event.step_failure_data.error
    while info is not None:
        assert not unseen(info.message), info.message
        if "errors.StoreError" in info.message or "Failure" in info.message:
            assert "forged: line" not in info.message.splitlines()
        assert info.context is None or not unseen(info.context.message)
        info = info.cause
