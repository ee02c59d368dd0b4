"""Waits that end when something happened, or when nothing moves any more.

A deadline says how fast a machine has to be. Here the clock starts again with every step forward:

    condition   no   no   no   no   yes             a wait ends here
    progress     1    1    2    3    3
    still for    0   10    0    0                   or fails once this exceeds PATIENCE_S
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

PATIENCE_S = float(os.environ.get("FRAMES_PATIENCE_S", "600"))
"""Seconds without any progress after which a wait fails."""


def wait_for(
    happened: Callable[[], object],
    *,
    name: str,
    progress: Callable[[], object] = lambda: None,
    pause_s: float = 0.05,
    rest: Callable[[float], object] = time.sleep,
) -> None:
    """Wait until a condition holds; fail once its progress stands still.

    Args:
        happened: The condition.
        name: The event, as a failure names it.
        progress: A value that changes as long as the event gets nearer: a number of log entries,
            the size of a file, processor seconds.
        pause_s: Seconds between two looks.
        rest: Passes the time between two looks, in seconds.
    """
    seen, since = progress(), time.monotonic()
    while not happened():
        found, now = progress(), time.monotonic()
        if found != seen:
            seen, since = found, now
        still = now - since
        assert still <= PATIENCE_S, f"{name}: no progress for {still:.0f} s, at {seen!r}"
        rest(pause_s)


def processor_seconds(process: subprocess.Popen[Any]) -> Callable[[], float]:
    """Return the progress of a process and its children: the processor seconds they used.

    It stands still when they hang, whatever else the machine does; a process that ended fails
    the wait.
    """

    def used() -> float:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        top = psutil.Process(process.pid)
        return round(sum(map(_seconds, [top, *top.children(recursive=True)])), 1)

    return used


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def bytes_in(*files: Path) -> Callable[[], int]:
    """Return the progress of logs: the bytes in them together."""
    return lambda: sum(path.stat().st_size for path in files if path.exists())
