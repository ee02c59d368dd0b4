"""Frames to store, places to store them in, and an S3 server that counts requests."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pytest

from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore, codecs

FAULTS = {
    403: "AccessDenied",
    404: "NoSuchBucket",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}

MakeFrames = Callable[..., FrameBatch]


@pytest.fixture(scope="session")
def make_frames() -> MakeFrames:
    """Make a FrameBatch of noise that a seed determines."""

    def make(
        n: int = 4, height: int = 6, width: int = 8, *, seed: int = 0, **fields: Any
    ) -> FrameBatch:
        rng = np.random.default_rng(seed)
        values = {
            "frames": rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8),
            "pts": np.arange(n, dtype=np.int64) * 1001,
            "time_base": Fraction(1, 30000),
            "positions": np.arange(n, dtype=np.int64),
            "key_frame": np.arange(n) % 3 == 0,
            "corrupt": np.zeros(n, dtype=np.bool_),
            "outcome": Outcome(DecodeReport("pyav", packets_fed=n), candidates=3 * n),
        }
        return FrameBatch(**(values | fields))

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[[FrameBatch, FrameBatch], None]:
    """Compare two batches in every field."""

    def check(found: FrameBatch, expected: FrameBatch) -> None:
        for name in ("frames", "pts", "positions", "key_frame", "corrupt"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
            assert getattr(found, name).dtype == getattr(expected, name).dtype
        assert found.time_base == expected.time_base
        assert found.outcome == expected.outcome
        assert found.digest() == expected.digest()

    return check


@pytest.fixture(scope="session")
def signature() -> FrameExtractionSignature:
    """Any signature: the store does not ask what it means."""
    return FrameExtractionSignature(target_fps=2, target_res=(6, 8))


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    """A store in a folder."""
    return FrameStore(tmp_path / "store", durable=False)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two frames of 6 x 8 pixels fill a shard."""
    monkeypatch.setattr(codecs, "SHARD_BYTES", 300)


@dataclass
class S3:
    """An S3 server on loopback: as much of it as s3fs needs, its requests, and faults on demand."""

    url: str = ""
    """Where a store may be."""
    options: dict[str, Any] = field(default_factory=dict)
    """What fsspec needs to reach it."""
    requests: list[str] = field(default_factory=list)
    """Method and key of every request; `LIST` is one of the methods."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """What is stored, by key."""
    answer: int | None = None
    """A status to answer every request with, in place of doing it."""


class S3Handler(BaseHTTPRequestHandler):
    """One request. Signatures are not checked, and there is one bucket."""

    protocol_version = "HTTP/1.1"
    server: S3Server

    @property
    def s3(self) -> S3:
        """What the server holds."""
        return self.server.s3

    @property
    def key(self) -> str:
        """The object's key within the bucket."""
        return unquote(urlsplit(self.path).path).removeprefix("/bucket").removeprefix("/")

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self.listing(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
        elif self.begun("GET"):
            self.found(self.s3.objects.get(self.key))

    def do_HEAD(self) -> None:
        if self.begun("HEAD"):
            self.found(self.s3.objects.get(self.key))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.begun("PUT"):
            return
        if self.headers.get("If-None-Match") == "*" and self.key in self.s3.objects:
            self.fault(412, "PreconditionFailed", "<Condition>If-None-Match</Condition>")
            return
        self.s3.objects[self.key] = body
        self.reply(200)

    def do_DELETE(self) -> None:
        if self.begun("DELETE"):
            self.s3.objects.pop(self.key, None)
            self.reply(204)

    def listing(self, prefix: str, delimiter: str) -> None:
        """ListObjectsV2, in one page."""
        if not self.begun("LIST", prefix):
            return
        files, folders = [], set()
        for key in sorted(self.s3.objects):
            head, cut, _ = key.removeprefix(prefix).partition(delimiter or "\0")
            if key.startswith(prefix) and cut:
                folders.add(prefix + head + cut)
            elif key.startswith(prefix):
                size = len(self.s3.objects[key])
                modified = "<LastModified>2020-01-01T00:00:00.000Z</LastModified>"
                files.append(f"<Key>{escape(key)}</Key><Size>{size}</Size>{modified}")
        body = "".join(f"<Contents>{file}</Contents>" for file in files)
        for folder in sorted(folders):
            body += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
        body += "<IsTruncated>false</IsTruncated>"
        self.reply(200, f"<ListBucketResult>{body}</ListBucketResult>".encode())

    def begun(self, method: str, key: str | None = None) -> bool:
        """Note the request; say whether it is to be done."""
        self.s3.requests.append(f"{method} {self.key if key is None else key}")
        if self.s3.answer is not None:
            self.fault(self.s3.answer, FAULTS[self.s3.answer])
        return self.s3.answer is None

    def found(self, data: bytes | None) -> None:
        """Answer with an object or the part of it that is asked for."""
        if data is None:
            self.fault(404, "NoSuchKey")
            return
        wanted = self.headers.get("Range", "")
        if not wanted:
            self.reply(200, data)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(data) - int(last)
        stop = int(last) + 1 if first and last else len(data)
        self.reply(206, data[start:stop])

    def fault(self, status: int, code: str, more: str = "") -> None:
        """Answer with an error document."""
        self.reply(
            status, f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
        )

    def reply(self, status: int, body: bytes = b"") -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class S3Server(ThreadingHTTPServer):
    """The server that handlers find their objects by."""

    daemon_threads = True
    s3: S3


@pytest.fixture
def s3() -> Iterator[S3]:
    """An empty bucket."""
    pytest.importorskip("s3fs")
    with S3Server(("127.0.0.1", 0), S3Handler) as server:
        server.s3 = S3(
            url=f"s3://bucket/{secrets.token_hex(4)}",
            options={
                "key": "none",
                "secret": "none",
                "endpoint_url": f"http://127.0.0.1:{server.server_port}",
                "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2},
            },
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.s3
        server.shutdown()
        thread.join()
