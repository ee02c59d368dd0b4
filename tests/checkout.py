"""A pytest plugin: a session fails in which a test wrote into the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CACHES = {
    ".git", ".grimp_cache", ".hypothesis", ".import_linter_cache", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".test-output", ".venv", "__pycache__",
}  # fmt: skip
"""Folders of the checkout that tools may write to while tests run."""


def files_in(checkout: Path) -> set[str]:
    """Return the files and folders of a checkout, relative to it, without caches."""
    found = set()
    for folder, folders, files in os.walk(checkout):
        folders[:] = [name for name in folders if name not in CACHES]
        found |= {str(Path(folder, name).relative_to(checkout)) for name in folders + files}
    return {name for name in found if not name.startswith(".coverage")}


class Checkout:
    """Fails a session in which a test writes into the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = files_in(folder)

    def new(self) -> list[str]:
        """Return files and folders that were added since the start."""
        return sorted(files_in(self.folder) - self.before)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.new():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name in self.new():
            terminalreporter.write_line(f"A test wrote {name} into the checkout; use tmp_path")
