"""Dagster processes that a test starts, and their child processes."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil

from tests.waiting import wait_for


def start(command: list[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command with its output in a log file."""
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)


def is_at_work(process: psutil.Process) -> bool:
    """Whether it lives; one without a reader of its exit code does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its descendants, each by its pid, while their files still exist.

    A code server ends by itself after 20 seconds without a heartbeat. If its database is gone by
    then, it runs for ever.
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
