"""The wheel says that it is typed, and types reach a user who installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = Path(__file__).parent / "typing" / "script.py"
CONFIG = """
[mypy]
strict = true
[mypy-dagster.*]
follow_imports = skip
"""
"""Dagster's own modules are left out: to read them takes twice as long as all others together."""
EXPECTED = re.compile(r"# expected: ([a-z-]+)$")
FOUND = re.compile(r"^script\.py:(\d+): error: .*\[([a-z-]+)\]$")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; nothing is fetched to build it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=REPOSITORY, check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_has_the_packages_and_their_markers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"frames_pipeline/py.typed", "dagster_defs/py.typed"} <= names
    packages = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"frames_pipeline", "dagster_defs"}
    tracked = subprocess.check_output(
        ["git", "ls-files", "frames_pipeline", "dagster_defs"], cwd=REPOSITORY, text=True
    )
    assert set(tracked.splitlines()) <= names


@pytest.mark.live
def test_mypy_checks_a_script_against_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has the wheel, and the libraries of this one, but no checkout."""
    pytest.importorskip("mypy")
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = tmp_path / "venv" / "lib" / version / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--target", site_packages, wheel], check=True)
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))

    (tmp_path / "script.py").write_text(SCRIPT.read_text())
    (tmp_path / "mypy.ini").write_text(CONFIG)
    command: list[str | Path] = [
        sys.executable, "-m", "mypy", "--no-error-summary", "--python-executable", python,
        "--cache-dir", tmp_path / "cache", "script.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    lines = enumerate(SCRIPT.read_text().splitlines(), start=1)
    expected = [(number, mark[1]) for number, line in lines if (mark := EXPECTED.search(line))]
    reported = [line for line in done.stdout.splitlines() if ": note: " not in line]
    found = [(int(mark[1]), mark[2]) for line in reported if (mark := FOUND.match(line))]
    assert (found, len(reported)) == (expected, len(expected)), done.stdout + done.stderr
