"""A workspace with one batch of small videos, sealed and cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from frames_pipeline.clipping import FixedStride
from frames_pipeline.pipeline import Workspace, cut_clips, discover
from frames_pipeline.sources.batches import Batching
from frames_pipeline.workers.local import Workers
from tests.videos import X264, make_video

BATCH = "batch-000001"
ONE = Workers(1)


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four videos of 2 s with numbered frames, the first from 0, the second from 100, …"""
    folder = tmp_path_factory.mktemp("footage")
    return [
        make_video(folder / f"{name}.mp4", frames=50, options=X264, first=100 * number)
        for number, name in enumerate("abcd")
    ]


@pytest.fixture
def workspace(tmp_path: Path, footage: list[Path]) -> Workspace:
    """Return a workspace that finds the four videos."""
    (tmp_path / "videos").mkdir()
    for path in footage:
        (tmp_path / "videos" / path.name).write_bytes(path.read_bytes())
    return Workspace.at(str(tmp_path / "videos"), str(tmp_path / "root"))


@pytest.fixture
def cut(workspace: Workspace) -> Workspace:
    """Return the workspace with one sealed batch, cut into clips of 1 s: two per video."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride(1, 1, 1), workers=ONE)
    return workspace
