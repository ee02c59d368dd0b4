"""Captions from a vision language model behind an OpenAI-compatible endpoint."""

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
from frames_pipeline.models import check_number, check_whole
from frames_pipeline.models.captioning import (
    QUESTION,
    Caption,
    CaptionError,
    caption_text,
    check_prompt,
    shown_frames,
)
from frames_pipeline.models.pacing import MINUTE, Permit, RateLimiter
from frames_pipeline.text.addresses import signing_names

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam


@dataclass(frozen=True, slots=True)
class OpenAIVisionProvider:
    """A model behind an OpenAI-compatible `/chat/completions` endpoint.

    vLLM, Ollama, llama.cpp's server and the services that speak this protocol will do. The frames
    go along as JPEG images in one message, after the prompt.
    """

    name: ClassVar[str] = "openai"
    revision: ClassVar[int] = 1
    device_name: ClassVar[str] = "endpoint"

    base_url: str
    """Where the API is, with its version: `http://localhost:8000/v1`."""
    model: str
    """The model to ask, as the endpoint names it."""
    prompt: str = QUESTION
    """What to ask of the frames."""
    api_key: str | None = field(default=None, repr=False)
    """The secret that the endpoint wants, if it wants one. The environment is not looked at."""
    max_frames: int = 8
    """Most frames to send for one clip."""
    jpeg_quality: int = 90
    """JPEG quality of the frames that are sent, 1 to 95."""
    timeout: float = 120.0
    """Seconds to wait for one answer."""
    max_retries: int = 3
    """How often to ask again, with growing pauses, when the endpoint is busy or unreachable."""
    max_tokens: int | None = 300
    """Longest answer; `None` leaves it to the endpoint."""
    temperature: float | None = 0.0
    """How freely the model chooses its words; `None` leaves it to the endpoint."""
    seed: int | None = 0
    """Seed of that choice, where the endpoint supports one; `None` sends none."""
    concurrency: int = 4
    """How many clips it is asked about at once."""
    requests_per_minute: int | None = None
    """The most requests in any minute, retries included."""
    tokens_per_minute: int | None = None
    """Tokens of questions and answers in any minute at which it is asked no more for a while."""
    price_per_million_prompt_tokens: float | None = None
    """What a million tokens of questions costs, in any currency."""
    price_per_million_completion_tokens: float | None = None
    """What a million tokens of answers costs, in the same."""

    def __post_init__(self) -> None:
        """Refuse what no endpoint can be asked with."""
        _check_base_url(self.base_url)
        if not self.model:
            message = f"no caption model; set model to one that {self.base_url} serves"
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
            message = f"{missing[0]} is not set, and the other price is; set it, to 0 if it is free"
            raise ConfigError(message)
        for name in prices.keys() - missing:
            check_number(name, prices[name], smallest=0)

    def parameters(self) -> dict[str, Any]:
        """What decides the answer: neither the secret nor where, how fast and at what price."""
        names = ("model", "prompt", "max_frames", "jpeg_quality", "max_tokens", "temperature")
        asked = {name: getattr(self, name) for name in (*names, "seed")}
        return {"name": self.name, "revision": self.revision, **asked}

    def caption(self, clip: FrameBatch) -> Caption:
        """What the clip shows, from up to `max_frames` of its frames, spread evenly.

        A frame that the clip repeats is sent once, and damaged frames only if all are.
        """
        chosen = shown_frames(clip, self.max_frames)
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
        """The endpoint's answer, as it came."""
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
            # They see every request that is sent, the client's retries included.
            http_client=openai.DefaultHttpxClient(
                event_hooks={
                    "request": [lambda _: permits.append(self._pace.wait())],
                    "response": [lambda response: self._heed(response, permits[-1])],
                }
            ),
        )
        with self._errors_named(), client:
            response = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[{"role": "user", "content": _content(self.prompt, images)}],
                # What the environment says of an OpenAI account is nothing to other endpoints.
                extra_headers=dict.fromkeys(_ACCOUNT_HEADERS, openai.omit),
                **{name: value for name, value in choices.items() if value is not None},
            )
            body = bytes(response.http_response.content)
        self._pace.settle(permits[-1], _tokens_in(body))
        return body

    @property
    def _pace(self) -> RateLimiter:
        """One for all who ask that endpoint for that model with that key from this process."""
        with _PACES:
            return _pace_of(
                self.base_url,
                self.model,
                self.api_key,
                requests=self.requests_per_minute,
                tokens=self.tokens_per_minute,
            )

    def _heed(self, response: Any, permit: Permit) -> None:  # noqa: ANN401 - of httpx or httpx2
        """Hold everybody back for as long as a busy endpoint asks for, up to a minute."""
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            self._pace.settle(permit, 0)
        wanted = response.headers.get("Retry-After", "")
        if response.status_code in _BUSY and wanted.isascii() and wanted.isdigit():
            self._pace.hold(min(int(wanted), MINUTE))

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Turn the client's errors into ours, after its retries."""
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
            said = self._excerpt(error.response.content)
            message = f"{self._endpoint} answered with status {error.status_code}: {said}"
            raise _status_error(error.status_code, message) from error

    def _read(self, body: bytes) -> _Answer:
        """What the body of a chat completion says; servers differ in all but the essentials."""
        try:
            document = json.loads(body)
            choice = document["choices"][0]
            message = dict(choice["message"])
        except (ValueError, TypeError, LookupError) as error:
            complaint = f"{self._endpoint} gave no chat completion but {self._excerpt(body)}; is "
            complaint += "base_url the root of an OpenAI-compatible API, with its version?"
            raise CaptionError(complaint) from error
        finish_reason = str(choice.get("finish_reason") or "")
        text = _text(message.get("content"))
        if not text:
            why = message.get("refusal") or f"finish_reason {finish_reason!r}"
            complaint = f"{self.model} at {self._endpoint} gave no text ({why}); see whether it "
            raise CaptionError(complaint + "takes images, and whether max_tokens leaves it room")
        return _Answer(
            text=text,
            model=str(document.get("model") or self.model),
            finish_reason=finish_reason,
            prompt_tokens=_token_count(document, "prompt_tokens"),
            completion_tokens=_token_count(document, "completion_tokens"),
        )

    def _excerpt(self, body: bytes) -> str:
        """The start of an unexpected answer, without our secret if it is quoted there."""
        said = body.decode(errors="replace")
        return repr(
            said.replace(self.api_key, "***")[:_EXCERPT] if self.api_key else said[:_EXCERPT]
        )


_NO_KEY: Final = "none"
"""What endpoints that want no key are sent: without one, the client takes OPENAI_API_KEY from the
environment and would show it to whoever is at `base_url`."""
_PRICES: Final = ("price_per_million_prompt_tokens", "price_per_million_completion_tokens")
_ACCOUNT_HEADERS: Final = ("OpenAI-Organization", "OpenAI-Project")
_PACES: Final = threading.Lock()
"""Two threads that ask first must not have a pace each."""
_EXCERPT: Final = 300
"""Characters of an unexpected answer that a message quotes."""
_BUSY: Final = frozenset({408, 409, 425, 429})
"""Statuses that may pass, beside those from 500 on."""
_REFUSED: Final = frozenset({400, 413, 422})
"""Statuses that speak of this one request: too large, or not to the model's liking."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What matters of a chat completion."""

    text: str
    model: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


@lru_cache(maxsize=64)
def _pace_of(*_endpoint: str | None, requests: int | None, tokens: int | None) -> RateLimiter:
    return RateLimiter(requests, tokens)


def _text(content: object) -> str:
    """The text of an answer, empty if it has none."""
    return caption_text(content) if isinstance(content, str) else ""


def _token_count(document: dict[str, Any], name: str) -> int | None:
    usage = document.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


def _tokens_in(body: bytes) -> int:
    """Tokens of a question and its answer; 0 where they are not counted."""
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
    """The prompt, then the images as data URLs."""
    content: list[ChatCompletionContentPartParam] = [{"type": "text", "text": prompt}]
    for image in images:
        url = "data:image/jpeg;base64," + base64.b64encode(image).decode("ascii")
        content.append({"type": "image_url", "image_url": {"url": url}})
    return content


def _status_error(status: int, message: str) -> FramesPipelineError:
    """What a handler should make of an HTTP status."""
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
        message = "base_url carries credentials; put the secret into api_key"
        raise ConfigError(message)
    if not is_usable or any(character.isspace() for character in base_url):
        message = f"no caption endpoint at {base_url!r}; set base_url to an OpenAI-compatible API, "
        raise ConfigError(message + "such as http://localhost:8000/v1")
