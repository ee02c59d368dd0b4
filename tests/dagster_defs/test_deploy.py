"""What is under `deploy/`: instances load, and a run's tags become what its launcher asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.tags import DOCKER_IMAGE_TAG

from dagster_defs import FramesComponent
from tests.libraries import need
from tests.test_docs import blocks

DEPLOY = Path("deploy")
MINIMAL = {
    "source": "videos",
    "root": "frames",
    "backfill": {"cron": "0 3 * * *"},
    "signatures": {"points": {"policy": "middle"}},
}


def documented() -> dict[str, Any]:
    """The `run_tags` of docs/operations/distributed.md."""
    [block] = [b for b in blocks("docs/operations/distributed.md", "yaml") if "run_tags" in b]
    return dict(yaml.safe_load(block)["attributes"]["run_tags"])


def tagged() -> dg.Definitions:
    return FramesComponent.model_validate(MINIMAL | {"run_tags": documented()}).definitions()


@pytest.mark.parametrize("name", ["local", "postgres", "ray"])
def test_an_instance_can_be_configured_by_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DEPLOY / name / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql+psycopg2://user:word@127.0.0.1/nothing")
    reference = InstanceRef.from_dir(str(tmp_path))
    settings: Mapping[str, Any] = reference.settings
    assert settings["telemetry"] == {"enabled": False}
    if name != "local":
        assert settings["run_monitoring"]["enabled"]
        assert settings["run_retries"]["max_retries"] >= 3
        assert not settings["run_retries"]["retry_on_asset_or_op_failure"]
    if name == "ray":  # its launcher puts the instance between single quotes of a shell
        assert "'" not in json.dumps(reference.to_dict())


def test_runs_that_decode_have_the_tags() -> None:
    definitions = tagged()
    for name, expected in {
        "process_batch": documented(),
        "extract_uris": documented(),
        "observe_videos": {},
        "retire_batch": {},
        "collect_garbage": {},
    }.items():
        tags = definitions.resolve_job_def(name).tags
        found = {key: json.loads(tags[key]) for key in documented() if key in tags}
        assert found == expected
    sensor = definitions.resolve_sensor_def("scheduled_backfill")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert {key: json.loads(sensor.run_tags[key]) for key in documented()} == documented()


def test_ray_is_asked_for_what_the_tags_say(monkeypatch: pytest.MonkeyPatch) -> None:
    need("dagster_ray")
    from dagster_ray import RayRunLauncher  # noqa: PLC0415
    from dagster_ray.core.run_launcher import RayLauncherConfig  # noqa: PLC0415

    said = yaml.safe_load((DEPLOY / "ray" / "dagster.yaml").read_text())["run_launcher"]
    assert said["class"] == RayRunLauncher.__name__
    monkeypatch.setenv("RAY_DASHBOARD_URL", "http://head:8265")
    config = process_config(resolve_to_config_type(RayRunLauncher.config_type()), said["config"])
    assert config.success, config.errors
    launcher = RayRunLauncher.from_config_value(None, config.value)
    assert (launcher.address, launcher.num_cpus) == ("http://head:8265", 1)

    asked = RayLauncherConfig.from_tags(tagged().resolve_job_def("process_batch").tags)
    assert (asked.num_cpus, asked.num_gpus, asked.memory) == (4, 1, 12_000_000_000)


def snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def as_the_chart_writes_it(values: Mapping[str, Any]) -> dict[str, Any]:
    """The launcher's configuration that Dagster's chart makes of its values."""
    config = {snake(key): value for key, value in values.items()}
    config["run_k8s_config"] = {snake(k): v for k, v in values["runK8sConfig"].items()}
    return config | {
        "service_account_name": "dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": "frames-pipeline-postgres",
        "job_namespace": "frames",
    }


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


def test_kubernetes_is_asked_for_what_the_tags_say(tmp_path: Path) -> None:
    """The job that the launcher would make; no cluster is asked."""
    need("dagster_k8s")
    from dagster_k8s import K8sRunLauncher  # noqa: PLC0415
    from dagster_k8s.job import construct_dagster_k8s_job  # noqa: PLC0415
    from kubernetes.client import ApiClient  # noqa: PLC0415

    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
    assert values["runLauncher"]["type"] == K8sRunLauncher.__name__
    said = as_the_chart_writes_it(values["runLauncher"]["config"]["k8sRunLauncher"])
    (tmp_path / "config").write_text(KUBECONFIG)
    said |= {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "config")}
    config = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), said)
    assert config.success, config.errors
    launcher = K8sRunLauncher.from_config_value(None, config.value)

    def job(tags: Mapping[str, str]) -> dict[str, Any]:
        run = dg.DagsterRun("process_batch", tags={**tags, DOCKER_IMAGE_TAG: "frames"})
        context = launcher.get_container_context_for_run(run)
        made = construct_dagster_k8s_job(
            job_config=context.get_k8s_job_config("frames", launcher),
            args=["dagster", "api", "execute_run"],
            job_name="run",
            user_defined_k8s_config=context.run_k8s_config,
        )
        return dict(ApiClient().sanitize_for_serialization(made))

    plain = job({})["spec"]
    [container] = plain["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == "4"
    assert plain["backoffLimit"] == 0
    with_gpu = job(tagged().resolve_job_def("process_batch").tags)["spec"]["template"]["spec"]
    [container] = with_gpu["containers"]
    assert container["resources"]["limits"] == {"memory": "20Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["requests"]["ephemeral-storage"] == "20Gi"
    assert "nodeSelector" in with_gpu
    assert [one["key"] for one in with_gpu["tolerations"]] == ["nvidia.com/gpu"]
