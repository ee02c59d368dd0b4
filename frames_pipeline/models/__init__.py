"""Models that turn frames into rows: embeddings, quality measures, captions.

Each module has one protocol, its providers, a dict of them by name, and a function that opens one.
This package holds their common parts and imports none of them.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from frames_pipeline.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PROVIDER: Final = ("name", "revision", "parameters")
_SLICE_PIXELS: Final = 1 << 20
"""Maximum pixels to process at once; a larger frame is a slice of its own."""


class Provider(Protocol):
    """The identity of a provider.

    A class attribute `samples` lists the samples of the frames that it takes: signatures with
    others are refused (see `models.samples`). Without it, a provider takes `rgb8`.
    """

    @property
    def name(self) -> str:
        """Name for configuration."""
        ...

    @property
    def revision(self) -> int:
        """Version of its algorithm. Raise it when the same input would give another result."""
        ...

    def parameters(self) -> dict[str, Any]:
        """Return all parameters that affect the result, as JSON values, with name and revision.

        Secrets and parameters that affect only the speed are left out.
        """
        ...


P = TypeVar("P", bound=Provider)


def open_provider(
    kind: str,
    name: str,
    *,
    choices: Mapping[str, type[P] | str],
    parameters: Mapping[str, Any],
    needs: Collection[str],
) -> P:
    """Return the provider of that name, with these parameters.

    Args:
        kind: Kind of provider, for messages.
        name: One of the choices, or `module:Class` for a custom provider.
        choices: Built-in providers by name: classes, or `module:Class`.
        parameters: Arguments of its constructor.
        needs: Attributes it must have besides those of `Provider`.

    Raises:
        ConfigError: The name is unknown, or the parameters are invalid.
    """
    made = provider_class(kind, name, choices=choices)
    signature = inspect.signature(made)
    try:
        signature.bind(**parameters)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        message = f"{kind} provider {name!r}: {error}; its parameters are: {known}"
        raise ConfigError(message) from error
    provider = made(**parameters)
    lacking = [one for one in (*_PROVIDER, *needs) if not hasattr(provider, one)]
    if lacking:
        message = (
            f"{kind} provider {name!r} has no {', '.join(lacking)}; see docs/guides/own-models.md"
        )
        raise ConfigError(message)
    return provider


def _imported(kind: str, name: str, choices: Mapping[str, type[P] | str]) -> Callable[..., P]:
    """Import a class by module and name."""
    module, found, attribute = name.partition(":")
    if not found:
        message = f"no {kind} provider {name!r}; choose one of {', '.join(sorted(choices))}, or "
        raise ConfigError(f"{message}name your own class as module:Class")
    try:
        return cast("Callable[..., P]", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        message = (
            f"{kind} provider {name!r} cannot be imported ({error}); install it in this environment"
        )
        raise ConfigError(message) from error


def provider_class(
    kind: str, name: str, *, choices: Mapping[str, type[P] | str]
) -> Callable[..., P]:
    """Return the class of the provider of that name; import it if need be.

    Raises:
        ConfigError: There is none, or it cannot be imported.
    """
    chosen = choices.get(name, name)
    return _imported(kind, chosen, choices) if isinstance(chosen, str) else chosen


def provider_parameters(provider: Provider) -> str:
    """Return the parameters that identify a provider's answers, as canonical JSON."""
    return json.dumps(provider.parameters(), sort_keys=True, separators=(",", ":"))


def check_number(name: str, value: object, *, smallest: float, largest: float = math.inf) -> None:
    """Check that a parameter is a number within limits, both included.

    Raises:
        ConfigError: The value is out of range or not a number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not smallest <= cast(float, value) <= largest:
        limits = f"from {smallest} to {largest}" if largest < math.inf else f"of {smallest} or more"
        message = f"{name}={value!r} must be a number {limits}"
        raise ConfigError(message)


def check_whole(name: str, value: object, *, smallest: int, largest: float = math.inf) -> None:
    """Check that a parameter is a whole number within limits, both included.

    Raises:
        ConfigError: The value is out of range or not a whole number.
    """
    check_number(name, value, smallest=smallest, largest=largest)
    if not isinstance(value, int):
        message = f"{name}={value!r} must be a whole number"
        raise ConfigError(message)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check that a parameter is one of the choices.

    Raises:
        ConfigError: The value is another.
    """
    if value not in choices:
        message = f"no {name} {value!r}; choose one of {', '.join(choices)}"
        raise ConfigError(message)


def check_frames(frames: NDArray[np.uint8], *, channels: Collection[int] = (3,)) -> None:
    """Check that frames are uint8 frames, by default RGB.

    Args:
        frames: The frames.
        channels: Numbers of channels that they may have: 3 for RGB, 1 for gray.

    Raises:
        ConfigError: The type or the shape differs, or a frame has no pixels.
    """
    if frames.dtype != "uint8" or frames.ndim != 4 or frames.shape[3] not in channels:
        named = " or ".join(map(str, channels))
        message = f"frames must be uint8 (n, height, width, {named}), not {frames.dtype} "
        raise ConfigError(f"{message}{frames.shape}")
    if 0 in frames.shape[1:]:
        message = f"frames must have at least one pixel, not shape {frames.shape}"
        raise ConfigError(message)


def frame_slices(frames: NDArray[np.uint8]) -> Iterator[slice]:
    """Yield one or more slices that cover the frames, each small enough to process at once."""
    n, height, width, _ = frames.shape
    step = max(1, _SLICE_PIXELS // (height * width))
    return (slice(start, min(start + step, n)) for start in range(0, max(n, 1), step))
