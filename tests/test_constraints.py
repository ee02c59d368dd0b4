"""constraints.txt pins everything that pyproject.toml asks for, and says nothing of an index."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]


def pins(python: str) -> dict[str, str]:
    """Versions by name for a version of Python, on Linux."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
    }
    found: dict[str, str] = {}
    for line in lines:
        if not line.startswith("#"):
            pin = Requirement(line)
            assert [part.operator for part in pin.specifier] == ["=="], line
            if pin.marker is None or pin.marker.evaluate(environment):
                assert pin.name not in found, line
                found[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    return found


def requirements() -> Iterator[Requirement]:
    """Dependencies and extras, without those that name this project's own extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    for text in [*project["dependencies"], *extras]:
        if not text.startswith("frames-pipeline["):
            yield Requirement(text)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_everything_is_pinned_as_it_is_asked_for(python: str) -> None:
    pinned = pins(python)
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} has {version}"
    assert "scikit-video" in pinned  # installed by the Makefile, for the demo


def test_no_index_is_named() -> None:
    text = (REPOSITORY / "constraints.txt").read_text()
    assert "//" not in text
    assert "--" not in text
