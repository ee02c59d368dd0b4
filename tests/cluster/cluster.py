"""A Ray cluster of two nodes and the processes of a Dagster instance, which can be killed.

Ray listens on every interface whatever its options. So it is started only if loopback is the only
interface.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import bytes_in, wait_for

BIN = Path(sys.executable).parent
DASHBOARD = "http://127.0.0.1:8265"
STARTED: Sequence[str] = ("--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1")
MEMORY = "--object-store-memory=100000000"
HEAD = ("--head", "--port=6379", "--dashboard-host=127.0.0.1", "--dashboard-port=8265")
NODE = (
    "--address=127.0.0.1:6379",
    "--dashboard-agent-listen-port=52366",
    "--dashboard-agent-grpc-port=52367",
    "--runtime-env-agent-port=52368",
    "--metrics-export-port=52369",
)
"""Options of two nodes on one machine: the second uses other ports."""
_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_alone() -> bool:
    """Return whether loopback is the only network interface."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


@dataclass
class Processes:
    """Named processes, each with a log."""

    folder: Path
    environment: dict[str, str]
    named: dict[str, psutil.Popen] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.named[name] = psutil.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def progress(self) -> int:
        """Return the bytes in the logs of all processes."""
        return bytes_in(*self.folder.glob("*.log"))()

    def do(self, name: str, *command: str) -> str:
        """Run a command to its end."""
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def kill(self, name: str) -> None:
        """Kill a process and all its descendants, as a power failure does."""
        process = self.named.pop(name, None)
        if process is None:
            return
        family = [process]
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGSTOP)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=10)

    def kill_alone(self, name: str, inside: str) -> None:
        """Kill one of its descendants, by a part of its program's name."""
        for one in self.named[name].children(recursive=True):
            if inside == one.name():
                one.kill()
                return
        raise AssertionError(f"{name} has no process {inside}")

    def runs(self, name: str) -> dict[str, psutil.Process]:
        """Return the processes of a node's Dagster runs, by run id."""
        found: dict[str, psutil.Process] = {}
        for one in self.named[name].children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = one.cmdline()
                if "execute_run" in command and (ids := _RUN_ID.findall(command[-1])):
                    found |= dict.fromkeys(ids, one)
        return found


def is_up() -> bool:
    """Return whether the cluster accepts jobs."""
    try:
        with urllib.request.urlopen(f"{DASHBOARD}/api/version", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


@dataclass
class Cluster:
    """A head and a second node, each with one core."""

    processes: Processes
    temporary: str

    def start_head(self) -> None:
        self.processes.start(
            "head", "ray", "start", *STARTED, *HEAD, "--num-cpus=1", MEMORY,
            f"--temp-dir={self.temporary}",
        )  # fmt: skip
        wait_for(is_up, name="a head that takes jobs", progress=self.processes.progress)

    def start_node(self) -> None:
        before = self.nodes()
        self.processes.start("node", "ray", "start", *STARTED, *NODE, "--num-cpus=1", MEMORY)
        wait_for(
            lambda: self.nodes() - before, name="the second node", progress=self.processes.progress
        )

    def nodes(self) -> set[str]:
        """Return the nodes that the head believes alive."""
        try:
            with urllib.request.urlopen(f"{DASHBOARD}/api/v0/nodes", timeout=5) as answer:
                found = json.load(answer)["data"]["result"]["result"]
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return set()
        return {node["node_id"] for node in found if node["state"] == "ALIVE"}


@contextlib.contextmanager
def running(folder: Path, temporary: str, **environment: str) -> Iterator[Cluster]:
    """Run the cluster for a `with` block."""
    own = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # a job runs `dagster` by name
    }
    cluster = Cluster(Processes(folder, os.environ | own | environment), temporary)
    try:
        cluster.start_head()
        cluster.start_node()
        yield cluster
    finally:
        for name in list(cluster.processes.named):
            cluster.processes.kill(name)
