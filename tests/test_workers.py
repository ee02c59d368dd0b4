"""A task that crashes or hangs takes nothing else along."""

from __future__ import annotations

import os
import signal
import time

import pytest

from frames_pipeline import (
    ConfigError,
    FramesPipelineError,
    NoFramesError,
    WorkerCrashedError,
    WorkerTimeoutError,
)
from frames_pipeline.workers import Workers


def work(task: str) -> str:
    match task:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "refuse":
            message = "nothing in it"
            raise NoFramesError(message)
        case "bug":
            message = "a bug"
            raise ZeroDivisionError(message)
    return task.upper()


def results(tasks: list[str], workers: Workers) -> dict[str, str | FramesPipelineError]:
    return dict(workers.map(work, tasks))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_task_has_a_result_or_a_typed_error(processes: int) -> None:
    tasks = ["a", "crash", "b", "refuse", "c", "d"]
    found = results(tasks, Workers(processes, timeout_s=60))

    assert sorted(found) == sorted(tasks)
    assert {found[task] for task in "abcd"} == {"A", "B", "C", "D"}
    assert isinstance(found["crash"], WorkerCrashedError)
    assert "exit code -9" in str(found["crash"])
    assert isinstance(found["refuse"], NoFramesError)


def test_a_task_that_hangs_is_killed() -> None:
    found = results(["hang", "a"], Workers(1, timeout_s=1))
    assert isinstance(found["hang"], WorkerTimeoutError)
    assert "killed after 1 s; raise timeout_s" in str(found["hang"])
    assert found["a"] == "A"


def test_a_bug_is_not_taken_for_an_outcome() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        results(["bug"], Workers(1))


def test_numbers_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="processes=-1 must be 0, for one per core"):
        Workers(-1)
    with pytest.raises(ConfigError, match="timeout_s=0 above 0"):
        Workers(timeout_s=0)
