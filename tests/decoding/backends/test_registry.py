"""The registry of decoder backends: one record per backend, and every choice reads it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

from frames_pipeline import DECODERS, ConfigError, PyavDecoder, open_decoder
from frames_pipeline.decoding.backends import Backend

TOY = """
from frames_pipeline.decoding import backends
from frames_pipeline.decoding.backends.base import Backend

backends.DECODERS["toy"] = Backend(
    "toy", "Decode as a toy.", "frames_pipeline.decoding.backends.pyav:PyavDecoder"
)
from frames_pipeline.cli import main
main()
"""


@pytest.mark.parametrize("backend", DECODERS.values(), ids=lambda backend: backend.name)
def test_settings_are_the_parameters_that_the_backend_takes(backend: Backend) -> None:
    parameters = inspect.signature(backend.open).parameters
    assert {one.name: one.default for one in backend.settings} == {
        name: parameter.default for name, parameter in parameters.items()
    }
    assert all(one.default >= one.minimum for one in backend.settings)
    assert backend.uses_gpu == any(one.name == "gpu" for one in backend.settings)
    assert backend.summary.endswith(".")


def test_a_backend_is_opened_with_its_settings() -> None:
    assert DECODERS["pyav"](threads=2) == PyavDecoder(2)
    assert open_decoder("pyav") == PyavDecoder()
    with pytest.raises(ConfigError, match="no decoder 'cud'; choose one of pyav, nvdec, auto"):
        open_decoder("cud")


def test_a_new_backend_is_on_the_command_line(tmp_path: Path, video: Path) -> None:
    """One record in the registry is all that it takes."""
    command = [sys.executable, "-c", TOY, "extract"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    text = click.unstyle(" ".join(shown.stdout.split()))
    assert "[pyav|nvdec|auto|toy]" in text
    assert "toy: Decode as a toy." in text
    done = subprocess.run(
        [*command, str(video), "--root", str(tmp_path), "--decoder", "toy", "--processes", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
