"""Run tasks on all nodes of a Ray cluster, for a batch that is too large for one machine.

    run ──▶ Ray task, on any node ──▶ process of `workers`, with its limits

The work runs in a process of `Workers` rather than in Ray's own, which serves task after task
without limits. A clip that crashes, hangs or fills the memory ends only that process, on any node,
and gives the same error as a local one. Ray repeats a task only if it lost the node or its own
process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from frames_pipeline.errors import (
    ClipFault,
    ConfigError,
    FramesPipelineError,
    TransientError,
    typed,
)
from frames_pipeline.workers.local import Workers

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RayWorkers(Workers):
    """Tasks on the nodes of a Ray cluster, and the limits of each.

    The limits are those of `Workers`, per task. Tasks contain locations, and credentials given as
    options: prefer credentials in the environment of the nodes.
    """

    processes: int = 0
    """Concurrent tasks over all nodes; 0: twice as many as fit on the cluster's cores."""
    address: str | None = None
    """Address of the cluster; `None`: that of the current Ray job."""
    cpus: float = 1.0
    """Cores that Ray reserves for a task."""
    max_retries: int = 3
    """Number of times that Ray repeats a task after losing its node or process."""

    def __post_init__(self) -> None:
        """Check that every number is in its range."""
        Workers.__post_init__(self)
        if self.cpus <= 0 or self.max_retries < 0:
            message = (
                f"cpus={self.cpus} must be above 0, and max_retries={self.max_retries} must be 0 "
            )
            raise ConfigError(f"{message}or more")

    def map(
        self,
        work: Callable[[T], R],
        tasks: Iterable[T],
        *,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        """Yield each task with its result or its error, in order of completion.

        Raises:
            ConfigError: Ray is not installed, or no cluster is found.
            TransientError: A task was lost with its node more than `max_retries` times.
        """
        ray = self._connect()
        remote = ray.remote(num_cpus=self.cpus, max_retries=self.max_retries)(_run_alone)
        alone = Workers(
            1,
            timeout_s=self.timeout_s,
            cpu_s=self.cpu_s,
            memory_bytes=self.memory_bytes,
            copies_bytes=self.copies_bytes,
        )
        at_a_time = self.processes or 2 * max(1, int(_cores(ray) / self.cpus))
        waiting = iter(tasks)
        running: dict[Any, T] = {}
        try:
            while True:
                for task in waiting:
                    running[remote.remote(work, task, alone, weight(task))] = task
                    if len(running) >= at_a_time:
                        break
                if not running:
                    return
                for done in ray.wait(list(running), num_returns=1)[0]:
                    task = running.pop(done)
                    yield task, _result(ray, done)
        finally:
            for left in running:
                ray.cancel(left, force=True)

    def _connect(self) -> Any:  # noqa: ANN401 - Ray is not typed here
        """Connect to the cluster; return the `ray` module."""
        try:
            import ray
        except ImportError as error:
            message = "Ray is not installed; pip install 'frames-pipeline[ray]'"
            raise ConfigError(message) from error
        if not ray.is_initialized():
            try:
                ray.init(address=self.address or "auto", log_to_driver=False)
            except ConnectionError as error:
                where = self.address or "the address of a Ray job"
                message = f"no Ray cluster at {where}; run it as a Ray job, or give an address"
                raise ConfigError(message) from error
        return ray


def _cores(ray: Any) -> float:  # noqa: ANN401
    return float(ray.cluster_resources().get("CPU", 1))


def _result(ray: Any, done: Any) -> Any:  # noqa: ANN401
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = typed(error.cause)
        if isinstance(cause, ClipFault):
            return cause
        raise cause from error
    except ray.exceptions.RayError as error:
        message = f"a task was lost with its node: {error}; run it again"
        raise TransientError(message) from error


def _run_alone(
    work: Callable[[T], R], task: T, alone: Workers, times: int
) -> R | FramesPipelineError:
    """Run one task on this node, in a process with limits."""
    # a worker imports its parent's main script, here Ray's, which would take half a second
    vars(sys.modules["__main__"]).pop("__file__", None)
    [(_, result)] = alone.map(work, [task], weight=lambda _: times)
    return result
