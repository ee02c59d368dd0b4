"""Run tasks in killable processes: a clip that crashes or hangs its decoder affects no other clip.

Processes come from a fork server, which has the libraries loaded and has no threads or connections
of its own. So a new process starts within milliseconds and inherits nothing.

The kernel enforces each process's limits. `RLIMIT_DATA` limits its private writable memory.
(`RLIMIT_AS` would also count mapped libraries and the address space that allocators and CUDA
reserve without touching it; a limit on resident memory does not exist.) CPU time is limited as
well. A process leaves no core dumps, its standard input is empty, and it is killed when its parent
ends, even if the parent is killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import math
import multiprocessing
import os
import pickle
import resource
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    InternalError,
    TransientError,
    WorkerCrashedError,
    WorkerMemoryError,
    WorkerTimeoutError,
    typed,
)
from frames_pipeline.io.copies import COPIES_BYTES, Copies, copies, use_copies

if TYPE_CHECKING:
    import pebble
else:
    pebble = lazy_module("pebble")

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 2
"""Tasks in flight per process: one running, one waiting."""
_LOSSES: Final = 3
"""Pools in a row that may break without a finished task. To pebble a pool is broken if a process
dies between tasks, or with its first task before pebble reads that the task began."""
_STARTED: Final = "started"
"""File that a worker process makes: the main script has a guard, then."""
_LOOK_S: Final = 2.0
"""Seconds between checks of the pool while no task finishes."""
_LEAST_MEMORY: Final = 256 << 20
"""Memory of the loaded libraries, with a little to work with."""
_OUT_OF_MEMORY: Final = 76
"""Exit code of a worker that hit its memory limit. It exits because its libraries may be in any
state after a failed allocation."""
_UNGUARDED: Final = (
    "worker processes do not start: each imports the main script, which starts workers again; "
    'put the code of the script under `if __name__ == "__main__":`'
)


class _NoRoomError(Exception):
    """A worker process is over its memory limit before its first task."""


class _NoTaskError(Exception):
    """A worker process cannot unpickle its task."""


_preloaded: Final[set[str]] = set()


def preload(module: str) -> None:
    """Have worker processes start with a module loaded, if none has started yet.

    The fork server loads it once, for all processes. It must start no threads and open no
    connections as it is loaded.
    """
    _preloaded.add(module)


@dataclass(frozen=True, slots=True)
class Workers:
    """Number of worker processes, and the limits of each task."""

    processes: int = 0
    """Number of processes; 0: one per core available to this process."""
    timeout_s: float = 3600.0
    """Wall-clock seconds after which a task is killed."""
    cpu_s: float = 4 * 3600.0
    """CPU seconds, over all threads, after which the kernel kills a task."""
    memory_bytes: int = 4 << 30
    """Private writable memory per process, in bytes; 0: no limit."""
    copies_bytes: int = COPIES_BYTES
    """Bytes of remote videos to keep on this machine for later tasks; 0: none."""

    def __post_init__(self) -> None:
        """Check that every number is in its range."""
        if self.processes < 0 or self.timeout_s <= 0:
            message = f"processes={self.processes} must be 0 (one per core) or more, and "
            raise ConfigError(f"{message}timeout_s={self.timeout_s} must be above 0")
        if self.copies_bytes < 0:
            message = f"copies_bytes={self.copies_bytes} must be 0 (keep none) or more"
            raise ConfigError(message)
        if self.cpu_s < 1:
            message = f"cpu_s={self.cpu_s} must be at least 1"
            raise ConfigError(message)
        if self.memory_bytes and self.memory_bytes < _LEAST_MEMORY:
            message = f"memory_bytes={self.memory_bytes} must be 0 (no limit) or at least "
            raise ConfigError(f"{message}{_LEAST_MEMORY}, the memory of the libraries")

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.processes or len(os.sched_getaffinity(0))

    def map(
        self,
        work: Callable[[T], R],
        tasks: Iterable[T],
        *,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        """Yield each task with its result or its error, in order of completion.

        An unexpected error becomes the task's `InternalError`.

        Args:
            work: Function at module level, called in a worker process.
            tasks: Arguments for `work`, one per call.
            weight: Returns the factor for a task's time limits.

        Raises:
            ConfigError: No process starts: the main script has no `__main__` guard, its imports use
                up the memory limit, or the path of TMPDIR is too long. Or a task cannot be pickled.
            TransientError: Processes were killed before a task, several times in a row.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise ConfigError(_UNGUARDED)  # this is a worker process that imports the script
        left, losses = iter(tasks), 0
        while losses <= _LOSSES:
            running: dict[Future[bytes], tuple[T, int]] = {}
            try:
                with _pool(self) as pool:
                    for task, result in self._results(pool, work, left, weight, running):
                        losses = 0
                        yield task, result
            except BrokenProcessPool as error:
                if not _has_started():
                    raise ConfigError(_UNGUARDED) from error
                again, losses = [task for task, _ in running.values()], losses + 1
                left = itertools.chain(again, left)
            else:
                return
        message = (
            f"worker processes were killed before a task, {losses} times in a row; run it again"
        )
        raise TransientError(message)

    def _results(
        self,
        pool: pebble.ProcessPool,
        work: Callable[[T], R],
        tasks: Iterator[T],
        weight: Callable[[T], int],
        running: dict[Future[bytes], tuple[T, int]],
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        """Yield each task with its result or its error, as long as the pool lasts.

        Args:
            pool: The pool.
            work: Function to call.
            tasks: Its arguments.
            weight: Returns the factor for a task's time limits.
            running: Receives the tasks in flight; each leaves it with its result.

        Raises:
            BrokenProcessPool: A process died, and pebble does not know of its task.
        """
        while True:
            for task in tasks:
                times = weight(task)
                call = [work, _packed(task), self.cpu_s * times, self.memory_bytes]
                try:
                    future = pool.schedule(
                        _within_limits, args=call, timeout=self.timeout_s * times
                    )
                except RuntimeError as error:  # the pool broke
                    running[Future()] = (task, times)
                    raise BrokenProcessPool from error
                running[future] = (task, times)
                if len(running) >= _AHEAD * self.count:
                    break
            if not running:
                return
            for done in _finished(pool, running):
                result: R | FramesPipelineError = self._result(done, running[done][1])
                yield running.pop(done)[0], result

    def _result(self, future: Future[bytes], times: int) -> Any:  # noqa: ANN401 - as packed
        try:
            return pickle.loads(future.result())
        except (_NoRoomError, _NoTaskError) as error:
            raise ConfigError(str(error)) from None
        except BrokenProcessPool:
            raise  # `map` knows the running tasks
        except FramesPipelineError as error:
            return error
        except TimeoutError:
            message = f"killed after {self.timeout_s * times:g} s; if the task needs longer, "
            return WorkerTimeoutError(f"{message}raise timeout_s")
        except pebble.ProcessExpired as error:
            return self._death(error.exitcode, times)
        except Exception as error:
            return typed(error)

    def _death(self, exit_code: int, times: int) -> FramesPipelineError:
        """Return the error for the exit code of a worker process."""
        if exit_code == _OUT_OF_MEMORY:
            message = f"needs more than the limit of {self.memory_bytes} bytes per worker; "
            return WorkerMemoryError(
                f"{message}if the clip is meant to be that large, raise memory_bytes"
            )
        if exit_code == -signal.SIGXCPU:
            message = f"killed after {self.cpu_s * times:g} s of CPU time; if the task "
            return WorkerTimeoutError(f"{message}needs longer, raise cpu_s")
        name = f" ({signal.Signals(-exit_code).name})" if exit_code < 0 else ""
        return WorkerCrashedError(f"the worker process died with exit code {exit_code}{name}")


def _packed(task: object) -> bytes:
    """Pickle a task, so that a failure to unpickle it leaves the worker alive."""
    try:
        return pickle.dumps(task)
    except Exception as error:
        message = f"a {type(task).__name__} cannot be sent to a worker process: {error}; "
        message += "use objects that can be pickled"
        raise ConfigError(message) from error


def _finished(pool: pebble.ProcessPool, running: Iterable[Future[bytes]]) -> set[Future[bytes]]:
    """Wait for tasks to finish, and return these.

    If pebble's pool breaks, it ends the tasks that its scheduler thread has taken over, and that
    thread stops. A task in its queue, or taken over at that moment, never finishes.

    Raises:
        BrokenProcessPool: The pool broke, and no task finished.
    """
    is_active = True
    while is_active:
        is_active = pool.active
        done = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done
        if done:
            return done
    raise BrokenProcessPool


def _has_started() -> bool:
    """Return whether a worker process of this process ever got past its imports."""
    return (copies().folder / _STARTED).exists()


@contextlib.contextmanager
def _pool(workers: Workers) -> Iterator[pebble.ProcessPool]:
    """Provide a pool for a `with` block. An exception in the block kills the running tasks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(sorted(_preloaded))
    home = copies().folder
    with _naming_after(home):
        _ensure_running()
        pool = pebble.ProcessPool(
            max_workers=workers.count,
            context=context,
            initializer=_set_limits,
            initargs=[workers.memory_bytes, Copies(home, workers.copies_bytes)],
        )
        try:
            yield pool
        except BaseException:
            pool.stop()  # type: ignore[no-untyped-call]
            raise
        else:
            pool.close()  # type: ignore[no-untyped-call]
        finally:
            pool.join()


def _ensure_running() -> None:
    """Start the fork server, if there is none."""
    try:
        ensure_running()
    except OSError as error:
        message = f"worker processes do not start: {error}; their sockets are in "
        raise ConfigError(f"{message}{tempfile.gettempdir()}, which TMPDIR sets") from error


@contextlib.contextmanager
def _naming_after(home: Path) -> Iterator[None]:
    """Place sockets in a folder and name semaphores after it, for a `with` block.

    A killed process leaves them behind, and the process that deletes the folder finds them by this
    name. `multiprocessing` has no public way to set their location.
    """
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    ours = {"tempdir": str(home), "semprefix": f"/{home.name}"}
    before = {name: config[name] for name in ours if name in config}
    config.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del config[name]
        config.update(before)


def _set_limits(memory_bytes: int, shared: Copies) -> None:
    """Set up a worker process: share its parent's copies, and set its limits."""
    use_copies(shared)  # the parent deletes the files of a killed worker
    with contextlib.suppress(OSError):  # the folder may be gone
        (shared.folder / _STARTED).touch()
    _die_with(multiprocessing.parent_process())
    with open(os.devnull, "rb") as empty:  # noqa: PTH123 - a path has no descriptor
        os.dup2(empty.fileno(), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes and _data_bytes() < memory_bytes:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _die_with(parent: BaseProcess | None) -> None:
    """Make the kernel kill this process when its parent ends, even by a signal.

    The kernel watches the pipe from the parent. The parent by descent is the fork server, which
    lives as long as any of its children.
    """
    if parent is not None:
        pipe = parent.sentinel
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _within_limits(work: Callable[[T], R], packed: bytes, cpu_s: float, memory_bytes: int) -> bytes:
    """Run a task in a worker process. The process exits if memory runs out.

    Only bytes and errors of this library leave the process. `SystemExit`, and results and errors
    that cannot be pickled, become such errors.
    """
    if memory_bytes and (taken := _data_bytes()) >= memory_bytes:
        message = f"memory_bytes={memory_bytes} is less than the {taken} bytes that a worker uses "
        raise _NoRoomError(
            f"{message}before its first task; raise it, or import less in the script"
        )
    task = _unpacked(packed)
    _allow_cpu(cpu_s)
    try:
        return pickle.dumps(work(task))
    except BaseException as error:
        if not isinstance(error, FramesPipelineError) and _is_out_of_memory(error):
            _exit_out_of_memory()
        raise _portable(typed(error)) from None
    finally:
        _allow_cpu(None)


def _unpacked(packed: bytes) -> Any:  # noqa: ANN401 - as packed
    try:
        return pickle.loads(packed)
    except Exception as error:
        message = f"a worker process cannot unpickle its task: {type(error).__name__}: {error}; "
        raise _NoTaskError(f"{message}make its modules importable there") from error


def _portable(error: FramesPipelineError) -> FramesPipelineError:
    """Return the error if it can be pickled, else an `InternalError` that quotes it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return InternalError.of(error)
    return error


def _allow_cpu(seconds: float | None) -> None:
    """Limit the CPU time from now on, in seconds; `None` removes the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    if seconds is None:
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error comes from a failed allocation. Starting a thread needs one, too.

    An extension that does not check its allocations makes the interpreter raise `SystemError`.
    """
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or (type(cause) is RuntimeError and "can't start new thread" in cause.args)
        or (isinstance(cause, SystemError) and _is_near_limit())
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes, and the errors that it groups, each once."""
    left: list[BaseException] = [error]
    seen: set[int] = set()
    while left:
        cause = left.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        left += [one for one in (cause.__cause__, cause.__context__) if one is not None]
        left += cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()


def _is_near_limit() -> bool:
    """Return whether this process uses half of its memory limit or more."""
    most, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY:
        return False
    return 2 * _data_bytes() >= most


def _data_bytes() -> int:
    """Return the bytes that `RLIMIT_DATA` counts for this process."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmData"))
    return 1024 * int(kilobytes)


def _exit_out_of_memory() -> NoReturn:
    os._exit(_OUT_OF_MEMORY)
