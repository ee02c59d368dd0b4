"""Public names, constants and modules that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from frames_pipeline._lazy import lazy_module, lazy_names, lazy_values

PACKAGES = [
    "frames_pipeline",
    "frames_pipeline.clipping",
    "frames_pipeline.decoding.backends",
    "frames_pipeline.pictures",
    "frames_pipeline.pipeline",
    "frames_pipeline.store",
    "frames_pipeline.tables",
    "frames_pipeline.workers",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_home(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense


def test_a_name_is_imported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("email")  # stands for a package whose names are lazy
    monkeypatch.setitem(sys.modules, "lazy_package", package)
    monkeypatch.setitem(sys.modules, "lazy_package.home", ModuleType("lazy_package.home"))
    vars(sys.modules["lazy_package.home"])["value"] = 3
    find = lazy_names("lazy_package", {"home": ("value",)}, lambda name: f"other {name}")
    assert find("value") == 3
    assert vars(package)["value"] == 3
    assert find("old") == "other old"


def test_a_constant_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lazy_constants")
    monkeypatch.setitem(sys.modules, "lazy_constants", module)
    find = lazy_values("lazy_constants", {"ANSWER": lambda: 42})
    assert find("ANSWER") == 42
    assert vars(module)["ANSWER"] == 42
    with pytest.raises(AttributeError, match="'lazy_constants' has no attribute 'QUESTION'"):
        find("QUESTION")


def test_a_module_is_imported_when_an_attribute_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    module = lazy_module("colorsys")
    assert "colorsys" not in sys.modules
    assert module.rgb_to_hsv(1, 1, 1) == (0.0, 0.0, 1)
    assert "colorsys" in sys.modules
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense
