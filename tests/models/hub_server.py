"""A small hub on the loopback: files of one model at one commit, or a status for everything."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Hub:
    """State of the hub: its files, and the requests it got."""

    url: str
    status: int = 200
    """Status of every answer; with 200, the files."""
    error_code: str = ""
    """Error code of the hub, in its own header."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files by path: `owner/name/resolve/<commit>/<file>`."""
    asked: list[str] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub for a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = urlsplit(self.path).path.strip("/")
            hub.asked.append(path)
            body = hub.files.get(path)
            status = hub.status if hub.status != 200 or body is not None else 404
            content = body if status == 200 and body is not None else b"{}"
            self.send_response(status)
            if hub.error_code:
                self.send_header("X-Error-Code", hub.error_code)
            elif status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            if "/resolve/" in path:
                self.send_header("X-Repo-Commit", path.split("/resolve/")[1].split("/")[0])
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub = Hub(url=f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
