"""Work in killable processes: a clip that crashes or hangs its decoder takes nothing else along.

Processes come from a fork server, which has the libraries loaded and no threads or connections of
its own, so a new one costs milliseconds and inherits nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Final, TypeVar

from pebble import ProcessExpired, ProcessPool

from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    WorkerCrashedError,
    WorkerTimeoutError,
)

T = TypeVar("T")
R = TypeVar("R")

_PRELOAD: Final = ["frames_pipeline.pipeline.work"]
_AHEAD: Final = 2
"""Tasks in flight per process: one that runs, one that waits for it."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many processes, and how long one task may take."""

    processes: int = 0
    """Number of processes; 0: one per core that this process may use."""
    timeout_s: float = 3600.0
    """Wall-clock seconds after which a task is killed."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if self.processes < 0 or self.timeout_s <= 0:
            message = f"processes={self.processes} must be 0, for one per core, or above, and "
            raise ConfigError(f"{message}timeout_s={self.timeout_s} above 0")

    @property
    def count(self) -> int:
        """Number of processes that are used."""
        return self.processes or len(os.sched_getaffinity(0))

    def map(
        self,
        work: Callable[[T], R],
        tasks: Iterable[T],
        *,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        """Each task with its result, or with why there is none, in the order they end.

        Args:
            work: A function of a module, called in a worker process.
            tasks: What it is called with, one at a time.
            weight: How many times the time of one a task may take.
        """
        waiting = iter(tasks)
        running: dict[Future[R], tuple[T, float]] = {}
        with _pool(self.count) as pool:
            while True:
                for task in waiting:
                    seconds = self.timeout_s * weight(task)
                    running[pool.schedule(work, args=[task], timeout=seconds)] = (task, seconds)
                    if len(running) >= _AHEAD * self.count:
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    task, seconds = running.pop(done)
                    result = _result(done, seconds)
                    yield task, result


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPool]:
    """A pool for the time of a `with` block; one that is broken off kills what still runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    pool = ProcessPool(max_workers=processes, context=context)
    try:
        yield pool
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    else:
        pool.close()  # type: ignore[no-untyped-call]
    finally:
        pool.join()


def _result(future: Future[R], timeout_s: float) -> R | FramesPipelineError:
    try:
        return future.result()
    except FramesPipelineError as error:
        return error
    except TimeoutError:
        message = f"killed after {timeout_s:g} s; raise timeout_s if that is too early"
        return WorkerTimeoutError(message)
    except ProcessExpired as error:
        return WorkerCrashedError(f"the worker process died with exit code {error.exitcode}")
