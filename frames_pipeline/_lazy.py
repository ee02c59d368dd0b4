"""Public names of a package that are imported when they are first used.

A package lists its names for type checkers and for this, so that importing it costs nothing:

    if TYPE_CHECKING:
        from frames_pipeline.extract import extract_frames, probe

    __getattr__ = lazy_names(__name__, {"extract": ("extract_frames", "probe")})
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def lazy_names(
    package: str,
    homes: Mapping[str, Sequence[str]],
    otherwise: Callable[[str], object] | None = None,
) -> Callable[[str], object]:
    """Return a package's `__getattr__`, which imports a name from its home.

    Args:
        package: The package's `__name__`.
        homes: Names by the module that defines them, relative to the package.
        otherwise: Finds names that are in no home, such as those of `old_names`.
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
