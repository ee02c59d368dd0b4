"""Ray's workers without Ray; `tests/cluster` has them on a cluster."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from dagster_defs.resources import ExtractionResource
from frames_pipeline import ConfigError
from frames_pipeline.workers.local import Workers
from frames_pipeline.workers.ray import RayWorkers


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'frames-pipeline\[ray\]'"):
        list(RayWorkers().map(len, ["abc"]))


@pytest.mark.parametrize(
    "wrong", [{"cpus": 0}, {"max_retries": -1}, {"processes": -1}, {"timeout_s": 0}]
)
def test_numbers_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}="):
        RayWorkers(**wrong)


def test_a_run_chooses_them() -> None:
    said: dict[str, Any] = {"processes": 8, "clip_timeout_s": 60.0, "worker_memory_bytes": 1 << 30}
    assert type(ExtractionResource(**said).workers) is Workers
    chosen = ExtractionResource(provider="ray", **said).workers
    assert chosen == RayWorkers(8, timeout_s=60.0, memory_bytes=1 << 30)
