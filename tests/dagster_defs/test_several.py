"""Several components in one code location: nothing of theirs is shared or mixed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import zarr

from dagster_defs.failed import failed_batches
from dagster_defs.names import Names
from frames_pipeline.pipeline import Workspace
from tests.dagster_defs.conftest import requested_by
from tests.dagster_defs.test_component import loaded as loaded_project
from tests.dagster_defs.test_component import other_project
from tests.videos import X264, make_video, numbers_in

BATCH = "batch-000001"
DEFS = """
type: dagster_defs.FramesComponent
attributes:{name}
  source: {source}
  root: {root}
  batching: {{max_wait_s: 1}}
  clipping: {{kind: whole}}
  extraction: {{processes: 1}}
  max_failed_share: {max_failed_share}
  backfill: {{cron: "0 3 * * *"}}
  garbage_collection: {{cron: "0 6 * * 0"}}
  signatures:
    points: {{policy: middle}}
  embeddings: {{default: {{signature: points, provider: perceptual}}}}
"""
ASSETS = {"videos", "clips", "clip_frames/points", "frame_embeddings", "clip_catalog"}
BEFORE = datetime(2026, 5, 1, 2, 50, tzinfo=UTC)
TICK = datetime(2026, 5, 1, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Component:
    """A component of the project: cars, without a name, or birds."""

    folder: Path
    name: str

    @property
    def source(self) -> Path:
        return self.folder / f"{self.name or 'cars'}-videos"

    @property
    def root(self) -> Path:
        return self.folder / f"{self.name or 'cars'}-frames"

    @property
    def names(self) -> Names:
        return Names(self.name)

    @property
    def workspace(self) -> Workspace:
        return Workspace.at(str(self.source), str(self.root))

    def document(self, **values: object) -> str:
        name = f"\n  name: {self.name}" if self.name else ""
        said = {"source": self.source, "root": self.root, "max_failed_share": 0.5} | values
        return DEFS.format(name=name, **said)

    def make_video(self, name: str, *, first: int) -> None:
        self.source.mkdir(exist_ok=True)
        path = make_video(self.source / name, frames=25, options=X264, first=first)
        os.utime(path, (time.time() - 120,) * 2)


@pytest.fixture
def cars(tmp_path: Path) -> Component:
    component = Component(tmp_path, "")
    component.make_video("a.mp4", first=100)
    return component


@pytest.fixture
def birds(tmp_path: Path) -> Component:
    component = Component(tmp_path, "birds")
    component.make_video("a.mp4", first=200)
    component.make_video("b.mp4", first=300)
    return component


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def project_of(folder: Path, *documents: str) -> Path:
    """A project with a defs.yaml for each document."""
    made = other_project(folder / "project", documents[0])
    for number, document in enumerate(documents[1:]):
        path = made / "other" / "defs" / f"more_{number}" / "defs.yaml"
        path.parent.mkdir()
        path.write_text(document)
    return made


def tick(
    definitions: dg.Definitions, names: Names, instance: dg.DagsterInstance
) -> dg.SensorResult:
    """Run a component's sensor once, and add the partitions that it asks for."""
    sensor, workspace = names.of("video_batches"), names.of("workspace")
    repository = definitions.get_repository_def()
    resource = repository.get_top_level_resources()[workspace]
    context = dg.build_sensor_context(instance=instance, resources={workspace: resource})
    result = repository.get_sensor_def(sensor)(context)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or ():
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result


def run(
    definitions: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    *,
    partition: str | None = None,
    **ops: Mapping[str, object],
) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(
        partition_key=partition,
        instance=instance,
        run_config={"ops": {op: {"config": config} for op, config in ops.items()}},
        raise_on_error=False,
    )


def stored_numbers(root: Path) -> set[int]:
    """The numbers of all frames that are stored under a root, opened with plain Zarr."""
    arrays = [zarr.open_array(path, mode="r") for path in root.glob("frames/*/*/clips/*/*/frames")]
    return {number for array in arrays for number in numbers_in(np.asarray(array[:]))}


def test_two_components_work_side_by_side(
    cars: Component, birds: Component, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(cars.folder, cars.document(), birds.document())
    definitions = loaded_project(project, monkeypatch)
    dg.Definitions.validate_loadable(definitions)

    made: dict[str, set[str]] = {}
    for component in (cars, birds):
        found = tick(definitions, component.names, instance)
        (request,) = found.run_requests or ()
        assert request.job_name == component.names.of("process_batch")
        result = run(definitions, request.job_name, instance, partition=request.partition_key)
        assert result.success
        events = result.get_asset_materialization_events()
        made[component.name] = {e.asset_key.to_user_string() for e in events if e.asset_key}
        checks = result.get_asset_check_evaluations()
        assert checks
        assert all(component.names.owns(check.asset_key) for check in checks)
        again = tick(definitions, component.names, instance)
        assert not again.run_requests

    assert made == {"": ASSETS, "birds": {f"birds/{key}" for key in ASSETS}}
    assert cars.workspace.batches.read(BATCH).videos == ("a.mp4",)
    assert birds.workspace.batches.read(BATCH).videos == ("a.mp4", "b.mp4")
    assert stored_numbers(cars.root) == {112}
    assert stored_numbers(birds.root) == {212, 312}
    assert len(cars.workspace.rows("catalog", BATCH)) == 1
    assert len(birds.workspace.rows("catalog", BATCH)) == 2


def test_nothing_in_the_code_location_is_shared(
    cars: Component, birds: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(cars.folder, cars.document(), birds.document())
    repository = loaded_project(project, monkeypatch).get_repository_def()
    graph = repository.asset_graph
    named = {
        *(name for name in repository.job_names if not name.startswith("__ASSET_JOB")),
        *(sensor.name for sensor in repository.sensor_defs),
        *(schedule.name for schedule in repository.schedule_defs),
        *repository.get_top_level_resources(),
        *(graph.get(key).group_name for key in graph.get_all_asset_keys()),
        *(graph.get(key).partitions_def.name for key in graph.get_all_asset_keys()),  # type: ignore[union-attr]
        *(pool for key in graph.get_all_asset_keys() for pool in graph.get(key).pools or ()),
    }
    of_birds = {name for name in named if name.startswith("birds_")}
    assert of_birds == {f"birds_{name}" for name in named - of_birds}
    assert {"workspace", "decode", "frames", "video_batch", "free_room"} <= named


@pytest.mark.live
def test_the_clock_and_the_collector_know_their_own(
    cars: Component, birds: Component, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(cars.folder, cars.document(), birds.document(max_failed_share=0))
    definitions = loaded_project(project, monkeypatch)
    (birds.source / "b.mp4").write_text("no video")
    os.utime(birds.source / "b.mp4", (time.time() - 120,) * 2)
    for component in (cars, birds):
        tick(definitions, component.names, instance)
    assert run(definitions, "process_batch", instance, partition=BATCH).success
    assert not run(definitions, "birds_process_batch", instance, partition=BATCH).success
    assert failed_batches(instance, Names("birds")) == [BATCH]
    assert failed_batches(instance, Names()) == []

    for component, expected in ((cars, set()), (birds, {f"birds/{key}" for key in ASSETS})):
        sensor = component.names.of("scheduled_backfill")
        _, cursor = requested_by(definitions, sensor, instance, time=BEFORE)
        due, _ = requested_by(definitions, sensor, instance, time=TICK, cursor=cursor)
        assert set(due) == expected

    withdraw = {"birds_retire": {"withdraw": True}}
    assert run(definitions, "birds_retire_batch", instance, partition=BATCH, **withdraw).success
    assert instance.get_dynamic_partitions("video_batch") == [BATCH]
    assert instance.get_dynamic_partitions("birds_video_batch") == []
    collect = {"delete": True, "grace_hours": 0}
    assert run(definitions, "birds_collect_garbage", instance, birds_collect=collect).success
    assert run(definitions, "collect_garbage", instance, collect=collect).success
    assert stored_numbers(birds.root) == set()
    assert stored_numbers(cars.root) == {112}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({}, "have the name 'birds'; give one of them another `name`"),
        ({"name": ""}, "have no `name`; give one of them another `name`"),
        ({"name": "cars"}, "have the root .*birds-frames; give one of them another `root`"),
    ],
)
def test_components_with_one_name_or_root_are_refused(
    birds: Component, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], match: str
) -> None:
    first = birds.document()
    if values.get("name") == "":
        first = first.replace("\n  name: birds", "")
    second = first.replace("name: birds", f"name: {values.get('name', 'birds')}")
    project = project_of(birds.folder, first, second.replace("birds-videos", "cars-videos"))
    with pytest.raises(Exception, match=r"more_0|frames") as caught:
        loaded_project(project, monkeypatch)
    cause = caught.value.__cause__
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    with pytest.raises(Exception, match=match):
        raise cause or caught.value


def test_a_pool_may_be_shared(
    cars: Component, birds: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = birds.document() + "  decoder: {pool: decode}\n"
    project = project_of(cars.folder, cars.document(), shared)
    graph = loaded_project(project, monkeypatch).get_repository_def().asset_graph
    pools = [graph.get(c.names.frames("points")).pools for c in (cars, birds)]
    assert pools == [{"decode"}, {"decode"}]
