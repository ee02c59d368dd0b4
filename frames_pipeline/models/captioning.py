"""Captions: a sentence or more about a clip, from a vision language model.

The protocol, and what its providers share. Each provider has a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from frames_pipeline._renamed import old_names
from frames_pipeline.errors import ConfigError, SourceError
from frames_pipeline.models import Provider, open_provider

if TYPE_CHECKING:
    from frames_pipeline.frames import FrameBatch

QUESTION: Final = "Describe in two or three sentences what these frames of one video clip show."
"""What is asked where nothing else is said."""


class CaptionError(SourceError):
    """The endpoint answers, but gives no caption for this clip: record it, go on."""

    reason = "no_caption"


@dataclass(frozen=True, slots=True)
class Caption:
    """What a model said about a clip, and which of its frames it was shown."""

    text: str
    """The answer, without white space around it; never empty."""
    model: str
    """The model that answered, as the endpoint names it."""
    positions: tuple[int, ...]
    """Positions of the frames that were sent, in presentation order."""
    pts: tuple[int, ...]
    """Their presentation timestamps, in the clip's `time_base` units."""
    finish_reason: str = "stop"
    """Why the model stopped, as the endpoint says: `length` means that the text is cut off."""
    prompt_tokens: int | None = None
    """Tokens of the question, images included; `None` where the endpoint does not count."""
    completion_tokens: int | None = None
    """Tokens of the answer; `None` where the endpoint does not count."""


class CaptionProvider(Provider, Protocol):
    """Says in words what a clip shows."""

    @property
    def model(self) -> str:
        """The model that it asks."""
        ...

    @property
    def prompt(self) -> str:
        """What it asks."""
        ...

    def caption(self, clip: FrameBatch) -> Caption:
        """What the clip shows.

        Raises:
            NoFramesError: The clip has no frames.
            CaptionError: There is no caption for this clip, whatever is tried.
            ConfigError: The provider is not set up for its endpoint.
            TransientError: The endpoint did not answer; it may later.
        """
        ...


CAPTION_PROVIDERS: Final[dict[str, str]] = {
    "openai": "frames_pipeline.models.endpoint_captioning:OpenAIVisionProvider",
    "transformers": "frames_pipeline.models.local_captioning:TransformersCaptioner",
}
"""Where caption providers are, by name."""


def open_caption_provider(name: str, **parameters: object) -> CaptionProvider:
    """The caption provider of that name.

    >>> open_caption_provider("openai", base_url="http://localhost:8000/v1", model="qwen").model
    'qwen'

    Raises:
        ConfigError: There is none of that name, or it cannot be set up with these parameters.
    """
    return open_provider(
        "caption",
        name,
        choices=CAPTION_PROVIDERS,
        parameters=parameters,
        needs=("model", "prompt", "caption"),
    )


def identifying(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those parameters of a provider of that name that decide its answers.

    >>> identifying("openai", {"base_url": "http://a/v1", "model": "m", "concurrency": 8})
    {'model': 'm'}
    """
    beside = _BESIDE.get(name, _BESIDE_OF_OTHERS)
    return {key: value for key, value in parameters.items() if key not in beside}


def concurrency_of(provider: CaptionProvider) -> int:
    """How many clips it may be asked about at once: its `concurrency`, or 1 if it has none."""
    return int(getattr(provider, "concurrency", 1))


def caption_text(text: str) -> str:
    """An answer as it is kept: without white space around it, and with whole characters only."""
    # One that is cut off may end in half a surrogate pair, which no file can hold.
    return text.encode(errors="replace").decode().strip()


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that asks nothing.

    Raises:
        ConfigError: It does.
    """
    if not prompt.strip():
        message = "the caption prompt is empty; set prompt to what to ask of the frames"
        raise ConfigError(message)


_BESIDE: Final = {
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
_BESIDE_OF_OTHERS: Final = frozenset({"base_url"})
"""Parameters that decide where, how fast and at what price, and not what the answer is."""

__getattr__ = old_names(
    __name__, {"shown_frames": "frames_pipeline.models.shown_frames:shown_frames"}
)
