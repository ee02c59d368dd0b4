"""Captions come from an endpoint: a real one on the loopback, which looks at what it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dagster_defs.attributes import Definition
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.captioning import Caption, CaptionError
from frames_pipeline.models.endpoint_captioning import OpenAIVisionProvider
from frames_pipeline.pipeline import DerivedReport, kind_of
from frames_pipeline.pipeline.kinds.captions import caption_rows, failed_caption_rows
from frames_pipeline.tables import FrameRef, TableInfo
from tests.dagster_defs.conftest import Project
from tests.dagster_defs.test_assets import metadata
from tests.libraries import need
from tests.models.frame_batches import flat_frames, frame_batch
from tests.models.tiny_models import make_idefics3
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
    project.attributes["captions"] = {
        "default": Definition(
            signature="aesthetics",
            provider="openai",
            parameters={"base_url": server.url, "model": "stub-vl-7b", "max_retries": 0},
        )
    }
    project.seal()
    return project


def test_every_clip_has_a_caption_and_says_what_the_model_was_shown(
    captioned: Project, server: VisionServer
) -> None:
    result = captioned.run()

    assert result.success
    assert metadata(result, "clip_captions")["ok_clips"] == 5
    rows = captioned.workspace.rows("captions", BATCH)
    assert sorted(row["text"] for row in rows) == sorted(
        f"{len(seen)} images" for seen in server.pictures
    )
    for row in rows:
        stored = captioned.workspace.store.read(BATCH, SIGNATURE, row["clip_id"])
        assert len(row["positions"]) == int(row["text"].split()[0])
        assert set(row["positions"]) <= set(stored.positions.tolist())
        assert row["frames_digest"] == stored.digest()
    catalog = {row["clip_id"]: row["caption"] for row in captioned.workspace.rows("catalog", BATCH)}
    assert catalog["a.mp4#0-24576"] == rows[0]["text"]


def test_no_cost_is_claimed_where_tokens_are_not_counted() -> None:
    """One of two answers says what it took; the cost of both is not known."""
    provider = OpenAIVisionProvider(
        base_url="http://localhost:8000/v1",
        model="m",
        price_per_million_prompt_tokens=2.5,
        price_per_million_completion_tokens=10,
    )
    lineage = FrameRef.of(
        frame_batch(flat_frames((0, 0, 0))), batch=BATCH, clip_id="a", signature=SIGNATURE.key
    )
    counted = Caption("A cat.", "m", (0,), (0,), prompt_tokens=321, completion_tokens=12)
    uncounted = Caption("A cat.", "m", (0,), (0,))
    failed = failed_caption_rows(lineage, CaptionError("no text"), provider=provider)

    def said(*captions: Caption) -> dict[str, Any]:
        rows = [caption_rows(lineage, caption, provider=provider) for caption in captions]
        table = pa.concat_tables([*rows, failed])
        report = DerivedReport(
            TableInfo("part-00000.parquet", rows=len(table), bytes=1, digest="d"),
            table,
            made=len(table),
            kept=0,
            new=table,
            device="endpoint",
            made_from="frames",
        )
        return dict(kind_of("captions").asset.facts(report, provider))

    both = said(counted, uncounted)
    assert (both["captions_without_token_counts"], both["prompt_tokens"]) == (1, 321)
    assert "cost" not in both
    assert said(counted)["cost"] == pytest.approx((321 * 2.5 + 12 * 10) / 1e6, abs=1e-6)
    assert not {"cost", "prompt_tokens", "completion_tokens"} & said(uncounted).keys()


def test_what_decides_only_how_fast_is_no_other_code(project: Project) -> None:
    """Nor what decides where and at what price."""

    def version(**parameters: Any) -> str | None:
        url = {"base_url": "http://localhost:8000/v1", "model": "m"}
        captions = {
            "default": Definition(
                signature="aesthetics", provider="openai", parameters=url | parameters
            )
        }
        versions = {
            key: code_version
            for asset in project.definitions(captions=captions).assets or ()
            if isinstance(asset, dg.AssetsDefinition)
            for key, code_version in asset.code_versions_by_key.items()
        }
        return versions[dg.AssetKey("clip_captions")]

    assert version() == version(concurrency=8, requests_per_minute=9, timeout=1, max_retries=1)
    assert version() == version(
        price_per_million_prompt_tokens=1, price_per_million_completion_tokens=2
    )
    assert version() != version(prompt="Who is it?")


@pytest.mark.live
def test_a_local_model_says_where_it_ran(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("torch", "transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    project.seal()
    local = Definition(
        signature="aesthetics",
        provider="transformers",
        parameters={
            "model": str(make_idefics3(tmp_path / "tiny")),
            "max_new_tokens": 4,
            "device": "cpu",
        },
    )
    said = metadata(project.run(captions={"default": local}), "clip_captions")
    assert (said["ok_clips"], said["device"]) == (5, "cpu")
    assert isinstance(said["completion_tokens"], int)
    assert said["completion_tokens"] <= 5 * 4
    assert "cost" not in said
    row = project.workspace.rows("captions", BATCH)[0]
    assert len(json.loads(row["provider_parameters"])["model_sha256"]) == 64


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"model": "HuggingFaceTB/SmolVLM-256M-Instruct"}, "pin its commit"),
        ({"model": "owner/name", "model_revision": "main"}, "is not a commit"),
        ({"model": "owner/name", "api_key": "k"}, "unexpected keyword argument 'api_key'"),
    ],
)
def test_a_model_that_is_not_pinned_does_not_load(
    project: Project, parameters: dict[str, Any], complaint: str
) -> None:
    local = Definition(signature="aesthetics", provider="transformers", parameters=parameters)
    with pytest.raises(ValueError, match=complaint):
        project.definitions(captions={"default": local})


@pytest.mark.live
def test_a_run_says_what_it_cost_and_a_run_again_asks_nothing(
    captioned: Project, server: VisionServer
) -> None:
    """By the endpoint's counts, 321 and 12 tokens a clip."""
    captioned.attributes["captions"]["default"].parameters.update(
        price_per_million_prompt_tokens=2.5, price_per_million_completion_tokens=10
    )
    said = metadata(captioned.run(), "clip_captions")
    assert (said["prompt_tokens"], said["completion_tokens"]) == (5 * 321, 5 * 12)
    assert said["cost"] == pytest.approx(5 * (321 * 2.5 + 12 * 10) / 1e6, abs=1e-6)
    assert (said["captions_without_token_counts"], said["device"]) == (0, "endpoint")

    asked = len(server.requests)
    again = metadata(captioned.run(), "clip_captions")
    assert (again["clips_made_now"], again["prompt_tokens"], again["cost"]) == (0, 0, 0)
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
    attributes: dict[str, Any] = {
        "captions": {"default": Definition(signature="aesthetics", provider="openai")}
    }
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
    assert "cannot run; set captions.default.parameters.base_url: the root of" in str(
        failure.event_specific_data
    )
