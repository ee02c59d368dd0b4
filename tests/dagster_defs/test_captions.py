"""Captions come from an endpoint: a real one on the loopback, which looks at what it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from dagster_defs.component import Captioning
from frames_pipeline import FrameExtractionSignature
from tests.dagster_defs.conftest import Project
from tests.dagster_defs.test_assets import metadata
from tests.models.vision_server import Reply, VisionServer, running_server

BATCH = "batch-000001"
SIGNATURE = FrameExtractionSignature(target_fps=1)


@pytest.fixture
def server() -> Iterator[VisionServer]:
    with running_server() as vision:
        yield vision


@pytest.fixture
def captioned(project: Project, server: VisionServer) -> Project:
    """The project, with an endpoint, and its frames made."""
    project.attributes["captioning"] = Captioning(
        signature="aesthetics",
        provider="openai",
        parameters={"base_url": server.url, "model": "stub-vl-7b", "max_retries": 0},
    )
    project.seal()
    return project


def test_every_clip_has_a_caption_and_says_what_the_model_was_shown(
    captioned: Project, server: VisionServer
) -> None:
    result = captioned.run()

    assert result.success
    assert metadata(result, "clip_captions")["ok_clips"] == 5
    rows = captioned.places.rows("captions", BATCH)
    assert [row["text"] for row in rows] == [f"{len(seen)} images" for seen in server.pictures]
    for row in rows:
        stored = captioned.places.store.read(BATCH, SIGNATURE, row["clip_id"])
        assert len(row["positions"]) == int(row["text"].split()[0])
        assert set(row["positions"]) <= set(stored.positions.tolist())
        assert row["frames_digest"] == stored.digest()
    catalog = {row["clip_id"]: row["caption"] for row in captioned.places.rows("catalog", BATCH)}
    assert catalog["a.mp4#0-24576"] == rows[0]["text"]


def test_a_run_again_asks_nothing(captioned: Project, server: VisionServer) -> None:
    captioned.run()
    asked = len(server.requests)
    again = captioned.run()

    assert metadata(again, "clip_captions")["clips_made_now"] == 0
    assert len(server.requests) == asked


def test_an_endpoint_that_fails_is_asked_again_for_what_it_owes(
    captioned: Project, server: VisionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is retried; clips that have their caption by then are not sent again."""
    monkeypatch.setattr("dagster_defs.retries.SECONDS_TO_WAIT", 0)
    server.replies += [Reply(status=503), Reply(status=503)]
    result = captioned.run()

    assert result.success
    retries = [event for event in result.all_events if event.is_step_up_for_retry]
    assert [event.step_key for event in retries] == ["clip_captions"]
    assert len(server.requests) == 5 + 2
    assert metadata(result, "clip_captions")["clips_made_now"] == 2


def test_without_an_endpoint_the_asset_says_what_to_set(project: Project) -> None:
    """It is not part of the job then; asked for alone it fails, and is not retried."""
    attributes = {"captioning": Captioning(signature="aesthetics", provider="openai")}
    project.seal()
    assert project.run(**attributes).success

    result = dg.materialize(
        [
            asset
            for asset in project.definitions(**attributes).assets or ()
            if isinstance(asset, dg.AssetsDefinition)
        ],
        selection=["clip_captions"],
        partition_key=BATCH,
        instance=project.instance,
        resources=project.definitions(**attributes).resources,
        raise_on_error=False,
    )
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "no captioning endpoint: set captioning.parameters.base_url" in str(
        failure.event_specific_data
    )
