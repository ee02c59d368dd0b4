"""Libraries outside the extras of `make test`, since some sources bring gigabytes."""

from __future__ import annotations

import importlib.util

import pytest

from frames_pipeline.store.chunk_codecs import COMPRESSIONS


def need(*modules: str) -> None:
    """Skip a test unless these libraries are installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"there is no {', '.join(missing)}")


def need_compression(name: str) -> None:
    """Skip a test unless the package of this compression is installed."""
    need(*filter(None, [COMPRESSIONS[name].package]))
