"""Names of version 0.1 that still work, each with a `DeprecationWarning`. Delete this with 0.3."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MODULES: Final[Mapping[str, str]] = {
    "addresses": "text.addresses",
    "causes": "io.causes",
    "collection": "readers.stored_frames",
    "contact_sheet": "pictures.contact_sheet",
    "convert": "decoding.convert",
    "copies": "io.copies",
    "crop": "decoding.crop",
    "decoders": "decoding.backends",
    "decoders.auto": "decoding.backends.auto",
    "decoders.base": "decoding.backends.base",
    "decoders.feed": "decoding.backends.feed",
    "decoders.nvdec": "decoding.backends.nvdec",
    "decoders.pyav": "decoding.backends.pyav",
    "detectors": "clipping.detectors",
    "device": "decoding.device",
    "drawing": "pictures.drawing",
    "entries": "sources.entries",
    "file_objects": "io.file_objects",
    "gather": "decoding.assembly",
    "index": "container.index",
    "media": "container.media",
    "near_duplicates": "models.near_duplicates",
    "objects": "io.objects",
    "packets": "container.packets",
    "packs": "readers.packs",
    "pipeline.at_once": "pipeline.bounded",
    "pipeline.origins": "pipeline.content_index",
    "pipeline.places": "pipeline.workspace",
    "plain_text": "text.plain",
    "plan": "decoding.plan",
    "ray_workers": "workers.ray",
    "shots": "clipping.shot_rules",
    "sums": "io.sums",
    "sweep": "decoding.decode_pass",
    "tensors": "decoding.tensors",
    "thumbnails": "clipping.thumbnails",
    "timeline": "pictures.timeline",
    "times": "container.times",
    "training": "readers.datasets",
    "videos": "sources.videos",
    "withdrawal": "sources.withdrawal",
    "ycbcr": "decoding.ycbcr",
}
"""New path of each module of 0.1 below `frames_pipeline`."""

STEADY: Final[Mapping[str, str]] = {"batches": "sources.batches"}
"""Modules with an old path that stays public, without a warning."""


class OldModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import a module of 0.1 by its old path, as a view of the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "frames_pipeline" or name not in MODULES.keys() | STEADY.keys():
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Let the import system make a plain module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        new = f"frames_pipeline.{STEADY.get(name) or MODULES[name]}"
        if name in MODULES:
            warnings.warn(
                f"{module.__name__} is {new} now, and goes with version 0.3",
                DeprecationWarning,
                stacklevel=2,
            )
        target = importlib.import_module(new)
        module.__dict__["__getattr__"] = functools.partial(getattr, target)
        module.__doc__ = target.__doc__


def install() -> None:
    """Let old module paths be imported."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())


def old_names(
    module: str, names: Mapping[str, str], *, values: Mapping[str, tuple[object, str]] | None = None
) -> Callable[[str], object]:
    """Return a `__getattr__` for a module that resolves renamed and moved names, with a warning.

    Args:
        module: The module's `__name__`.
        names: New names by old name, as `name` or, if it moved, as `module:name`.
        values: Names without a new one, each with its value and the fact to use instead.
    """
    constants = values or {}

    def find(name: str) -> object:
        if name in constants:
            value, instead = constants[name]
            warnings.warn(
                f"{module}.{name} goes with version 0.3; use {instead}",
                DeprecationWarning,
                stacklevel=2,
            )
            return value
        if name not in names:
            message = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(message)
        there, _, new = names[name].rpartition(":")
        warnings.warn(
            f"{module}.{name} is {names[name].replace(':', '.')} now, and goes with version 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(there or module), new)

    return find


def old_attribute(old: str, new: str) -> property:
    """Return a property that gives a renamed attribute by its old name, with a warning."""

    def find(self: object) -> object:
        message = f"{type(self).__name__}.{old} is {new} now, and goes with version 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    return property(find)


def old_parameters(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take renamed parameters by their old names, with a warning."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in names.keys() & kwargs.keys():
                warnings.warn(
                    f"{name}({old}=…) is {names[old]}= now, and goes with 0.3",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
