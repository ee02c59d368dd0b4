"""Processes of Dagster's that a test starts, and what they start."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil


def start(command: list[str | Path], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command, by what it says in a file."""
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)


def end(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """End a process and all that it started, each by its pid, while what they need is there.

    A code server ends by itself when it has heard nothing for 20 seconds, unless its database is
    gone by then: it would be there for ever.
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
