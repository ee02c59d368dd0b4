"""Libraries that are in no extra that `make test` installs, since some sources bring gigabytes."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(*modules: str) -> None:
    """Skip a test for want of libraries; in continuous integration, fail it."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        said = f"there is no {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
