"""A task that crashes or hangs takes nothing else along."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pebble
import psutil
import pytest

from frames_pipeline import (
    ConfigError,
    FramesPipelineError,
    InternalError,
    Limits,
    NoFramesError,
    SourceError,
    StoreAccessError,
    TransientError,
    WorkerCrashedError,
    WorkerMemoryError,
    WorkerTimeoutError,
)
from frames_pipeline.errors import ClipFault, detail_of
from frames_pipeline.workers.local import Workers
from tests.services import is_at_work
from tests.waiting import processor_seconds, wait_for


def work(task: str) -> str:
    return str(DEEDS.get(task, str.upper)(task))


def refuse(_: str) -> str:
    message = "nothing in it"
    raise NoFramesError(message)


def break_down(_: str) -> str:
    message = "a bug"
    raise ZeroDivisionError(message)


def burn(seconds: float) -> str:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return "burnt"


def eat_in_python(_: str) -> str:
    return str(len([bytearray(1 << 20) for _ in range(2000)]))


def eat_in_c(_: str, size: int = 2 << 30) -> str:
    """Allocate as a decoder does, and touch it; an allocation that fails is reported."""
    malloc = ctypes.CDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    place = malloc(size)
    if place is None:
        raise MemoryError
    ctypes.memset(place, 1, size)
    return "eaten"


DEEDS: dict[str, Callable[[str], Any]] = {
    "crash": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda _: ctypes.string_at(0),
    "abort": lambda _: os.abort(),
    "exit": lambda _: os._exit(3),
    "hang": lambda _: time.sleep(600),
    "burn": lambda _: burn(600),
    "burn a little": lambda _: burn(0.7),
    "eat memory": eat_in_python,
    "eat memory in C": eat_in_c,
    "refuse": refuse,
    "bug": break_down,
}


def walls(_: str) -> dict[str, Any]:
    return {
        "memory": resource.getrlimit(resource.RLIMIT_DATA),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "stdin": str(Path("/proc/self/fd/0").readlink()),
    }


def results(tasks: list[str], workers: Workers) -> dict[str, str | FramesPipelineError]:
    return dict(workers.map(work, tasks))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_task_has_a_result_or_a_typed_error(processes: int) -> None:
    tasks = ["a", "crash", "b", "refuse", "c", "d"]
    found = results(tasks, Workers(processes))

    assert sorted(found) == sorted(tasks)
    assert {found[task] for task in "abcd"} == {"A", "B", "C", "D"}
    assert isinstance(found["crash"], WorkerCrashedError)
    assert "exit code -9" in str(found["crash"])
    assert isinstance(found["refuse"], NoFramesError)


def test_a_task_that_hangs_is_killed() -> None:
    """The task after it may take 100 times as long, so that a busy machine does not end it."""
    workers = Workers(1, timeout_s=0.5)
    found = dict(workers.map(work, ["hang", "a"], weight=lambda task: 1 + 999 * (task == "a")))
    assert isinstance(found["hang"], WorkerTimeoutError)
    assert "killed after 0.5 s; if the task needs longer, raise timeout_s" in str(found["hang"])
    assert found["a"] == "A"


SMALL = 512 << 20


@pytest.mark.parametrize("deed", ["eat memory", "eat memory in C"])
def test_a_task_that_eats_memory_is_stopped_at_the_limit(deed: str) -> None:
    found = results([deed, "a"], Workers(1, memory_bytes=SMALL))
    assert isinstance(found[deed], WorkerMemoryError)
    assert "needs more than the limit of 536870912 bytes" in str(found[deed])
    assert found["a"] == "A"


def test_the_same_task_passes_where_there_is_no_limit() -> None:
    assert results(["eat memory"], Workers(1, memory_bytes=0)) == {"eat memory": "2000"}


def test_a_task_that_burns_processor_time_is_killed_by_the_kernel() -> None:
    """With nobody watching the clock: the wall-clock limit is far away."""
    found = results(["burn", "a"], Workers(1, cpu_s=1))
    assert isinstance(found["burn"], WorkerTimeoutError)
    assert "CPU time; if the task needs longer, raise cpu_s" in str(found["burn"])
    assert found["a"] == "A"


def test_processor_time_is_counted_per_task_not_per_worker() -> None:
    tasks = ["burn a little"] * 4
    assert [found for _, found in Workers(1, cpu_s=2).map(work, tasks)] == ["burnt"] * 4


@pytest.mark.parametrize(
    ("deed", "why"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit code 3")]
)
def test_a_task_that_dies_says_how(deed: str, why: str) -> None:
    found = results([deed, "a"], Workers(1))
    assert isinstance(found[deed], WorkerCrashedError)
    assert why in str(found[deed])
    assert found["a"] == "A"


def test_a_worker_has_walls() -> None:
    found = dict(Workers(1, memory_bytes=SMALL, cpu_s=60).map(walls, ["it"]))["it"]
    assert isinstance(found, dict)
    assert found["memory"] == (SMALL, SMALL)
    assert found["core"] == (0, 0)
    assert 60 <= found["cpu"] <= 70
    assert found["stdin"] == os.devnull
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != SMALL  # ours is as it was


def test_many_deaths_in_a_row_lose_no_task() -> None:
    tasks = [f"{deed} {n}" for n in range(10) for deed in ("die at once", "live")]
    found = dict(Workers(2).map(die_at_once, tasks))
    assert sorted(found) == sorted(tasks)
    assert all(isinstance(found[t], str) == t.startswith("live") for t in tasks)


def die_at_once(task: str) -> str:
    if task.startswith("die"):
        os._exit(1)
    return task


class UnpicklableError(Exception):
    """An error that holds a lock, as some libraries' errors do."""

    def __init__(self, what: str, lock: threading.Lock) -> None:
        super().__init__(what, lock)


class OneWayError(Exception):
    """It pickles but fails to unpickle, which would end a pool in the parent."""

    def __init__(self, what: str, more: int) -> None:
        super().__init__(f"{what} {more}")


class OneWayRefusalError(SourceError):
    def __init__(self, what: str, more: int) -> None:
        super().__init__(f"{what} {more}")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class OddArgumentsError(RuntimeError):
    """An error with arguments that raise if compared."""

    def __init__(self) -> None:
        super().__init__(np.zeros(2))


def _recurse(_: str) -> str:
    return _recurse(_)


def _chase_its_tail(_: str) -> str:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _take_note(_: str) -> str:
    error = ValueError("the fact")
    error.add_note("beside it: a note")
    raise error


def _raise(error: BaseException) -> Callable[[str], str]:
    def deed(_: str) -> str:
        raise error

    return deed


BUGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "zero": (break_down, "ZeroDivisionError: a bug"),
    "index": (_raise(IndexError("list index out of range")), "IndexError: list index"),
    "end": (_raise(EOFError()), "EOFError"),
    "key": (_raise(KeyError("k")), "KeyError: 'k'"),
    "recursion": (_recurse, "RecursionError: maximum recursion depth"),
    "exit by an exception": (_raise(SystemExit(3)), "SystemExit: 3"),
    "interrupt": (_raise(KeyboardInterrupt()), "KeyboardInterrupt"),
    "generator": (_raise(GeneratorExit()), "GeneratorExit"),
    "stop": (_raise(StopIteration()), "StopIteration"),
    "group": (
        _raise(BaseExceptionGroup("all of it", [KeyError(1), KeyboardInterrupt()])),
        "BaseExceptionGroup: all of it",
    ),
    "timeout": (_raise(TimeoutError("not of the task's time")), "TimeoutError: not of"),
    "odd arguments": (_raise(OddArgumentsError()), "OddArgumentsError"),
    "unpicklable": (_raise(UnpicklableError("u", threading.Lock())), "Unpicklable"),
    "one way": (_raise(OneWayError("o", 1)), "OneWayError: o 1"),
    "one way, typed": (_raise(OneWayRefusalError("o", 2)), "OneWayRefusalError: o 2"),
    "unprintable": (_raise(UnprintableError()), "UnprintableError"),
    "a chain that is a circle": (_chase_its_tail, "ValueError: first"),
    "a result that does not pickle": (lambda _: threading.Lock(), "TypeError: cannot pickle"),
    "a note": (_take_note, "ValueError: the fact beside it: a note"),
    "half a character": (_raise(ValueError("\udce9\x1b[1m")), "ValueError: "),
    "an endless message": (_raise(ValueError("x" * 1_000_000)), "ValueError: xxx"),
}


def commit_a_bug(task: str) -> Any:
    return BUGS[task][0](task) if task in BUGS else task.upper()


def test_whatever_a_task_raises_is_its_outcome_and_takes_nothing_else_along() -> None:
    tasks = [task for bug in BUGS for task in (bug, f"after {bug}")]
    found = dict(Workers(1).map(commit_a_bug, tasks))

    assert sorted(found) == sorted(tasks)
    for bug, (_, said) in BUGS.items():
        assert found[f"after {bug}"] == f"AFTER {bug.upper()}"
        error = found[bug]
        assert isinstance(error, InternalError), bug
        assert isinstance(error, ClipFault)
        assert said in str(error).partition("\n")[0]
        assert len(str(error)) < 10_000
    zero = found["zero"]
    assert isinstance(zero, InternalError)
    assert "in break_down" in zero.raised_at
    assert "\n" not in str(zero)
    assert detail_of(zero) == f"{zero}\n{zero.raised_at}"


def full_disk(_: str) -> str:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_memory_in_a_group(_: str) -> str:
    message = "of threads"
    raise ExceptionGroup(message, [ValueError(), MemoryError()])


def test_what_is_wrong_with_the_machine_is_no_outcome_of_a_task() -> None:
    [(_, disk)] = Workers(1).map(full_disk, ["it"])
    assert isinstance(disk, StoreAccessError)
    assert not isinstance(disk, ClipFault)
    assert "this machine cannot go on" in str(disk)
    [(_, memory)] = Workers(1).map(no_memory_in_a_group, ["it"])
    assert isinstance(memory, WorkerMemoryError)


def test_a_task_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ConfigError, match="lock cannot be sent to a worker process"):
        list(Workers(1).map(str, [threading.Lock()]))
    with pytest.raises(ConfigError, match="cannot unpickle its task: ZeroDivisionError"):
        list(Workers(1).map(str, [Trap()]))


class Trap:
    """A task that pickles but raises when unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return break_down, ("",)


SCRIPT = """
from frames_pipeline import ConfigError
from frames_pipeline.workers.local import Workers

def main():
    for task, result in Workers(1).map(len, ["abc"]):
        print(task, result)

{call}
"""


@pytest.mark.parametrize(
    ("call", "code"), [("main()", 1), ('if __name__ == "__main__":\n    main()', 0)]
)
def test_a_script_without_a_guard_is_told_so(call: str, code: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(call=call))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert (done.stdout == "abc 3\n") == (code == 0)
    last = (done.stderr.splitlines() or [""])[-1]
    assert ("ConfigError: worker processes do not start" in last) == (code == 1)
    assert last.endswith('under `if __name__ == "__main__":`') == (code == 1)


GREEDY = """
import mmap
from frames_pipeline.workers.local import Workers

held = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE)  # as some libraries do when imported

if __name__ == "__main__":
    print(dict(Workers(1, memory_bytes={limit} << 20).map(len, ["abc"])))
"""


@pytest.mark.parametrize("limit", [512, 1536])
def test_a_script_that_imports_more_than_a_worker_may_have_is_told_so(
    limit: int, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(GREEDY.format(limit=limit))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if limit == 1536:  # MiB
        assert done.stdout == "{'abc': 3}\n"
    else:
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert "ConfigError: memory_bytes=536870912 is less than the" in last


def is_idle(process: psutil.Process) -> bool:
    """Whether it sleeps without using the processor for a while; one that is kept waiting runs."""
    before, asleep = process.cpu_times(), []
    for _ in range(10):
        asleep.append(process.status() == psutil.STATUS_SLEEPING)
        time.sleep(0.02)
    return all(asleep) and process.cpu_times() == before


def write_pid(path: str) -> None:
    if path:
        Path(path).with_suffix(".new").write_text(str(os.getpid()))
        Path(path).with_suffix(".new").rename(path)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[pebble.ProcessPool]:
    """The pools that `Workers.map` opens."""
    opened: list[pebble.ProcessPool] = []
    real = pebble.ProcessPool

    def open_pool(**parameters: Any) -> pebble.ProcessPool:
        opened.append(real(**parameters))
        return opened[-1]

    monkeypatch.setattr("frames_pipeline.workers.local.pebble.ProcessPool", open_pool)
    return opened


def idle_worker(pid: Path) -> psutil.Process:
    """The worker that wrote its id to a file, once it has finished that task."""
    wait_for(pid.exists, name="the first task")
    worker = psutil.Process(int(pid.read_text()))
    wait_for(lambda: is_idle(worker), name="the end of the first task")
    return worker


def test_a_worker_that_is_killed_while_it_idles_is_replaced(
    tmp_path: Path, pools: list[pebble.ProcessPool]
) -> None:
    """The next task comes when the pool has noticed."""
    pid = tmp_path / "pid"

    def tasks() -> Iterator[str]:
        yield str(pid)
        idle_worker(pid).kill()
        wait_for(lambda: not pools[0].active, name="the end of the pool")
        yield str(tmp_path / "again")

    assert len(dict(Workers(1).map(write_pid, tasks()))) == 2
    assert len(pools) == 2


def test_a_task_that_is_scheduled_while_the_pool_breaks_runs_in_another(
    tmp_path: Path, pools: list[pebble.ProcessPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pebble checks its pool and queues the task after that: here the pool breaks in between."""
    pid = tmp_path / "pid"

    def tasks() -> Iterator[str]:
        yield str(pid)
        worker, pool = idle_worker(pid), pools[0]
        queue = pool._context.task_queue
        put = queue.put

        def break_and_put(task: Any) -> None:
            monkeypatch.setattr(queue, "put", put)
            worker.kill()
            loop = pool._pool_manager_loop
            assert loop is not None
            wait_for(lambda: not loop.is_alive(), name="the end of the tasks that pebble knows")
            put(task)

        monkeypatch.setattr(queue, "put", break_and_put)
        yield str(tmp_path / "again")

    assert len(dict(Workers(1).map(write_pid, tasks()))) == 2
    assert len(pools) == 2


@pytest.mark.parametrize(("missed", "found_in"), [(1, 2), (99, None)])
def test_a_first_task_that_dies_before_pebble_knows_that_it_began(
    pools: list[pebble.ProcessPool],
    monkeypatch: pytest.MonkeyPatch,
    missed: int,
    found_in: int | None,
) -> None:
    """It runs again in another pool; it is given up when that happens again and again."""
    manager = pebble.pool.process.TaskManager
    began, calls = manager.task_start, itertools.count()

    def miss_some(self: Any, task: int, worker: int | None) -> None:
        if next(calls) >= missed:
            began(self, task, worker)

    monkeypatch.setattr(manager, "task_start", miss_some)
    if found_in is None:
        with pytest.raises(TransientError, match="killed before a task, 4 times in a row; run it"):
            results(["abort"], Workers(1))
        return
    found = results(["abort", "a"], Workers(1))
    assert "SIGABRT" in str(found["abort"])
    assert found["a"] == "A"
    assert len(pools) == found_in


def test_a_worker_has_room_for_the_largest_clip_and_for_decoding_it() -> None:
    assert Limits().max_clip_bytes + (1 << 30) <= Workers().memory_bytes


def test_numbers_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"processes=-1 must be 0 \(one per core\)"):
        Workers(-1)
    with pytest.raises(ConfigError, match="timeout_s=0 must be above 0"):
        Workers(timeout_s=0)
    with pytest.raises(ConfigError, match=r"cpu_s=0\.5 must be at least 1"):
        Workers(cpu_s=0.5)
    with pytest.raises(ConfigError, match=r"memory_bytes=4 must be 0 \(no limit\) or at least"):
        Workers(memory_bytes=4)


def note_and_hang(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


HANGING = """
import sys
from frames_pipeline.workers.local import Workers
from tests.workers.test_local import note_and_hang

if __name__ == "__main__":
    list(Workers(1).map(note_and_hang, sys.argv[1:]))
"""


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    """Even a task that hangs without using the processor, which no limit would end."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "run.py").write_text(HANGING)
    run = subprocess.Popen(
        [sys.executable, tmp_path / "run.py", tmp_path / "notes"],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    notes = tmp_path / "notes"
    wait_for(lambda: list(notes.iterdir()), name="a task", progress=processor_seconds(run))
    [process] = [psutil.Process(int(path.name)) for path in notes.iterdir()]
    assert is_at_work(process)
    run.kill()
    run.wait()
    wait_for(lambda: not is_at_work(process), name="the end of its process")


def test_a_temporary_folder_of_too_long_a_path_is_named(tmp_path: Path) -> None:
    """Sockets have paths of at most 108 bytes."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    script = "from frames_pipeline.workers.local import Workers; list(Workers(1).map(str, [1]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(deep)},
    )
    assert done.returncode == 1
    assert f"their sockets are in {deep}, which TMPDIR sets" in done.stderr
    assert "ConfigError" in done.stderr
