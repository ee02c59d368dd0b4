"""Captions from a vision-language model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import importlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError, FramesPipelineError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import check_frames, check_number, check_whole
from frames_pipeline.models.captioning import (
    QUESTION,
    Caption,
    CaptionError,
    caption_text,
    check_prompt,
)
from frames_pipeline.models.pacing import MINUTE, Permit, RateLimiter
from frames_pipeline.models.shown_frames import shown_frames
from frames_pipeline.text.addresses import signing_names

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam


@dataclass(frozen=True, slots=True)
class OpenAIVisionProvider:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint.

    Works with vLLM, Ollama, llama.cpp's server and other services with this protocol. The frames
    are sent as JPEG images in one message, after the prompt.
    """

    name: ClassVar[str] = "openai"
    revision: ClassVar[int] = 1
    device_name: ClassVar[str] = "endpoint"

    base_url: str
    """Base URL of the API, with its version: `http://localhost:8000/v1`."""
    model: str
    """Name of the model at the endpoint."""
    prompt: str = QUESTION
    """The prompt about the frames."""
    api_key: str | None = field(default=None, repr=False)
    """API key, if the endpoint needs one. Environment variables are ignored."""
    max_frames: int = 8
    """Maximum frames to send per clip."""
    jpeg_quality: int = 90
    """JPEG quality of the sent frames, 1 to 95."""
    timeout: float = 120.0
    """Seconds to wait for an answer."""
    max_retries: int = 3
    """Retries, with growing pauses, if the endpoint is busy or unreachable."""
    max_tokens: int | None = 300
    """Maximum tokens of the caption; `None` uses the endpoint's default."""
    temperature: float | None = 0.0
    """Sampling temperature; `None` uses the endpoint's default."""
    seed: int | None = 0
    """Sampling seed, if the endpoint supports one; `None` sends none."""
    concurrency: int = 4
    """Number of concurrent requests."""
    requests_per_minute: int | None = None
    """Maximum requests in any minute, retries included."""
    tokens_per_minute: int | None = None
    """Limit on tokens, of prompts and captions, in any minute; at the limit, requests wait."""
    price_per_million_prompt_tokens: float | None = None
    """Price of a million prompt tokens, in any currency."""
    price_per_million_completion_tokens: float | None = None
    """Price of a million completion tokens, in the same currency."""

    def __post_init__(self) -> None:
        """Check every parameter."""
        _check_base_url(self.base_url)
        if not self.model:
            message = f"no caption model; set `model` to a model that {self.base_url} serves"
            raise ConfigError(message)
        check_prompt(self.prompt)
        check_whole("max_frames", self.max_frames, smallest=1)
        check_whole("jpeg_quality", self.jpeg_quality, smallest=1, largest=95)
        check_whole("max_retries", self.max_retries, smallest=0)
        check_number("timeout", self.timeout, smallest=0.001, largest=3600)
        if self.max_tokens is not None:
            check_whole("max_tokens", self.max_tokens, smallest=1)
        if self.temperature is not None:
            check_number("temperature", self.temperature, smallest=0, largest=2)
        check_whole("concurrency", self.concurrency, smallest=1, largest=256)
        for name in ("requests_per_minute", "tokens_per_minute"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), smallest=1)
        self._check_prices()

    def _check_prices(self) -> None:
        prices = {name: getattr(self, name) for name in _PRICES}
        missing = [name for name, price in prices.items() if price is None]
        if len(missing) == 1:
            message = f"{missing[0]} is not set, and the other price is; set it (0 if free)"
            raise ConfigError(message)
        for name in prices.keys() - missing:
            check_number(name, prices[name], smallest=0)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that affect the caption text.

        Leaves out secret, location, speed and price.
        """
        names = ("model", "prompt", "max_frames", "jpeg_quality", "max_tokens", "temperature")
        asked = {name: getattr(self, name) for name in (*names, "seed")}
        return {"name": self.name, "revision": self.revision, **asked}

    def caption(self, clip: FrameBatch) -> Caption:
        """Return a caption of the clip, from up to `max_frames` of its frames, spread evenly.

        Repeated frames are sent once. Damaged frames are sent only if all are damaged.
        """
        chosen = shown_frames(clip, self.max_frames)
        check_frames(clip.frames)
        images = [_jpeg(frame, quality=self.jpeg_quality) for frame in clip.frames[chosen]]
        answer = self._read(self._ask(images))
        return Caption(
            text=answer.text,
            model=answer.model,
            positions=tuple(clip.positions[chosen].tolist()),
            pts=tuple(clip.pts[chosen].tolist()),
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )

    @property
    def _endpoint(self) -> str:
        return self.base_url.rstrip("/") + "/chat/completions"

    def _ask(self, images: list[bytes]) -> bytes:
        """Send a request; return the raw body of the answer."""
        openai = _import_openai()
        choices = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        permits: list[Permit] = []
        client = openai.OpenAI(
            base_url=self.base_url,
            api_key=self.api_key or _NO_KEY,
            timeout=self.timeout,
            max_retries=self.max_retries,
            # The hooks see every request, including the client's own retries.
            http_client=openai.DefaultHttpxClient(
                event_hooks={
                    "request": [lambda _: permits.append(self._limiter.wait())],
                    "response": [lambda response: self._apply_retry_after(response, permits[-1])],
                }
            ),
        )
        with self._typed_errors(), client:
            response = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[{"role": "user", "content": _content(self.prompt, images)}],
                # Do not send an OpenAI account from the environment to other endpoints.
                extra_headers=dict.fromkeys(_ACCOUNT_HEADERS, openai.omit),
                **{name: value for name, value in choices.items() if value is not None},
            )
            body = bytes(response.http_response.content)
        self._limiter.settle(permits[-1], _tokens_in(body))
        return body

    @property
    def _limiter(self) -> RateLimiter:
        """The rate limiter that all requests of this process share, per endpoint, model and key."""
        with _LIMITERS_LOCK:
            return _shared_limiter(
                self.base_url,
                self.model,
                self.api_key,
                requests=self.requests_per_minute,
                tokens=self.tokens_per_minute,
            )

    def _apply_retry_after(self, response: Any, permit: Permit) -> None:  # noqa: ANN401 - of httpx or httpx2
        """Hold all requests for as long as a busy endpoint asks, up to a minute."""
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            self._limiter.settle(permit, 0)
        wanted = response.headers.get("Retry-After", "")
        if response.status_code in _BUSY and wanted.isascii() and wanted.isdigit():
            self._limiter.hold(min(int(wanted), MINUTE))

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Convert the client's errors to this library's, after its retries."""
        openai = _import_openai()
        tries = f"tried {self.max_retries + 1} times"
        try:
            yield
        except openai.APITimeoutError as error:
            message = f"{self._endpoint} did not answer within {self.timeout:g} s, {tries}"
            raise TransientError(message) from error
        except openai.APIConnectionError as error:
            message = f"cannot reach {self._endpoint}, {tries}: {error.__cause__ or error}"
            raise TransientError(message) from error
        except openai.APIStatusError as error:
            excerpt = self._excerpt(error.response.content)
            message = f"{self._endpoint} answered with status {error.status_code}: {excerpt}"
            raise _status_error(error.status_code, message) from error

    def _read(self, body: bytes) -> _Answer:
        """Parse the body of a chat completion. Servers differ in all but the essentials."""
        try:
            document = json.loads(body)
            choice = document["choices"][0]
            message = dict(choice["message"])
        except (ValueError, TypeError, LookupError) as error:
            complaint = f"{self._endpoint} returned no chat completion: {self._excerpt(body)}; set "
            complaint += "base_url to the root of an OpenAI-compatible API, with its version"
            raise CaptionError(complaint) from error
        finish_reason = str(choice.get("finish_reason") or "")
        text = _text(message.get("content"))
        if not text:
            why = message.get("refusal") or f"finish_reason {finish_reason!r}"
            complaint = f"{self.model} at {self._endpoint} gave no text ({why}); check that it "
            raise CaptionError(complaint + "takes images and that max_tokens is large enough")
        return _Answer(
            text=text,
            model=str(document.get("model") or self.model),
            finish_reason=finish_reason,
            prompt_tokens=_token_count(document, "prompt_tokens"),
            completion_tokens=_token_count(document, "completion_tokens"),
        )

    def _excerpt(self, body: bytes) -> str:
        """Return the start of an unexpected answer, with the API key removed."""
        text = body.decode(errors="replace")
        return repr(
            text.replace(self.api_key, "***")[:_EXCERPT] if self.api_key else text[:_EXCERPT]
        )


_NO_KEY: Final = "none"
"""Placeholder for endpoints without a key. Without it, the client takes OPENAI_API_KEY from the
environment and would send it to `base_url`."""
_PRICES: Final = ("price_per_million_prompt_tokens", "price_per_million_completion_tokens")
_ACCOUNT_HEADERS: Final = ("OpenAI-Organization", "OpenAI-Project")
_LIMITERS_LOCK: Final = threading.Lock()
"""Guards the cache of limiters, so that two threads cannot create two for one endpoint."""
_EXCERPT: Final = 300
"""Maximum characters of an unexpected answer in a message."""
_BUSY: Final = frozenset({408, 409, 425, 429})
"""Statuses worth another try, besides those from 500 on."""
_REFUSED: Final = frozenset({400, 413, 422})
"""Statuses about one request: too large, or unsuitable for the model."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The parts of a chat completion to keep."""

    text: str
    model: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


@lru_cache(maxsize=64)
def _shared_limiter(
    *_endpoint: str | None, requests: int | None, tokens: int | None
) -> RateLimiter:
    return RateLimiter(requests, tokens)


def _text(content: object) -> str:
    """Return the text of an answer; empty if there is none."""
    return caption_text(content) if isinstance(content, str) else ""


def _token_count(document: dict[str, Any], name: str) -> int | None:
    usage = document.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _tokens_in(body: bytes) -> int:
    """Return the tokens of prompt and answer; 0 if the endpoint gives no count."""
    try:
        document = json.loads(body)
    except ValueError:
        return 0
    if not isinstance(document, dict):
        return 0
    names = ("prompt_tokens", "completion_tokens")
    return sum(_token_count(document, name) or 0 for name in names)


def _jpeg(frame: NDArray[np.uint8], *, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _content(prompt: str, images: list[bytes]) -> list[ChatCompletionContentPartParam]:
    """Return the message content: the prompt, then the images as data URLs."""
    content: list[ChatCompletionContentPartParam] = [{"type": "text", "text": prompt}]
    for image in images:
        url = "data:image/jpeg;base64," + base64.b64encode(image).decode("ascii")
        content.append({"type": "image_url", "image_url": {"url": url}})
    return content


def _status_error(status: int, message: str) -> FramesPipelineError:
    """Return the error for an HTTP status."""
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(message)
    if status in _REFUSED:
        return CaptionError(message)
    return ConfigError(f"{message}; check base_url, model and api_key")


def _import_openai() -> ModuleType:
    try:
        return importlib.import_module("openai")
    except ImportError as error:
        message = "captions need the openai package: pip install 'frames-pipeline[caption]'"
        raise ConfigError(message) from error


def _check_base_url(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        has_credentials = parts.username is not None or bool(signing_names(base_url))
    except ValueError:
        is_usable = has_credentials = False
    if has_credentials:
        message = "base_url contains credentials; put the secret into api_key"
        raise ConfigError(message)
    if not is_usable or any(character.isspace() for character in base_url):
        message = (
            f"{base_url!r} is not a usable base_url; set base_url to an OpenAI-compatible API, "
        )
        raise ConfigError(message + "such as http://localhost:8000/v1")
