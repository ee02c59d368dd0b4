"""With CI=1, a skipped test fails unless a GPU is the reason."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

pytest.importorskip({module!r})

@pytest.mark.skip(reason={reason!r})
def test_skipped():
    pass

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize(
    ("ci", "case", "status", "ending"),
    [
        ("", {"reason": "no ffmpeg"}, pytest.ExitCode.OK, "1 skipped, 1 xfailed"),
        ("1", {"reason": "no ffmpeg"}, pytest.ExitCode.TESTS_FAILED, "1 failed, 1 error"),
        ("1", {"reason": "no GPU"}, pytest.ExitCode.TESTS_FAILED, "1 failed, 1 skipped"),
        ("", {"module": "none_such"}, pytest.ExitCode.NO_TESTS_COLLECTED, "1 skipped"),
        ("1", {"module": "none_such"}, pytest.ExitCode.INTERRUPTED, "1 error"),
    ],
)
def test_skips(
    tmp_path: Path, ci: str, case: dict[str, str], status: pytest.ExitCode, ending: str
) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    cases = CASES.format(**{"module": "pytest", "reason": ""} | case)
    (tmp_path / "test_cases.py").write_text(cases)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    environment = {"CI": ci, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].startswith(ending), done.stdout
    assert done.returncode == status
