"""Run one tool on one scenario, repeatedly, in its own process.

A separate process keeps the libraries apart, makes CPU time count only the tool and all its
threads, and makes its memory measurable.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.tools import TOOLS, Request

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
MISSING: Final = "missing"
"""Prefix of the first message of a process if its tool is not installed."""

if TYPE_CHECKING:
    _Channel = Connection[Any, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """Costs of one run of a tool."""

    cpu: float
    """CPU seconds over all threads."""
    wall: float
    """Seconds."""
    memory: int
    """Peak growth of the process during the run, in bytes."""
    frames: int
    """Number of distinct frames returned."""


@contextmanager
def worker(tool: str, wanted: Request) -> Iterator[_Channel]:
    """Start a process that sends the tool's version and then answers `run`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, tool, wanted), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(5)
        process.kill()


def run(connection: _Channel) -> Run | str:
    """Run once in a worker's process; return the costs or the reason of the failure."""
    connection.send(None)
    try:
        outcome: Run | str = connection.recv()
    except EOFError:
        return "failed: its process died"
    return outcome


def _serve(connection: _Channel, name: str, wanted: Request) -> None:
    try:
        tool = TOOLS[name]()
    except ImportError as error:
        connection.send(f"{MISSING}: {error}")
        return
    connection.send(tool.version)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(_timed(lambda: tool.extract(wanted)))


def _timed(work: Callable[[], int]) -> Run | str:
    _CLEAR.write_text(_RESET_PEAK)
    before = _memory("VmRSS")
    wall, cpu = time.perf_counter(), cpu_seconds()
    try:
        frames = work()
    except Exception as error:
        return f"failed: {error}"
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Run(cpu, wall, _memory("VmHWM") - before, frames)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far, over all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory(figure: str) -> int:
    """Return the current (VmRSS) or peak (VmHWM) memory of the process, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return 1024 * int(line.split()[1])
    return 0
