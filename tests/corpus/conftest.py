"""Print totals of the comparisons at the end: `pytest tests/corpus`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.corpus.totals import Count

_TOTALS = "totals"


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Return a function that adds to the totals printed at the end."""

    def add(what: str, number: int) -> None:
        record_property(_TOTALS, (what, number))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the totals over all tests and processes."""
    totals: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if name == _TOTALS and report.when == "call":
                    totals[value[0]] += value[1]
    if totals:
        terminalreporter.section("compared")
        for what, number in totals.items():
            terminalreporter.line(f"{number:>10,} {what}")
