"""What makes rows out of frames: embeddings, quality measures, captions.

Each module has one protocol, its providers, a dict of them by name, and the function that opens
one. This package holds what they have in common; it imports none of them.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError

_PROVIDER: Final = ("name", "revision", "parameters")
_SLICE_PIXELS: Final = 1 << 20
"""Pixels that a provider works on at once; a larger frame is a slice of its own."""


class Provider(Protocol):
    """What every provider says of itself."""

    @property
    def name(self) -> str:
        """What users choose it by."""
        ...

    @property
    def revision(self) -> int:
        """Version of its algorithm: raised whenever the same input would give another answer."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What identifies its answers, as JSON values: name, revision and all that changes them.

        Secrets, and what decides only how long it takes, are left out.
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
    """The provider of that name, with these parameters.

    Args:
        kind: What it makes, for people.
        name: One of the choices, or `module:Class` for one's own.
        choices: Those that are here, or where they are as `module:Class`.
        parameters: What its constructor takes.
        needs: What it must have besides what every provider has.

    Raises:
        ConfigError: There is none of that name, or it does not take these parameters.
    """
    chosen = choices.get(name, name)
    made = _imported(kind, chosen, choices) if isinstance(chosen, str) else chosen
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
    """A class by module and name."""
    module, found, attribute = name.partition(":")
    if not found:
        message = f"no {kind} provider {name!r}; choose one of {', '.join(sorted(choices))}, or "
        raise ConfigError(f"{message}name a class of your own as module:Class")
    try:
        return cast("Callable[..., P]", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        message = f"{kind} provider {name!r} cannot be imported ({error}); is it installed here?"
        raise ConfigError(message) from error


def provider_parameters(provider: Provider) -> str:
    """Return the parameters that identify a provider's answers, as canonical JSON."""
    return json.dumps(provider.parameters(), sort_keys=True, separators=(",", ":"))


def check_number(name: str, value: object, *, smallest: float, largest: float = math.inf) -> None:
    """Refuse a parameter that is no number between these, both included.

    Raises:
        ConfigError: It is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not smallest <= cast(float, value) <= largest:
        limits = (
            f"from {smallest} to {largest}" if largest < math.inf else f"of {smallest} or above"
        )
        message = f"{name}={value!r} must be a number {limits}"
        raise ConfigError(message)


def check_whole(name: str, value: object, *, smallest: int, largest: float = math.inf) -> None:
    """Refuse a parameter that is no whole number between these, both included.

    Raises:
        ConfigError: It is not.
    """
    check_number(name, value, smallest=smallest, largest=largest)
    if not isinstance(value, int):
        message = f"{name}={value!r} must be a whole number"
        raise ConfigError(message)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a parameter that is none of these.

    Raises:
        ConfigError: It is not.
    """
    if value not in choices:
        message = f"no {name} {value!r}; choose one of {', '.join(choices)}"
        raise ConfigError(message)


def check_frames(frames: NDArray[np.uint8]) -> None:
    """Refuse what is not RGB frames.

    Raises:
        ConfigError: Another type or shape, or frames without a pixel.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        message = f"frames must be uint8 (n, height, width, 3), not {frames.dtype} {frames.shape}"
        raise ConfigError(message)
    if 0 in frames.shape[1:]:
        message = f"frames must have at least one pixel, not shape {frames.shape}"
        raise ConfigError(message)


def frame_slices(frames: NDArray[np.uint8]) -> Iterator[slice]:
    """Slices that cover the frames in order, each small enough to work on at once; at least one."""
    n, height, width, _ = frames.shape
    step = max(1, _SLICE_PIXELS // (height * width))
    return (slice(start, min(start + step, n)) for start in range(0, max(n, 1), step))
