"""Import public names of a package on first use.

A package lists its names twice, for type checkers and for this module, so that importing it is
cheap:

    if TYPE_CHECKING:
        from frames_pipeline.extract import extract_frames, probe

    __getattr__ = lazy_names(__name__, {"extract": ("extract_frames", "probe")})
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType


def lazy_names(
    package: str,
    homes: Mapping[str, Sequence[str]],
    otherwise: Callable[[str], object] | None = None,
) -> Callable[[str], object]:
    """Return a `__getattr__` for a package that imports a name from its module.

    Args:
        package: The package's `__name__`.
        homes: Names by the module that defines them, relative to the package.
        otherwise: Resolves other names, such as the ones of `old_names`.
    """
    modules = {name: f"{package}.{home}" for home, names in homes.items() for name in names}

    def find(name: str) -> object:
        if name in modules:
            found = getattr(importlib.import_module(modules[name]), name)
            setattr(sys.modules[package], name, found)  # found without this from now on
            return found
        if otherwise is not None:
            return otherwise(name)
        message = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(message)

    return find


class _LazyModule(ModuleType):
    """Stands for a module, and imports it when an attribute is first read."""

    def __getattr__(self, name: str) -> object:
        found = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, found)  # found without this from now on
        return found


def lazy_module(name: str) -> ModuleType:
    """Return a module that is imported when an attribute is first read.

    For modules that describe tables: their columns are known without Arrow and NumPy, which take
    longer to import than all that a code location needs.

        if TYPE_CHECKING:
            import pyarrow as pa
        else:
            pa = lazy_module("pyarrow")
    """
    return _LazyModule(name)


def lazy_values(module: str, values: Mapping[str, Callable[[], object]]) -> Callable[[str], object]:
    """Return a module's `__getattr__` that computes constants when they are first read.

    Args:
        module: The module's `__name__`.
        values: The function that computes each constant.
    """

    def find(name: str) -> object:
        if name not in values:
            message = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(message)
        found = values[name]()
        setattr(sys.modules[module], name, found)  # found without this from now on
        return found

    return find
