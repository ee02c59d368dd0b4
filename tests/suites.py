"""Parts of the quick suite, `make test`, and of the live one, `make test-live`.

A test is `live` if it

- starts a daemon, a browser, a cluster, or a command that does a whole run,
- does whole runs over an S3 server,
- kills processes at random,
- or computes for more than a few seconds.

A proof over many cases has a few of them in the quick suite, and all others in the live one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

import pytest
from _pytest.mark.structures import ParameterSet

ONE_IN: Final = 8
"""The quick suite takes one in this many files of the corpus."""


def live_from(number: int, cases: Iterable[Any]) -> list[ParameterSet]:
    """Return cases as parameters; those from a number on are live."""
    return [_case(case, is_quick=n < number) for n, case in enumerate(cases)]


def _case(case: Any, *, is_quick: bool) -> ParameterSet:
    """Return a value, or a `pytest.param`, with its mark."""
    values, marks, name = case if isinstance(case, ParameterSet) else ((case,), (), None)
    return pytest.param(*values, marks=[*marks, *live_unless(is_quick)], id=name)


def live_unless(is_quick: bool) -> list[pytest.MarkDecorator]:
    """Return the marks of a case."""
    return [] if is_quick else [pytest.mark.live]


def is_sample(name: str) -> bool:
    """Whether the quick suite takes a file of the corpus: the same ones in every run."""
    return zlib.crc32(name.encode()) % ONE_IN == 0
