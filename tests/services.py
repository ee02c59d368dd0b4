"""Processes of Dagster's that a test starts, and what they start."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil

from tests.waiting import wait_for


def start(command: list[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command, by what it says in a file."""
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)


def is_at_work(process: psutil.Process) -> bool:
    """Whether it lives; one without a reader of its exit code does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, each by its pid, while what they need is there.

    A code server ends by itself when it has heard nothing for 20 seconds, unless its database is
    gone by then: it would be there for ever.
    """
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=1)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    wait_for(
        lambda: not any(map(is_at_work, alive)),
        name=f"the end of {alive}",
        progress=lambda: [is_at_work(one) for one in alive],
    )
