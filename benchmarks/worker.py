"""A process in which one tool does one scenario, over and over.

A process of its own keeps the libraries apart, makes the processor time that is counted the tool's
own, whatever threads it starts, and makes its memory readable.
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
"""How the first message of a process begins whose tool is not installed."""

if TYPE_CHECKING:
    _Channel = Connection[Any, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a tool took."""

    cpu: float
    """Seconds of processor time, all threads together."""
    wall: float
    """Seconds."""
    memory: int
    """Bytes by which the process had grown at its largest, over its size before the run."""
    frames: int
    """Different frames that came."""


@contextmanager
def worker(tool: str, wanted: Request) -> Iterator[_Channel]:
    """A process that says the tool's version, then answers `run`."""
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
    """One run in a worker's process, or why it failed."""
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
    """Processor time of this process so far, in seconds, all threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory(figure: str) -> int:
    """Bytes that the process holds now (VmRSS), or held at most (VmHWM)."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return 1024 * int(line.split()[1])
    return 0
