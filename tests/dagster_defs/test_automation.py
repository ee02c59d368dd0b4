"""Scheduled backfill: at the tick only, what is missing or failed, and not too much at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from dagster_defs.attributes import Backfill
from frames_pipeline.pipeline import discover
from frames_pipeline.sources.batches import Batching
from tests.dagster_defs.conftest import Project, requested_by
from tests.suites import live_from

BEFORE = datetime(2026, 5, 1, 2, 50, tzinfo=UTC)
TICK = datetime(2026, 5, 1, 3, 1, tzinfo=UTC)
NEXT = datetime(2026, 5, 2, 3, 1, tzinfo=UTC)
NIGHTLY = "0 3 * * *"


class Clock:
    """Evaluates the project's sensor as the daemon does, at times of our choice."""

    def __init__(self, project: Project, **backfill: object) -> None:
        self._project = project
        self._backfill = Backfill(cron=NIGHTLY, **backfill)  # type: ignore[arg-type]
        self._cursor: AssetDaemonCursor | None = None
        self.requested_at(BEFORE)

    def requested_at(self, time: datetime) -> dict[str, list[str]]:
        """Partitions that are requested, by asset."""
        definitions = self._project.definitions(backfill=self._backfill)
        found, self._cursor = requested_by(
            definitions,
            "scheduled_backfill",
            self._project.instance,
            time=time,
            cursor=self._cursor,
        )
        return found


@pytest.fixture
def batches(project: Project) -> list[str]:
    """A batch per video."""
    found = discover(project.workspace, Batching(batch_size=1, max_wait_s=0), now=1e12)
    keys = [batch.key for batch in found.sealed]
    project.instance.add_dynamic_partitions("video_batch", keys)
    return keys


@pytest.mark.live
def test_nothing_is_asked_for_between_ticks(project: Project, batches: list[str]) -> None:
    clock = Clock(project)
    assert clock.requested_at(datetime(2026, 5, 1, 2, 55, tzinfo=UTC)) == {}
    assert clock.requested_at(TICK)["clips"] == batches
    assert clock.requested_at(datetime(2026, 5, 1, 3, 2, tzinfo=UTC)) == {}


@pytest.mark.live
def test_a_tick_asks_for_what_is_missing_or_failed_and_nothing_else(
    project: Project, batches: list[str]
) -> None:
    text = next(
        key for key in batches if "not-a-video.mp4" in project.workspace.batches.read(key).videos
    )
    assert all(project.run(key).success for key in batches if key not in (text, batches[0]))
    failed = project.run(text, max_failed_share=0)
    assert not failed.success

    requested = Clock(project).requested_at(TICK)
    assert {tuple(partitions) for partitions in requested.values()} == {(batches[0], text)}
    assert {"clips", "clip_frames/embeddings", "frame_quality", "clip_catalog"} <= set(requested)


@pytest.mark.live
def test_a_cap_leaves_the_rest_to_the_next_tick(project: Project, batches: list[str]) -> None:
    clock = Clock(project, max_partitions=2)
    assert clock.requested_at(TICK)["clips"] == batches[:2]
    for key in batches[:2]:
        project.run(key)
    assert clock.requested_at(NEXT)["clips"] == batches[2:4]


@pytest.mark.parametrize("stale", live_from(0, [True, False]))
def test_stale_batches_are_done_again_only_if_asked(project: Project, *, stale: bool) -> None:
    [batch] = project.seal()
    assert project.run().success
    clock = Clock(project, stale=stale)
    changed = project.run(selection=["videos", "clips"])
    assert changed.success
    requested = clock.requested_at(TICK)
    assert requested.get("clip_frames/embeddings", []) == ([batch] if stale else [])


def test_a_wrong_cron_is_answered_with_a_right_one() -> None:
    with pytest.raises(ValueError, match=r"'every night' is not a cron expression; '0 3 \* \* \*'"):
        Backfill(cron="every night")
