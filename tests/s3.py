"""A bucket of a real S3 server, behind a proxy that counts requests and injects faults.

    s3fs  ──▶  proxy (here, in threads)  ──▶  moto (a process of its own)

The proxy forwards every request unless a `Harm` applies to it.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
ERRORS = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "BadGateway": 502,
    "ExpiredToken": 400,
    "GatewayTimeout": 504,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "NoSuchBucket": 404,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "TooManyRequests": 429,
}
"""Error answers of S3 and of proxies before it, by code, with their status."""

QUICK = {"retries": {"max_attempts": 0}, "connect_timeout": 600, "read_timeout": 600}
"""Botocore options without retries: s3fs still makes five tries within two seconds."""


@dataclass(frozen=True)
class Request:
    """A client's request."""

    verb: str
    """The method, or LIST."""
    key: str
    """Key of the object or prefix of the listing, within the bucket."""

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"


@dataclass
class Harm:
    """A fault injected into requests."""

    kind: Literal["error", "reset", "lose answer", "cut answer", "short answer", "delay"]
    """A cut answer ends before its announced length; a short one announces its own length."""
    code: str = "InternalError"
    """Code of an `error`: one of ERRORS."""
    times: float = 1
    """Number of requests to harm."""
    verb: str = ""
    """Only requests of this verb; empty for all."""
    inside: str = ""
    """Only requests with this text in their key."""
    chance: Callable[[], bool] = lambda: True
    """Whether to harm a matching request."""
    seconds: float = 0.0
    """Seconds of a `delay`."""
    done: int = 0
    """Number of harmed requests."""

    def takes(self, request: Request) -> bool:
        """Return whether to harm this request; the caller holds the lock."""
        fits = self.verb in ("", request.verb) and self.inside in request.key
        if not fits or self.done >= self.times or not self.chance():
            return False
        self.done += 1
        return True


@dataclass
class S3:
    """A bucket, its counted requests, and its faults."""

    endpoint: str
    """Endpoint of the proxy."""
    direct: str
    """Endpoint of the server behind it."""
    folder: str = field(default_factory=lambda: secrets.token_hex(4))
    """A unique prefix."""
    key: str = field(default_factory=lambda: f"KEY{secrets.token_hex(8)}")
    secret: str = field(default_factory=lambda: f"SECRET{secrets.token_hex(16)}")
    requests: list[Request] = field(default_factory=list)
    harms: list[Harm] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """URL for a store."""
        return f"s3://{BUCKET}/{self.folder}"

    @property
    def options(self) -> dict[str, Any]:
        """fsspec options with few retries."""
        return {
            "key": self.key,
            "secret": self.secret,
            "endpoint_url": self.endpoint,
            "config_kwargs": QUICK,
        }

    def options_with(self, **more: Any) -> dict[str, Any]:
        """Return the options with others added or replaced."""
        return {**self.options, **more}

    def harm(self, kind: Any, **fields: Any) -> Harm:
        """Inject a fault into requests from now on."""
        harm = Harm(kind, **fields)
        with self.lock:
            self.harms.append(harm)
        return harm

    def heal(self) -> None:
        """Stop all faults."""
        with self.lock:
            self.harms.clear()

    def count(self, inside: str = "") -> Counter[str]:
        """Return the number of requests by verb, for keys with `inside` in them, and reset it."""
        with self.lock:
            counted = Counter(request.verb for request in self.requests if inside in request.key)
            self.requests.clear()
        return counted

    def note(self, request: Request) -> Harm | None:
        """Count a request; return its fault, if any."""
        with self.lock:
            self.requests.append(request)
            return next((harm for harm in self.harms if harm.takes(request)), None)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client to the proxy."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        harm = self.server.s3.note(self.request_told())
        match harm:
            case None:
                self.reply(*self.passed_on(body))
            case Harm(kind="delay"):
                time.sleep(harm.seconds)
                self.reply(*self.passed_on(body))
            case Harm(kind="error"):
                self.reply(ERRORS[harm.code], [], error(harm.code))
            case Harm(kind="reset"):
                self.reset()
            case Harm(kind="lose answer"):
                self.passed_on(body)
                self.reset()
            case Harm(kind="cut answer"):
                self.reply(*self.passed_on(body), share=0.5)
                self.reset()
            case Harm(kind="short answer"):
                status, headers, content = self.passed_on(body)
                self.reply(status, headers, content[: len(content) // 2])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815

    def request_told(self) -> Request:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if "list-type" in query:
            return Request("LIST", query.get("prefix", [""])[0])
        return Request(self.command, unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/"))

    def passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        host, port = self.server.behind
        dropped = ("expect", "connection")
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=600)) as connection:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def reply(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, share: float = 1
    ) -> None:
        own = ("connection", "transfer-encoding", "server", "date")
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in own and (
                name.lower() != "content-length" or self.command == "HEAD"
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: int(len(body) * share)])

    def reset(self) -> None:
        """Reset the client's connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Proxy(ThreadingHTTPServer):
    """The proxy, in threads of this process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    s3: S3
    behind: tuple[str, int]

    def handle_error(self, *_: Any) -> None:
        """Ignore killed clients."""


def error(code: str) -> bytes:
    """Return an error in S3's format."""
    return f"<Error><Code>{code}</Code><Message>injected {code}</Message></Error>".encode()


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """Run a server with one bucket for a `with` block; yield its port."""
    script = Path(__file__).with_name("s3_server.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                connection.request("PUT", f"/{BUCKET}", headers=SIGNED)
                assert connection.getresponse().status == 200
            yield port
        finally:
            process.kill()


SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=any/20200101/us-east-1/s3/aws4_request"}
"""Moto identifies the service by it, and checks no signature."""


@contextlib.contextmanager
def proxied(port: int) -> Iterator[S3]:
    """Run a new proxy before the server for a `with` block."""
    with Proxy(("127.0.0.1", 0), Handler) as server:
        server.behind = ("127.0.0.1", port)
        here = f"http://127.0.0.1:{server.server_port}"
        server.s3 = S3(endpoint=here, direct=f"http://127.0.0.1:{port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.s3
        finally:
            server.shutdown()
            thread.join()
