"""The samples of frames that providers take: RGB or gray, of 8 or 16 bits.

A provider declares them by a class attribute: `samples = ("rgb8", "gray16")`. Without it, a
provider takes `rgb8`. A definition with a signature of other samples is refused when definitions
load, and again before its frames are read.
"""

from __future__ import annotations

from typing import Final, get_args

from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import Samples

DEFAULT_SAMPLES: Final = ("rgb8",)
"""Samples that a provider takes if it declares none."""

_EVERY: Final = get_args(Samples)


def samples_taken(provider: object) -> tuple[str, ...]:
    """Return the samples that a provider, or a class of providers, takes.

    Raises:
        ConfigError: It declares samples that no signature has.
    """
    found = getattr(provider, "samples", DEFAULT_SAMPLES)
    if isinstance(found, tuple | list) and found and set(found) <= set(_EVERY):
        return tuple(found)
    name = getattr(provider, "name", provider)
    message = f"provider {name!r} has samples={found!r}; set it, on the class, to a tuple of "
    raise ConfigError(message + ", ".join(_EVERY))


def check_samples(
    definition: str, provider: object, *, name: str, signature: str, samples: str
) -> None:
    """Check that a provider takes the samples of a definition's signature.

    Args:
        definition: Kind and name of the definition: `embeddings.default`.
        provider: The provider, or its class.
        name: Name of the provider.
        signature: Name or key of the signature.
        samples: Samples of the signature.

    Raises:
        ConfigError: It takes others.
    """
    taken = samples_taken(provider)
    if samples in taken:
        return
    message = f"{definition}: provider {name!r} takes {' or '.join(taken)} frames, and signature "
    message += f"{signature!r} has samples: {samples}; choose a signature with samples: "
    message += f"{taken[0]}, or a provider that takes {samples} (docs/guides/own-models.md)"
    raise ConfigError(message)
