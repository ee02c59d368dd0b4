"""Captions: what is sent to the endpoint, and what is made of its answers."""

from __future__ import annotations

import json
import pickle
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    NoFramesError,
    SourceError,
    TransientError,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models.captioning import (
    CAPTION_PROVIDERS,
    CaptionError,
    open_caption_provider,
)
from frames_pipeline.models.endpoint_captioning import OpenAIVisionProvider
from frames_pipeline.models.pacing import Permit, RateLimiter
from tests.models.frame_batches import flat_frames, frame_batch
from tests.models.vision_server import Picture, Reply, VisionServer, completion, running_server

SECRET = "sk-very-secret-0123456789"
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VisionServer]:
    """An endpoint on the loopback that sees what it is sent."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running_server() as vision:
        yield vision


def provider_for(server: VisionServer, **parameters: Any) -> OpenAIVisionProvider:
    return OpenAIVisionProvider(base_url=server.url, model="stub-vl", **parameters)


def numbered_clip(n: int) -> FrameBatch:
    """A clip whose frame number i is grey of level i."""
    return frame_batch(flat_frames(*[(level,) * 3 for level in range(n)]))


def test_endpoint_sees_the_frames(server: VisionServer) -> None:
    """The images that arrive decode to the frames, in order, at their size."""
    caption = provider_for(server).caption(frame_batch(flat_frames(*COLOURS)))
    [pictures] = server.pictures
    assert [picture.size for picture in pictures] == [(64, 48)] * 4
    seen = np.array([picture.colour for picture in pictures])
    np.testing.assert_allclose(seen, COLOURS, atol=2)
    assert caption.text == "4 images"


def test_caption_says_where_it_comes_from(server: VisionServer) -> None:
    """A caption carries the frames that were sent, the model that answered, and what it cost."""
    clip = frame_batch(flat_frames(*COLOURS), positions=[30, 42, 54, 66])
    caption = provider_for(server).caption(clip)
    assert caption.positions == (30, 42, 54, 66)
    assert caption.pts == (30 * 512, 42 * 512, 54 * 512, 66 * 512)
    assert caption.model == "stub-vl-7b"
    assert (caption.prompt_tokens, caption.completion_tokens) == (321, 12)
    assert caption.finish_reason == "stop"


def test_request_is_what_was_configured(server: VisionServer) -> None:
    """Prompt, model and sampling go along; what is `None` is left to the endpoint."""
    clip = frame_batch(flat_frames((0, 0, 0)))
    provider_for(server, prompt="What?", max_tokens=50, seed=None).caption(clip)
    [request] = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "stub-vl"
    assert request["messages"][0]["role"] == "user"
    assert request["messages"][0]["content"][0] == {"type": "text", "text": "What?"}
    assert (request["max_tokens"], request["temperature"]) == (50, 0.0)
    assert "seed" not in request


def test_frames_are_spread_evenly(server: VisionServer) -> None:
    """Of more frames than may be sent, the middles of equal parts are."""
    caption = provider_for(server, max_frames=3).caption(numbered_clip(10))
    assert caption.positions == (1, 5, 8)
    assert [picture.colour[0] for picture in server.pictures[0]] == [1, 5, 8]


def test_repeated_frames_are_sent_once(server: VisionServer) -> None:
    """A clip that repeats frames, as a rate above the source's does, sends each once."""
    clip = frame_batch(flat_frames(*[(9, 9, 9)] * 6), positions=[0, 0, 0, 1, 1, 1])
    assert provider_for(server).caption(clip).positions == (0, 1)


def test_damaged_frames_are_spared(server: VisionServer) -> None:
    """Damaged frames are not sent while there are others."""
    clip = frame_batch(flat_frames(*COLOURS), corrupt=[0, 2])
    assert provider_for(server).caption(clip).positions == (1, 3)
    clip = frame_batch(flat_frames(*COLOURS), corrupt=[0, 1, 2, 3])
    assert provider_for(server).caption(clip).positions == (0, 1, 2, 3)


def test_smallest_frame(server: VisionServer) -> None:
    """A frame of one pixel is a picture too."""
    provider_for(server).caption(frame_batch(flat_frames((255, 255, 255), size=(1, 1))))
    assert server.pictures == [[Picture(size=(1, 1), colour=(255, 255, 255))]]


def test_clip_without_frames(server: VisionServer) -> None:
    """There is nothing to ask of a clip without frames."""
    with pytest.raises(NoFramesError, match="no frames to caption"):
        provider_for(server).caption(frame_batch(flat_frames()))
    assert server.requests == []


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_busy_endpoint_is_asked_again(server: VisionServer, status: int) -> None:
    """A status that may pass is tried again, and the caption comes."""
    server.replies += [Reply(status=status), Reply(status=status)]
    caption = provider_for(server, max_retries=2).caption(numbered_clip(1))
    assert caption.text == "1 images"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [429, 500])
def test_endpoint_that_stays_busy(server: VisionServer, status: int) -> None:
    """When the retries are used up, the fault is one that may pass."""
    server.replies += [Reply(status=status, body=b'{"error": "too busy"}')] * 3
    with pytest.raises(TransientError, match=rf"/v1/chat/completions .* status {status}: .*busy"):
        provider_for(server, max_retries=1).caption(numbered_clip(1))
    assert len(server.requests) == 2


def test_endpoint_that_says_nothing(server: VisionServer) -> None:
    """No answer in time is a fault that may pass."""
    server.silent.set()
    with pytest.raises(TransientError, match=r"did not answer within 0\.2 s, tried 1 times"):
        provider_for(server, timeout=0.2, max_retries=0).caption(numbered_clip(1))


def test_endpoint_that_is_not_there() -> None:
    """A refused connection is a fault that may pass."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        provider = OpenAIVisionProvider(base_url=url, model="m", max_retries=0)
        with pytest.raises(TransientError, match=f"cannot reach {url}/chat/completions"):
            provider.caption(numbered_clip(1))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_endpoint_that_will_never_answer(server: VisionServer, status: int) -> None:
    """A wrong key, path or model is for whoever configured it, and is not tried again."""
    server.replies.append(Reply(status=status, body=b'{"error": {"message": "go away"}}'))
    with pytest.raises(ConfigError, match=rf"status {status}: .*go away.*; check base_url, model"):
        provider_for(server).caption(numbered_clip(1))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_request_that_is_refused(server: VisionServer, status: int) -> None:
    """What the endpoint has against this clip is recorded for this clip."""
    server.replies.append(Reply(status=status, body=b'{"error": "too many images"}'))
    with pytest.raises(CaptionError, match=rf"status {status}: .*too many images"):
        provider_for(server).caption(numbered_clip(1))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>hello</html>", content_type="text/html"),
        Reply(body=b"<html>hello</html>"),
        Reply(body=b""),
        Reply(body=b"null"),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": "hello"}]}'),
        Reply(body=b'{"choices": {"a": 1}}'),
        Reply(body=b"\xff\xfe\x00"),
    ],
)
def test_answer_that_is_no_completion(server: VisionServer, reply: Reply) -> None:
    """Whatever else comes back is named, with what to look at."""
    server.replies.append(reply)
    with pytest.raises(
        CaptionError, match=r"returned no chat completion: .* set base_url to the root"
    ):
        provider_for(server).caption(numbered_clip(1))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (completion(""), "finish_reason 'stop'"),
        (completion(" \n"), "finish_reason 'stop'"),
        (completion(None, finish_reason="length"), "finish_reason 'length'"),
        (completion(None, refusal="I cannot look at this."), "I cannot look at this."),
    ],
)
def test_answer_without_a_text(server: VisionServer, reply: Reply, why: str) -> None:
    """An empty answer is no caption, and the endpoint's reason is passed on."""
    server.replies.append(reply)
    with pytest.raises(CaptionError, match=rf"stub-vl at .* gave no text \({why}\)"):
        provider_for(server).caption(numbered_clip(1))


def test_endpoint_that_says_only_the_essentials(server: VisionServer) -> None:
    """Servers leave things out: the text alone makes a caption."""
    body = json.dumps({"choices": [{"message": {"content": "A cat."}}], "usage": None})
    server.replies.append(Reply(body=body.encode(), content_type="text/plain"))
    caption = provider_for(server).caption(numbered_clip(1))
    assert (caption.text, caption.model, caption.finish_reason) == ("A cat.", "stub-vl", "")
    assert (caption.prompt_tokens, caption.completion_tokens) == (None, None)


def test_text_that_is_cut_inside_a_character(server: VisionServer) -> None:
    """Half a character at the end of a cut-off answer does not reach a file."""
    server.replies.append(completion("A cat \ud83d", finish_reason="length"))
    caption = provider_for(server).caption(numbered_clip(1))
    assert caption.text == "A cat ?"
    assert caption.finish_reason == "length"


def test_key_is_sent(server: VisionServer) -> None:
    """The endpoint gets the key that was given for it."""
    provider_for(server, api_key=SECRET).caption(numbered_clip(1))
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


def test_environment_is_not_sent(server: VisionServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and accounts of the environment are not shown to an endpoint that wants none."""
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, SECRET)
    provider_for(server).caption(numbered_clip(1))
    assert SECRET not in str(server.headers)


@pytest.mark.parametrize("reply", [Reply(status=401, body=f"Bearer {SECRET}?".encode())])
@pytest.mark.parametrize("padding", [0, 280])
def test_key_is_never_shown(server: VisionServer, reply: Reply, padding: int) -> None:
    """Neither identity nor repr nor an error that quotes the endpoint has the key, or a part."""
    server.replies.append(Reply(status=reply.status, body=b" " * padding + reply.body))
    provider = provider_for(server, api_key=SECRET)
    with pytest.raises(ConfigError, match=r"Bearer \*\*\*|Bear") as raised:
        provider.caption(numbered_clip(1))
    for shown in (str(raised.value), repr(provider), str(provider.parameters())):
        assert SECRET[:6] not in shown


def test_without_the_extra(server: VisionServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the client library, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'frames-pipeline\[caption\]'"):
        provider_for(server).caption(numbered_clip(1))


def test_provider_is_identified_by_what_decides_the_answer() -> None:
    """Where the model is served, and how patiently it is asked, do not enter."""
    here = OpenAIVisionProvider(base_url="http://a/v1", model="m", api_key="k", timeout=1)
    there = OpenAIVisionProvider(
        base_url="http://b/v1",
        model="m",
        max_retries=0,
        concurrency=9,
        requests_per_minute=60,
        tokens_per_minute=10_000,
        price_per_million_prompt_tokens=0.15,
        price_per_million_completion_tokens=0.6,
    )
    assert here.parameters() == there.parameters()
    assert here.parameters() == {
        "name": "openai",
        "revision": 1,
        "model": "m",
        "prompt": here.prompt,
        "max_frames": 8,
        "jpeg_quality": 90,
        "max_tokens": 300,
        "temperature": 0.0,
        "seed": 0,
    }


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt": st.text(min_size=1).filter(str.strip),
            "max_frames": st.integers(1, 99),
            "jpeg_quality": st.integers(1, 95),
            "temperature": st.none() | st.floats(0, 2),
            "seed": st.none() | st.integers(),
        },
    )
)
def test_parameters_are_json_and_tell_providers_apart(changed: dict[str, Any]) -> None:
    """The identity survives JSON, and a provider crosses process borders."""
    provider = OpenAIVisionProvider(base_url="http://a/v1", model="m", **changed)
    parameters = provider.parameters()
    assert json.loads(json.dumps(parameters)) == parameters
    assert changed.items() <= parameters.items()
    assert pickle.loads(pickle.dumps(provider)) == provider


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        (
            {"base_url": ""},
            "'' is not a usable base_url; set base_url to .* http://localhost:8000/v1",
        ),
        ({"base_url": "localhost:8000"}, "'localhost:8000' is not a usable base_url"),
        ({"base_url": "http://a b/v1"}, "is not a usable base_url"),
        ({"base_url": "http://a:99999/v1"}, "is not a usable base_url"),
        ({"base_url": "http://[::1/v1"}, "is not a usable base_url"),
        (
            {"base_url": "https://user:pw@a/v1"},
            "base_url contains credentials; put .* into api_key",
        ),
        ({"model": ""}, "no caption model; set `model` to a model that http://a/v1 serves"),
        ({"prompt": " "}, "the caption prompt is empty"),
        ({"max_frames": 0}, "max_frames=0 must be a number of 1 or more"),
        ({"max_frames": 2.5}, r"max_frames=2\.5 must be a whole number"),
        ({"jpeg_quality": 100}, "jpeg_quality=100 must be a number from 1 to 95"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"timeout": 0}, "timeout=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"concurrency": 0}, "concurrency=0 must be a number from 1 to 256"),
        ({"requests_per_minute": 0}, "requests_per_minute=0"),
        ({"tokens_per_minute": 1.5}, r"tokens_per_minute=1\.5 must be a whole number"),
        ({"price_per_million_prompt_tokens": 1}, "price_per_million_completion_tokens is not set"),
        (
            {"price_per_million_prompt_tokens": 1, "price_per_million_completion_tokens": -1},
            "price_per_million_completion_tokens=-1",
        ),
        ({"temperature": 3}, "temperature=3 must be a number from 0 to 2"),
        ({"api": "x"}, "unexpected keyword argument 'api'; its parameters are: base_url, model, "),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], complaint: str) -> None:
    """What no endpoint can be asked with is refused before anything is sent."""
    with pytest.raises(ConfigError, match=complaint):
        open_caption_provider("openai", **{"base_url": "http://a/v1", "model": "m"} | parameters)


def test_nothing_configured() -> None:
    """Without an endpoint, the error says what is missing."""
    with pytest.raises(ConfigError, match="'openai': missing a required argument: 'base_url'"):
        open_caption_provider("openai")


def test_unknown_provider() -> None:
    """A name that is not there is answered with those that are."""
    with pytest.raises(ConfigError, match="no caption provider 'blip'; choose one of openai"):
        open_caption_provider("blip")
    assert set(CAPTION_PROVIDERS) == {"openai", "transformers"}


def test_retry_after_is_honoured(server: VisionServer) -> None:
    """A busy endpoint that says when it wants to be asked again is asked then."""
    server.replies.append(Reply(status=429, headers=(("Retry-After", "1"),)))
    assert provider_for(server, max_retries=1).caption(numbered_clip(1)).text == "1 images"
    assert len(server.requests) == 2
    assert server.times[1] - server.times[0] >= 1


def test_retry_after_holds_everybody_back(server: VisionServer) -> None:
    """Not only the one who was told: the others would be turned away as well."""
    server.replies.append(Reply(status=429, headers=(("Retry-After", "1"),)))
    with pytest.raises(TransientError, match="status 429"):
        provider_for(server, max_retries=0).caption(numbered_clip(1))
    provider_for(server, max_retries=0).caption(numbered_clip(1))
    assert server.times[1] - server.times[0] >= 1


def test_an_endpoint_that_wants_to_be_left_alone_is(server: VisionServer) -> None:
    """Nobody waits for an hour: it is a fault that may pass, and the step is for that."""
    headers = (("Retry-After", "3600"), ("x-ratelimit-remaining-requests", "0"))
    server.replies.append(Reply(status=429, body=b"come back later", headers=headers))
    with pytest.raises(TransientError, match="status 429: 'come back later'"):
        provider_for(server, max_retries=5).caption(numbered_clip(1))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "limit",
    [{"requests_per_minute": 2}, {"tokens_per_minute": 500}],  # an answer here has 333 tokens
)
def test_rate_limits_are_kept_over_threads(
    server: VisionServer, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    """Two are let through in a minute, which is half a second here; retries count.

    How long each is on its way is the machine's matter, so that is not in it.
    """
    defaults = RateLimiter.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "window_s", 0.5)
    let_through: list[float] = []
    wait = RateLimiter.wait

    def watched(pace: RateLimiter) -> Permit:
        permit = wait(pace)
        let_through.append(permit.at)
        return permit

    monkeypatch.setattr(RateLimiter, "wait", watched)
    server.replies.append(Reply(status=500))
    provider = provider_for(server, concurrency=4, **limit)
    provider.caption(numbered_clip(1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(provider.caption, [numbered_clip(1)] * 3))
    let_through.sort()
    assert len(let_through) == 5
    assert all(at <= came for at, came in zip(let_through, server.times, strict=True))
    paid = let_through if "requests_per_minute" in limit else let_through[1:]
    assert all(later - earlier >= 0.5 for earlier, later in zip(paid, paid[2:], strict=False))


def test_caption_error_is_of_the_clip() -> None:
    """A handler that records what a source cannot give, records this too."""
    assert issubclass(CaptionError, SourceError)
    assert issubclass(CaptionError, FramesPipelineError)
    assert CaptionError.reason == "no_caption"
