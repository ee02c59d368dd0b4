"""A remote video arrives whole and as listed, or raises an error that allows a retry."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    IncompleteTransferError,
    SourceChangedError,
    TransientError,
    extract_frames,
    probe,
)
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.errors import ClipFault
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
from frames_pipeline.sources.batches import Batching
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.workers.local import Workers
from tests.s3 import QUICK, S3

ONE = Workers(1)
FIRST = FrameExtractionSignature(policy="first", target_res=(24, 32))


WITHOUT_CHECKSUMS = {**QUICK, "request_checksum_calculation": "when_required"}


@pytest.fixture
def source(s3: S3, video: Path) -> VideoSource:
    """Return a source of two videos in a bucket; the second also has a checksum."""
    for name, config in (("a.mp4", WITHOUT_CHECKSUMS), ("b.mp4", QUICK)):
        videos = Objects(f"{s3.url}/videos", s3.options_with(config_kwargs=config))
        videos.put(name, video.read_bytes())
    return VideoSource(videos.url, s3.options)


@pytest.mark.parametrize("name", ["a.mp4", "b.mp4"])
def test_a_transfer_that_comes_short_is_fetched_again(
    s3: S3, source: VideoSource, video: Path, name: str
) -> None:
    harm = s3.harm("short answer", verb="GET", inside=name)
    with source.staged(source.find(name)) as path:
        assert path.read_bytes() == video.read_bytes()
    assert harm.done == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.mp4", r"\d+ of \d+ bytes of a\.mp4 arrived"), ("b.mp4", "do not match its checksum")],
)
def test_one_that_always_comes_short_is_no_video_and_may_pass(
    s3: S3, source: VideoSource, name: str, said: str
) -> None:
    harm = s3.harm("short answer", verb="GET", inside=name, times=1e9)
    with (
        pytest.raises(IncompleteTransferError, match=said) as caught,
        source.staged(source.find(name)),
    ):
        pass
    assert harm.done == 3
    assert isinstance(caught.value, TransientError)
    assert isinstance(caught.value, ClipFault)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_store_that_changes_in_between_is_said_to_have_changed(
    s3: S3, source: VideoSource, fresh: bool
) -> None:
    """An object of the same size replaces it between the listing and the transfer."""
    listed = source.find("a.mp4")

    def replace() -> bool:
        straight = s3.options_with(endpoint_url=s3.direct)
        fs = fsspec.filesystem("s3", skip_instance_cache=True, **straight)
        fs.pipe_file(f"{source.url}/a.mp4", bytes(listed.size))
        return True

    harm = s3.harm("delay", verb="GET", inside="a.mp4", chance=replace)
    with (
        pytest.raises(SourceChangedError, match=r"a\.mp4 changed since it was observed"),
        source.staged(listed, fresh=fresh),
    ):
        pass
    assert harm.done == 1


def test_a_short_transfer_is_an_outcome_until_the_next_run(s3: S3, source: VideoSource) -> None:
    """A short transfer proves no damage, so the next run retries; the other video is unaffected."""
    workspace = Workspace.at(
        source.url, f"{s3.url}/root", source_options=s3.options, root_options=s3.options
    )
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed

    def statuses() -> list[tuple[str, str]]:
        cut_clips(batch, workspace, WholeVideo(), workers=ONE)
        rows = extract_batch(batch, [FIRST], workspace, workers=ONE)[FIRST].outcomes.to_pylist()
        return [(row["status"], row["reason"]) for row in rows]

    s3.harm("short answer", verb="GET", inside="videos/a.mp4", times=1e9)
    assert statuses() == [("failed", "incomplete"), ("ok", "")]
    s3.heal()
    assert statuses() == [("ok", ""), ("ok", "")]


@dataclass
class Web:
    """A web server with one video."""

    data: bytes
    short: int = 0
    """Number of answers that announce and send only half of the video."""
    etags: list[str] = field(default_factory=lambda: ["one"])
    """ETags of successive answers; the last one is repeated."""
    url: str = ""

    def etag(self) -> str:
        return self.etags.pop(0) if len(self.etags) > 1 else self.etags[0]


@pytest.fixture
def web(video: Path) -> Iterator[Web]:
    found = Web(video.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(found.data, found.etag())

        def do_GET(self) -> None:
            body = found.data
            if found.short:
                found.short, body = found.short - 1, body[: len(body) // 2]
            self.answer(body, "any")
            self.wfile.write(body)

        def answer(self, body: bytes, etag: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", etag)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        found.url = f"http://127.0.0.1:{server.server_port}/v.mp4"
        yield found
        server.shutdown()


def test_a_url_gives_the_whole_video_or_an_error(web: Web) -> None:
    assert probe(web.url).num_frames == 48
    web.short = 2
    assert len(extract_frames(web.url, [FIRST])[FIRST]) == 1
    assert web.short == 0
    web.short = 100
    with pytest.raises(IncompleteTransferError, match=r"bytes of v\.mp4 arrived from http"):
        probe(f"{web.url}?X-Signature=secret")
    web.short, web.etags = 0, ["one", "two"]
    with pytest.raises(SourceChangedError, match=r"v\.mp4 changed") as caught:
        probe(f"{web.url}?X-Signature=secret")
    assert "secret" not in str(caught.value)
