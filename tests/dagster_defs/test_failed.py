"""Which batches failed, for those who run them again from a command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_defs.failed import failed_batches
from dagster_defs.names import Names
from tests.dagster_defs.conftest import Project

BIN = Path(sys.executable).parent


@pytest.mark.live
def test_only_what_failed_last_and_is_still_there(project: Project) -> None:
    (project.videos / "not-a-video.mp4").rename(project.videos / "z.mp4")
    project.seal()
    assert failed_batches(project.instance, Names()) == []

    project.run(max_failed_share=0)
    assert failed_batches(project.instance, Names()) == ["batch-000001"]
    project.observe()
    assert failed_batches(project.instance, Names()) == ["batch-000001"]
    project.run()
    assert failed_batches(project.instance, Names()) == []

    project.run(max_failed_share=0)
    project.instance.delete_dynamic_partition("video_batch", "batch-000001")
    assert failed_batches(project.instance, Names()) == []


@pytest.mark.live
def test_the_command_feeds_the_backfill_of_dagster(project: Project, tmp_path: Path) -> None:
    """As the documentation has it, on an instance that other processes open."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    env = os.environ | {
        "DAGSTER_HOME": str(home),
        "FRAMES_SOURCE": str(project.videos),
        "FRAMES_ROOT": str(project.root),
    }
    listing = [sys.executable, "-W", "ignore", "-m", "dagster_defs.failed"]
    none = subprocess.run(listing, env=env, capture_output=True, text=True, check=False)
    assert (none.returncode, none.stdout, none.stderr) == (1, "", "no batch failed\n")

    with dg.DagsterInstance.from_config(str(home)) as project.instance:
        project.seal()
        project.run(max_failed_share=0)
        found = subprocess.run(listing, env=env, capture_output=True, text=True, check=True)
        assert found.stdout == "batch-000001\n"
        backfill: list[str | Path] = [
            BIN / "dagster",
            "job",
            "backfill",
            "-j",
            "process_batch",
            "--noprompt",
        ]
        workspace: list[str | Path] = ["-w", Path("workspace.yaml").absolute()]
        partitions = ["-j", "process_batch", "--partitions", found.stdout.strip()]
        said = subprocess.run(
            [*backfill, *workspace, *partitions], env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        (run,) = project.instance.get_runs(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING])
        )
        assert run.tags["dagster/partition"] == "batch-000001"
