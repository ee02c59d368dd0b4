"""The component over buckets: secrets come from the environment, and stay out of everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_defs import FramesComponent
from dagster_defs.attributes import Definition, Signature, Stride
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline import Workspace, discover
from frames_pipeline.sources.batches import Batching
from tests.s3 import QUICK, S3

ONE_PROCESS = {"resources": {"extraction": {"config": {"processes": 1}}}}


@pytest.fixture
def component(s3: S3, video: Path, monkeypatch: pytest.MonkeyPatch) -> FramesComponent:
    """One video in a bucket, sealed into a batch."""
    Objects(f"{s3.url}/videos", s3.options).put("a.mp4", video.read_bytes())
    workspace = Workspace.at(
        f"{s3.url}/videos", s3.url, source_options=s3.options, root_options=s3.options
    )
    discover(workspace, Batching(max_wait_s=0), now=1e12)
    monkeypatch.setenv("TEST_S3_KEY", s3.key)
    monkeypatch.setenv("TEST_S3_SECRET", s3.secret)
    options = {"endpoint_url": s3.endpoint, "config_kwargs": QUICK}
    secrets = {"key": "TEST_S3_KEY", "secret": "TEST_S3_SECRET"}
    return FramesComponent.model_validate(
        {
            "source": f"{s3.url}/videos",
            "root": s3.url,
            "source_options": options,
            "root_options": options,
            "source_secrets": secrets,
            "root_secrets": secrets,
            "clipping": Stride(kind="fixed_stride", min_clip_length_s=1),
            "signatures": {"embeddings": Signature(target_fps=2, target_res=[24, 32])},
            "embeddings": {"default": Definition(signature="embeddings", provider="perceptual")},
        }
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps everything in files."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        instance.add_dynamic_partitions("video_batch", ["batch-000001"])
        yield instance


def run(component: FramesComponent, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return (
        component.definitions()
        .resolve_job_def("process_batch")
        .execute_in_process(
            partition_key="batch-000001",
            instance=instance,
            run_config=ONE_PROCESS,
            raise_on_error=False,
        )
    )


@pytest.mark.live
def test_secrets_get_nowhere(
    component: FramesComponent,
    instance: dg.DagsterInstance,
    s3: S3,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not into logs, events, run storage, metadata, attributes, tables or any stored object."""
    assert run(component, instance).success
    s3.harm("error", code="AccessDenied", times=1000)
    assert not run(component, instance).success
    s3.heal()

    told = caplog.text + "".join(capfd.readouterr())
    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    bucket = Objects(s3.url, s3.options)
    stored = bucket.get_many(bucket.list())
    assert any(name.endswith(".db") for name in files)
    assert any("/commits/" in name for name in stored)
    for secret in (s3.key, s3.secret):
        assert secret not in told
        assert not [name for name, data in (files | stored).items() if secret.encode() in data]
        assert not [name for name in stored if secret in name]


@pytest.mark.parametrize(
    ("code", "retried"), [("SlowDown", True), ("AccessDenied", False), ("NoSuchBucket", False)]
)
@pytest.mark.live
def test_what_lasts_is_retried_by_dagster_if_it_may_pass(
    component: FramesComponent,
    instance: dg.DagsterInstance,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    retried: bool,
) -> None:
    """Throttling that outlasts the client's own tries repeats the step; a refusal ends the run."""
    monkeypatch.setattr("dagster_defs.retries.SECONDS_TO_WAIT", 0)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)
    harm = s3.harm("error", code=code, times=4, verb="PUT", inside="tables/clips")
    result = run(component, instance)
    assert result.success is retried
    restarts = [event for event in result.all_events if event.is_step_up_for_retry]
    assert len(restarts) == (2 if retried else 0)
    assert harm.done == (4 if retried else 1)


def test_a_secret_that_is_not_set_is_named(
    component: FramesComponent, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_S3_SECRET")
    result = run(component, instance)
    assert not result.success
    failures = [str(event.event_specific_data) for event in result.all_events if event.is_failure]
    assert "no environment variable TEST_S3_SECRET" in "".join(failures)
