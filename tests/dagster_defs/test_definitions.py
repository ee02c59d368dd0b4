"""What the project's own definitions hold, spelled out."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_defs.checks import CHECKS
from dagster_defs.definitions import defs


def test_the_asset_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMES_CAPTION_URL", "http://127.0.0.1:8000/v1")
    repository = defs().get_repository_def()
    graph = repository.asset_graph
    parents = {
        key.to_user_string(): sorted(p.to_user_string() for p in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "videos": [],
        "clips": ["videos"],
        "clip_frames/embeddings": ["clips"],
        "clip_frames/aesthetics": ["clips"],
        "clip_frames/captions": ["clips"],
        "frame_embeddings": ["clip_frames/embeddings"],
        "frame_quality": ["clip_frames/aesthetics"],
        "clip_captions": ["clip_frames/captions"],
        "clip_catalog": [
            "clip_captions",
            "clip_frames/aesthetics",
            "clip_frames/captions",
            "clip_frames/embeddings",
            "frame_embeddings",
            "frame_quality",
        ],
    }
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == {
        "ingest",
        "frames",
        "downstream",
    }
    assert all(graph.get(key).is_partitioned for key in graph.get_all_asset_keys())
    assert len(graph.asset_check_keys) == 3 * len(CHECKS)


def test_without_an_endpoint_the_catalog_does_not_wait_for_captions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FRAMES_CAPTION_URL", raising=False)
    graph = defs().get_repository_def().asset_graph
    captions = dg.AssetKey("clip_captions")
    assert graph.has(captions)
    assert captions not in graph.get(dg.AssetKey("clip_catalog")).parent_keys


def test_definitions_can_be_loaded_and_run() -> None:
    dg.Definitions.validate_loadable(defs())
    repository = defs().get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "video_batches",
        "scheduled_backfill",
    }
    assert repository.has_job("process_batch")
