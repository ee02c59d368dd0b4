"""Fixtures for all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.checkout import ROOT, Checkout
from tests.s3 import S3, moto, proxied
from tests.videos import X264, make_video

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# Examples have no deadline: a busy machine takes longer. `--hypothesis-profile=full` has more.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("full", deadline=None, max_examples=200)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the checkout in the process that ends last: with xdist, not in its workers.

    That process also makes a cache folder, which the others share: tables of colours take 5 CPU
    seconds each (`decoding.tone_mapping`).
    """
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Checkout(ROOT), "checkout")
        folder = tempfile.mkdtemp(prefix="frames-pipeline-tests-")
        os.environ["XDG_CACHE_HOME"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail skipped tests in continuous integration."""
    return failed_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail skipped modules in continuous integration."""
    return failed_in_ci((yield))


def failed_in_ci(report: Report) -> Report:
    """Turn a skip or an expected failure into a failure if CI=1, unless a GPU is the reason."""
    if os.environ.get("CI") and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "Expected to fail"
        if "GPU" not in reason:
            report.outcome, report.longrepr = "failed", f"{reason}: a failure where CI=1"
            vars(report).pop("wasxfail", None)  # pytest ignores failures with it
    return report


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 48 numbered frames at 25 per second: H.264, B-frames, a key frame every 12."""
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4", options=X264)


@pytest.fixture(scope="session")
def video_25s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 125 numbered frames at 5 per second: H.264, B-frames, a key frame every 12."""
    path = tmp_path_factory.mktemp("videos") / "video_25s.mp4"
    return make_video(path, frames=125, rate=5, options=X264)


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Yield the port of an S3 server with one bucket."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with moto() as port:
        yield port


@pytest.fixture
def s3(s3_port: int) -> Iterator[S3]:
    """A folder of its own in the bucket."""
    with proxied(s3_port) as s3:
        yield s3
