"""Quality: measures of frames, to keep or drop clips."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from frames_pipeline._renamed import old_names
from frames_pipeline.models import Provider, open_provider, provider_class
from frames_pipeline.models.technical import FrameQuality, TechnicalQuality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "QUALITY_PROVIDERS",
    "FrameQuality",
    "QualityProvider",
    "TechnicalQuality",
    "open_quality_provider",
    "quality_class",
]


class QualityProvider(Provider, Protocol):
    """Measures frames."""

    def measure(self, frames: NDArray[np.uint8]) -> FrameQuality:
        """Return the measures of one clip's frames.

        Args:
            frames: Pixels in one of its `samples`, in presentation order.
                Shape (n, height, width, 3 or 1).
        """
        ...


QUALITY_PROVIDERS: Final[dict[str, type[QualityProvider] | str]] = {
    TechnicalQuality.name: TechnicalQuality,
    "aesthetic": "frames_pipeline.models.aesthetics:AestheticQuality",
}
"""Quality providers by name, or where they are."""


def quality_class(name: str) -> Callable[..., QualityProvider]:
    """Return the class of the quality provider of that name, to look at without opening one.

    Raises:
        ConfigError: The name is unknown, or the class cannot be imported.
    """
    return provider_class("quality", name, choices=QUALITY_PROVIDERS)


def open_quality_provider(name: str, **parameters: object) -> QualityProvider:
    """Return the quality provider of that name.

    >>> open_quality_provider("technical", black_share=0.9).parameters()["black_share"]
    0.9

    Raises:
        ConfigError: The name is unknown, or the parameters are invalid.
    """
    return open_provider(
        "quality",
        name,
        choices=QUALITY_PROVIDERS,
        parameters=parameters,
        needs=("measure",),
    )


__getattr__ = old_names(
    __name__, {"AestheticQuality": "frames_pipeline.models.aesthetics:AestheticQuality"}
)
