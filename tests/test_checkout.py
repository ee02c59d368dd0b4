"""A session that writes into the checkout fails, and says what it wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT

CONFTEST = """
from pathlib import Path
from tests.checkout import Checkout

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Checkout(Path(__file__).parent))
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.live)])
@pytest.mark.parametrize(
    ("writes", "status"),
    [("x/y", pytest.ExitCode.TESTS_FAILED), ("__pycache__/y", pytest.ExitCode.OK)],
)
def test_what_is_written_is_found(tmp_path: Path, workers: str, writes: str, status: int) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    target = tmp_path / writes
    (tmp_path / "test_it.py").write_text(
        "from pathlib import Path\n"
        "def test_it():\n"
        f"    Path({str(target.parent)!r}).mkdir(exist_ok=True)\n"
        f"    Path({str(target)!r}).touch()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, tmp_path],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("A test wrote x into the checkout" in done.stdout) == (status != pytest.ExitCode.OK)
