"""`python -m benchmarks.load_time`: CPU time to load the code location, against Dagster's own.

The programs take turns, so that a busy machine slows all alike; the least of each counts. Their
bytecode is cached, as in an installed package. The last one loads the definitions as a code server
does. `python -X importtime -c "import dagster_defs.definitions"` tells where the time goes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

COMPONENT = "load a project with a component of one asset"
"""Dagster's own cost of a project with components: the least that any component can take."""
COMPONENT_FILES = {
    "pyproject.toml": """
[project]
name = "least"
version = "0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "least"
registry_modules = ["least"]
""",
    "least/__init__.py": "",
    "least/component.py": """
import dagster as dg
class Least(dg.Component, dg.Model, dg.Resolvable):
    def build_defs(self, context):
        @dg.asset
        def one(): ...
        return dg.Definitions(assets=[one])
""",
    "least/defs/__init__.py": "",
    "least/defs/one/defs.yaml": "type: least.component.Least\nattributes: {}\n",
    "least/load.py": """
from pathlib import Path
import dagster as dg
@dg.definitions
def defs(): return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
}
"""The project, by path."""
PROGRAMS = {
    "import dagster": "import dagster",
    "load a project with one asset": """
import dagster as dg
@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="batch"))
def one(): ...
dg.Definitions(assets=[one]).get_repository_def()
""",
    COMPONENT: "from least.load import defs; defs().get_repository_def()",
    "import dagster_defs.definitions": "import dagster_defs.definitions",
    "load the definitions": """
from dagster_defs.definitions import defs
defs().get_repository_def()
""",
}


def user_seconds(program: str, environment: Mapping[str, str]) -> float:
    """Return the CPU time of a new interpreter in user mode, in seconds."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{program!r} ended with {process.returncode}; run it to see why"
        raise RuntimeError(message)
    return usage.ru_utime


def least_seconds(runs: int) -> dict[str, float]:
    """Return the least CPU time of each program over some runs, in turn."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        } | {"PYTHONPYCACHEPREFIX": bytecode}
        environment["PYTHONPATH"] = f"{_write_project(Path(bytecode) / 'project')}:{Path.cwd()}"
        for program in PROGRAMS.values():
            user_seconds(program, environment)  # compiles
        least = dict.fromkeys(PROGRAMS, float("inf"))
        for _ in range(runs):
            for name, program in PROGRAMS.items():
                least[name] = min(least[name], user_seconds(program, environment))
    return least


def _write_project(folder: Path) -> Path:
    for name, text in COMPONENT_FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def main() -> None:
    """Print a row per program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each program")
    least = least_seconds(parser.parse_args().runs)
    dagster, *_ = least.values()
    print("| program | CPU seconds | times `import dagster` |\n|---|---|---|")
    for name, seconds in least.items():
        print(f"| {name} | {seconds:.2f} | {seconds / dagster:.2f} |")
    ratio = least["load the definitions"] / least[COMPONENT]
    print(f"\nThe definitions take {ratio:.2f} times the least that a component takes.")


if __name__ == "__main__":
    main()
