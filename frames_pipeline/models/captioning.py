"""Captions: text about a clip from a vision-language model.

Holds the protocol and the common parts of its providers. Each provider has its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from frames_pipeline._renamed import old_names
from frames_pipeline.errors import ConfigError, SourceError
from frames_pipeline.models import Provider, open_provider, provider_class

if TYPE_CHECKING:
    from frames_pipeline.frames import FrameBatch

QUESTION: Final = "Describe in two or three sentences what these frames of one video clip show."
"""The default prompt."""


class CaptionError(SourceError):
    """The model gave no caption for this clip: record it, go on."""

    reason = "no_caption"


@dataclass(frozen=True, slots=True)
class Caption:
    """A model's text about a clip, and the frames it saw."""

    text: str
    """The text, stripped of surrounding white space; never empty."""
    model: str
    """Name of the model, as the endpoint gives it."""
    positions: tuple[int, ...]
    """Positions of the frames that were sent, in presentation order."""
    pts: tuple[int, ...]
    """Their presentation timestamps, in the clip's `time_base` units."""
    finish_reason: str = "stop"
    """Reason for the end of the text, from the endpoint: `length` means that it is cut off."""
    prompt_tokens: int | None = None
    """Tokens of the prompt, images included; `None` if the endpoint gives no count."""
    completion_tokens: int | None = None
    """Tokens of the text; `None` if the endpoint gives no count."""


class CaptionProvider(Provider, Protocol):
    """Describes a clip in words."""

    @property
    def model(self) -> str:
        """Name of the model."""
        ...

    @property
    def prompt(self) -> str:
        """The prompt."""
        ...

    def caption(self, clip: FrameBatch) -> Caption:
        """Return a caption of the clip.

        Raises:
            NoFramesError: The clip has no frames.
            CaptionError: The model gives no caption for this clip; another try fails too.
            ConfigError: The provider's configuration is wrong for its endpoint.
            TransientError: The endpoint did not answer; try again later.
        """
        ...


CAPTION_PROVIDERS: Final[dict[str, str]] = {
    "openai": "frames_pipeline.models.endpoint_captioning:OpenAIVisionProvider",
    "transformers": "frames_pipeline.models.local_captioning:TransformersCaptioner",
}
"""Caption providers as `module:Class`, by name."""


def caption_class(name: str) -> Callable[..., CaptionProvider]:
    """Return the class of the caption provider of that name, to look at without opening one.

    Raises:
        ConfigError: The name is unknown, or the class cannot be imported.
    """
    return provider_class("caption", name, choices=CAPTION_PROVIDERS)


def open_caption_provider(name: str, **parameters: object) -> CaptionProvider:
    """Return the caption provider of that name.

    >>> open_caption_provider("openai", base_url="http://localhost:8000/v1", model="qwen").model
    'qwen'

    Raises:
        ConfigError: The name is unknown, or the parameters are invalid.
    """
    return open_provider(
        "caption",
        name,
        choices=CAPTION_PROVIDERS,
        parameters=parameters,
        needs=("model", "prompt", "caption"),
    )


def identifying(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a provider that affect the caption text.

    >>> identifying("openai", {"base_url": "http://a/v1", "model": "m", "concurrency": 8})
    {'model': 'm'}
    """
    ignored = _NOT_IDENTIFYING.get(name, _NOT_IDENTIFYING_BY_DEFAULT)
    return {key: value for key, value in parameters.items() if key not in ignored}


def concurrency_of(provider: CaptionProvider) -> int:
    """Return the number of concurrent requests: the provider's `concurrency`, or 1."""
    return int(getattr(provider, "concurrency", 1))


def caption_text(text: str) -> str:
    """Return a text without surrounding white space and broken characters."""
    # A text that is cut off may end in half a surrogate pair, which cannot be stored.
    return text.encode(errors="replace").decode().strip()


def check_prompt(prompt: str) -> None:
    """Check that a prompt is not empty.

    Raises:
        ConfigError: The prompt is empty.
    """
    if not prompt.strip():
        message = "the caption prompt is empty; set prompt to a question about the frames"
        raise ConfigError(message)


_NOT_IDENTIFYING: Final = {
    "openai": frozenset(
        {
            "base_url",
            "api_key",
            "timeout",
            "max_retries",
            "concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "price_per_million_prompt_tokens",
            "price_per_million_completion_tokens",
        }
    ),
    "transformers": frozenset({"device"}),
}
_NOT_IDENTIFYING_BY_DEFAULT: Final = frozenset({"base_url"})
"""Parameters of location, speed and price, which do not affect the caption text."""

__getattr__ = old_names(
    __name__, {"shown_frames": "frames_pipeline.models.shown_frames:shown_frames"}
)
