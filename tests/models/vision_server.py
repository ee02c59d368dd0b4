"""A small OpenAI-compatible server on the loopback, which describes the images it gets."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from tests.waiting import PATIENCE_S, wait_for


@dataclass(frozen=True)
class Reply:
    """An answer given in place of a caption."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = (("Retry-After-Ms", "1"),)


@dataclass(frozen=True)
class Picture:
    """An image that the server got."""

    size: tuple[int, int]
    """Width and height."""
    colour: tuple[int, int, int]
    """Mean RGB."""


@dataclass
class VisionServer:
    """State of the server: the requests it got, and the answers to give."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    """Answers to give first, in order; after them, descriptions of the images."""
    silent: threading.Event = field(default_factory=threading.Event)
    """While set, no answer comes."""
    crowd: threading.Barrier | None = None
    """If set, answers wait until this number of requests has come."""
    times: list[float] = field(default_factory=list)
    """Times of the requests, on the monotonic clock."""
    silent_after: int | None = None
    """If set, number of requests to answer; later ones get none."""

    def wait_for_requests(self, number: int, progress: Callable[[], object]) -> None:
        """Wait until so many requests came from a process that makes progress."""
        wait_for(lambda: len(self.requests) >= number, name=f"request {number}", progress=progress)

    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pictures: list[list[Picture]] = field(default_factory=list)
    """Images of each request."""

    def is_silent(self, number: int) -> bool:
        """Return whether the request with this number, from 1, must wait for its answer."""
        last = self.silent_after
        return self.silent.is_set() or (last is not None and number > last)

    def see(self, request: dict[str, Any]) -> Reply:
        """Decode the images of a request, and describe them."""
        parts = request["messages"][0]["content"]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        seen = [look(url) for url in urls]
        self.pictures.append(seen)
        return self.replies.pop(0) if self.replies else completion(f" {len(seen)} images \n")


def look(url: str) -> Picture:
    """Decode one data URL."""
    header, _, data = url.partition(",")
    assert header == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    red, green, blue = np.asarray(image).reshape(-1, 3).mean(axis=0).round().astype(int).tolist()
    return Picture(size=image.size, colour=(red, green, blue))


def completion(content: str | None, *, finish_reason: str = "stop", **message: object) -> Reply:
    """Return a chat completion."""
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub-vl-7b",
        "choices": [choice],
        "usage": {"prompt_tokens": 321, "completion_tokens": 12, "total_tokens": 333},
    }
    return Reply(body=json.dumps(document).encode())


@contextmanager
def running_server() -> Iterator[VisionServer]:
    """Run a server for a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            vision.headers.append({name.lower(): value for name, value in self.headers.items()})
            with one_at_a_time:
                vision.requests.append({"path": self.path, **json.loads(body)})
                number = len(vision.requests)
            vision.times.append(time.monotonic())
            if vision.crowd is not None:
                with suppress(threading.BrokenBarrierError):
                    vision.crowd.wait(PATIENCE_S)
            while vision.is_silent(number) and not stopped.wait(0.01):
                pass
            with one_at_a_time:
                reply = vision.see(json.loads(body))
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for header in reply.headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that hang up."""

    stopped = threading.Event()
    one_at_a_time = threading.Lock()
    with Server(("127.0.0.1", 0), Handler) as server:
        vision = VisionServer(url=f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield vision
        finally:
            stopped.set()
            server.shutdown()
            thread.join()
