"""Dagster processes that a test starts, and their child processes."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil


def start(command: list[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command with its output in a log file."""
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)


def end(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """End a process and all its descendants, each by its pid, while their files still exist.

    A code server ends by itself after 20 seconds without a heartbeat. If its database is gone by
    then, it runs for ever.
    """
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait(seconds)
    _, alive = psutil.wait_procs(family, timeout=1)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(alive, timeout=seconds)
    assert not alive, f"still there, {seconds} s after they were to end: {alive}"
