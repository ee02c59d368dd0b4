"""A small project: three real videos and a text file, in their own folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from dagster_defs import FramesComponent
from dagster_defs.attributes import Definition, Signature, Stride
from frames_pipeline.pipeline import Workspace, discover
from frames_pipeline.sources.batches import Batching
from tests.videos import X264, make_video

ONE_PROCESS = {"resources": {"extraction": {"config": {"processes": 1}}}}


@dataclass
class Project:
    """A component over some videos, and a Dagster instance."""

    videos: Path
    root: Path
    instance: dg.DagsterInstance
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        return Workspace.at(str(self.videos), str(self.root))

    def definitions(self, **attributes: object) -> dg.Definitions:
        return FramesComponent.model_validate(self.attributes | attributes).definitions()

    def seal(self) -> list[str]:
        """Seal all waiting videos, and add the partitions."""
        found = discover(self.workspace, Batching(max_wait_s=0), now=1e12)
        keys = [batch.key for batch in found.sealed]
        self.instance.add_dynamic_partitions("video_batch", keys)
        return keys

    def run(
        self,
        batch: str = "batch-000001",
        *,
        selection: list[str] | None = None,
        config: Mapping[str, object] | None = None,
        **attributes: Any,
    ) -> dg.ExecuteInProcessResult:
        """Run the job for a batch, or a part of it."""
        job = self.definitions(**attributes).resolve_job_def("process_batch")
        keys = [dg.AssetKey.from_user_string(key) for key in selection] if selection else None
        return job.execute_in_process(
            partition_key=batch,
            instance=self.instance,
            run_config=config if config is not None else ONE_PROCESS,
            asset_selection=keys,
            raise_on_error=False,
        )

    def observe(self, batch: str = "batch-000001") -> None:
        """Run the job that observes a batch's videos."""
        job = self.definitions().resolve_job_def("observe_videos")
        assert job.execute_in_process(partition_key=batch, instance=self.instance).success

    def stale(self, batch: str = "batch-000001", **attributes: Any) -> set[str]:
        """Return the assets that the UI shows as stale for a batch."""
        graph = self.definitions(**attributes).get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(
            self.instance, graph, LoadingContextForTest(self.instance)
        )
        return {
            key.to_user_string()
            for key in graph.materializable_asset_keys
            if resolver.get_status(key, batch) == StaleStatus.STALE
        }


@pytest.fixture
def videos(tmp_path: Path, video: Path, video_25s: Path) -> Path:
    """Return a folder with three good videos and a text file named as a video."""
    return make_videos(tmp_path / "videos", video, video_25s)


def requested_by(
    definitions: dg.Definitions,
    sensor_name: str,
    instance: dg.DagsterInstance,
    *,
    time: datetime,
    cursor: AssetDaemonCursor | None = None,
) -> tuple[dict[str, list[str]], AssetDaemonCursor]:
    """Partitions that an automation sensor requests, by asset, and its cursor then."""
    [sensor] = [s for s in definitions.sensors or () if s.name == sensor_name]
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    keys = sensor.asset_selection.resolve(definitions.get_repository_def().asset_graph)
    with_condition = dg.Definitions(
        assets=[
            asset.map_asset_specs(
                lambda spec: (
                    spec.replace_attributes(automation_condition=sensor.default_condition)
                    if spec.key in keys
                    else spec
                )
            )
            for asset in definitions.assets or ()
            if isinstance(asset, dg.AssetsDefinition)
        ],
        resources=definitions.resources,
    )
    result = dg.evaluate_automation_conditions(
        with_condition, instance, evaluation_time=time, cursor=cursor
    )
    found = {
        key.to_user_string(): sorted(filter(None, result.get_requested_partitions(key)))
        for key in keys
    }
    return {key: partitions for key, partitions in found.items() if partitions}, result.cursor


def make_videos(folder: Path, video: Path, video_25s: Path) -> Path:
    """Make a folder with three good videos and a text file named as a video."""
    (folder / "deep").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(video.read_bytes())
    (folder / "deep" / "b.mp4").write_bytes(video_25s.read_bytes())
    make_video(folder / "c.ts", frames=75, options=X264, first=1000)
    (folder / "not-a-video.mp4").write_text("hello")
    return folder


@pytest.fixture
def project(tmp_path: Path, videos: Path) -> Iterator[Project]:
    """Yield the project; its videos are in no batch yet."""
    with dg.instance_for_test() as instance:
        yield project_of(videos, tmp_path / "root", instance)


def project_of(videos: Path, root: Path, instance: dg.DagsterInstance) -> Project:
    """Return a project with two signatures, embeddings and quality measures."""
    return Project(
        videos,
        root,
        instance,
        {
            "source": str(videos),
            "root": str(root),
            "clipping": Stride(kind="fixed_stride", min_clip_length_s=1),
            "signatures": {
                "embeddings": Signature(target_fps=2, target_res=[24, 32]),
                "aesthetics": Signature(target_fps=1),
            },
            "embeddings": {"default": Definition(signature="embeddings", provider="perceptual")},
            "quality": {"default": Definition(signature="aesthetics", provider="technical")},
        },
    )
