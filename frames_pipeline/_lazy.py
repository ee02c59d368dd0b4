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
