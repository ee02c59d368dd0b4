"""A bucket of a real S3 server, behind a proxy that counts requests and does harm on demand.

    s3fs  ──▶  proxy (here, in threads)  ──▶  moto (a process of its own)

The proxy passes everything on unless a `Harm` takes the request.
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
"""Answers that S3, and what stands before it, give; by code, with their status."""

QUICK = {"retries": {"max_attempts": 0}, "connect_timeout": 600, "read_timeout": 600}
"""Botocore options without tries of its own: s3fs still makes five, within two seconds."""


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    verb: str
    """The method, or LIST."""
    key: str
    """The object, or the prefix that is listed, within the bucket."""

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"


@dataclass
class Harm:
    """What is done to requests in place of, or beside, an answer."""

    kind: Literal["error", "reset", "lose answer", "cut answer", "short answer", "delay"]
    """A cut answer ends before its announced length; a short one announces its own length."""
    code: str = "InternalError"
    """For an error: one of ERRORS."""
    times: float = 1
    """How many requests are harmed."""
    verb: str = ""
    """Only requests of this verb; empty for all."""
    inside: str = ""
    """Only requests whose key has this in it."""
    chance: Callable[[], bool] = lambda: True
    """Whether a request that could be harmed is."""
    seconds: float = 0.0
    """For a delay: how long."""
    done: int = 0
    """Requests that were harmed."""

    def takes(self, request: Request) -> bool:
        """Whether this request is harmed; the caller holds the lock."""
        fits = self.verb in ("", request.verb) and self.inside in request.key
        if not fits or self.done >= self.times or not self.chance():
            return False
        self.done += 1
        return True


@dataclass
class S3:
    """A bucket: where it is, what was asked of it, what is to be done to requests."""

    endpoint: str
    """Of the proxy."""
    direct: str
    """Of the server behind it."""
    folder: str = field(default_factory=lambda: secrets.token_hex(4))
    """A prefix that nobody else uses."""
    key: str = field(default_factory=lambda: f"KEY{secrets.token_hex(8)}")
    secret: str = field(default_factory=lambda: f"SECRET{secrets.token_hex(16)}")
    requests: list[Request] = field(default_factory=list)
    harms: list[Harm] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where a store may be."""
        return f"s3://{BUCKET}/{self.folder}"

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec needs to reach it, with few tries."""
        return {
            "key": self.key,
            "secret": self.secret,
            "endpoint_url": self.endpoint,
            "config_kwargs": QUICK,
        }

    def options_with(self, **more: Any) -> dict[str, Any]:
        """The options, and others in their place."""
        return {**self.options, **more}

    def harm(self, kind: Any, **fields: Any) -> Harm:
        """Do harm to requests from now on."""
        harm = Harm(kind, **fields)
        with self.lock:
            self.harms.append(harm)
        return harm

    def heal(self) -> None:
        """Do none any more."""
        with self.lock:
            self.harms.clear()

    def count(self, inside: str = "") -> Counter[str]:
        """How often each verb was used for keys that have `inside` in them; then from zero."""
        with self.lock:
            counted = Counter(request.verb for request in self.requests if inside in request.key)
            self.requests.clear()
        return counted

    def note(self, request: Request) -> Harm | None:
        """Write the request down; what is to be done to it."""
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
        """Let the client get a connection reset."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Proxy(ThreadingHTTPServer):
    """Listens in this process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    s3: S3
    behind: tuple[str, int]

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error here."""


def error(code: str) -> bytes:
    """An error as S3 words it."""
    return f"<Error><Code>{code}</Code><Message>injected {code}</Message></Error>".encode()


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """The port of a server with one bucket, for the time of a `with` block."""
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
"""Moto tells services apart by it, and checks no signature."""


@contextlib.contextmanager
def proxied(port: int) -> Iterator[S3]:
    """A fresh proxy before the server, for the time of a `with` block."""
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
