"""A wait ends with its condition, its process, or the last progress."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from tests import waiting
from tests.suites import live_from
from tests.waiting import bytes_in, processor_seconds, wait_for


def test_progress_keeps_a_wait_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.0)
    looks = count()
    wait_for(lambda: next(looks) == 20, name="look 20", progress=count().__next__, pause_s=0)


def test_a_wait_without_progress_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.01)
    with pytest.raises(AssertionError, match="a miracle: no progress for 0 s, at 7"):
        wait_for(lambda: False, name="a miracle", progress=lambda: 7)


def test_a_process_that_ended_fails_its_wait() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(AssertionError, match="ended with 3"):
        wait_for(lambda: False, name="an answer", progress=processor_seconds(process))


def test_logs_that_grow_are_progress(tmp_path: Path) -> None:
    read = bytes_in(tmp_path / "a.log", tmp_path / "b.log")
    assert read() == 0
    (tmp_path / "a.log").write_text("one")
    assert read() == 3


def test_the_quick_suite_has_the_first_cases() -> None:
    cases = live_from(1, [1, pytest.param(2, 3, id="pair")])
    assert [(case.values, case.id) for case in cases] == [((1,), None), ((2, 3), "pair")]
    assert [[mark.name for mark in case.marks] for case in cases] == [[], ["live"]]
