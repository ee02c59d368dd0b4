"""Plants secrets in every possible input, provokes failures, and searches all output.

The search covers every byte of the store and of Dagster's instance, printed and logged text, errors
and tracebacks. It looks for each secret verbatim, percent-encoded and in base64.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import dagster as dg
import pytest
from click.testing import CliRunner

from dagster_defs import FramesComponent
from frames_pipeline import (
    ConfigError,
    FrameExtractionSignature,
    FramesPipelineError,
    FrameStore,
    extract_frames,
    probe,
)
from frames_pipeline.cli import main
from frames_pipeline.io.objects import Objects
from frames_pipeline.models.captioning import open_caption_provider
from frames_pipeline.pipeline import Workspace, discover, extract_uris
from frames_pipeline.sources.batches import Batching, BatchRegistry
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.workers.local import Workers
from tests.s3 import QUICK, S3

pytest.importorskip("aiohttp")

MIDDLE = FrameExtractionSignature(policy="middle", target_res=(24, 32))
QUERIES = {
    "s3": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={0}%2F2026&X-Amz-Security-Token={1}"
    "&X-Amz-Expires=60&X-Amz-Signature={2}",
    "s3v2": "AWSAccessKeyId={0}&Signature={1}%2B%2F%3D&Expires=1790000000",
    "google": "X-Goog-Credential={0}&X-Goog-Signature={1}",
    "azure": "sv=2026-01-01&se=2030-01-01&sp=r&sig={0}%3D",
    "cloudfront": "Policy={0}&Signature={1}~&Key-Pair-Id={2}",
    "token": "token={0}",
    "oauth": "access_token={0}",
}


@dataclass
class Planted:
    """Planted secrets, and the output seen since."""

    secrets: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def secret(self) -> str:
        """Plant a new secret."""
        self.secrets.append(f"PLANTED{len(self.secrets):03d}?secret/{'x' * 8}")
        return self.secrets[-1]

    def query(self, kind: str) -> str:
        """Return a signing URL query of one kind or of all kinds."""
        if kind == "all":
            return "&".join(map(self.query, QUERIES))
        return QUERIES[kind].format(*(quote(self.secret(), safe="") for _ in range(3)))

    def tried(self, do: Callable[[], object], match: str | None = None) -> None:
        """Run a failing call, and keep the text of its errors."""
        with pytest.raises(Exception, match=match) as caught:
            do()
        error: BaseException | None = caught.value
        assert isinstance(error, FramesPipelineError), traceback.format_exception(error)
        self.seen += traceback.format_exception(error)
        while error is not None:
            self.seen += [str(error), repr(error)]
            error = error.__cause__

    def cli(self, *command: object, codes: tuple[int, ...] = (0, 1, 2)) -> str:
        result = CliRunner().invoke(main, [str(part) for part in command])
        assert result.exit_code in codes, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        self.seen.append(result.output)
        return result.output

    def found_in(self, folder: Path) -> list[str]:
        """Return the places of secrets, in files and in the output seen."""
        forms = {form for secret in self.secrets for form in _forms(secret)}
        whole = re.compile(b"|".join(re.escape(form) for form in forms))
        told = [(str(path), bytes(path)) for path in folder.rglob("*")]
        told += [(str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
        told += [(text, text.encode(errors="surrogatepass")) for text in self.seen]
        return [f"{where}: {hit[0]!r}" for where, data in told if (hit := whole.search(data))]


def _forms(secret: str) -> Iterator[bytes]:
    """Yield a secret's distinctive part: verbatim, URL-encoded, and in base64 at any alignment."""
    yield secret[:10].encode()
    yield quote(secret, safe="").encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + secret[:10].encode()).rstrip(b"=")
        yield coded[2 * before : -2] if before else coded[:-2]


@pytest.fixture
def planted(caplog: pytest.LogCaptureFixture) -> Iterator[Planted]:
    """Record all output and logs, except other libraries' debug messages."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "fsspec")
    for name in ("asyncio", "s3fs", "botocore", "aiobotocore", "fsspec.http"):
        caplog.set_level(logging.INFO, name)
    made, out = Planted(), StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        yield made
    made.seen += [record.getMessage() for record in caplog.records] + [caplog.text, out.getvalue()]
    assert not made.found_in(Path("/nonexistent"))


class Handler(BaseHTTPRequestHandler):
    """Serves videos for any URL with a signing query."""

    server: Host

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        video = self.server.videos.get(parts.path)
        status = (
            404 if video is None else 200 if any("PLANTED" in v[0] for v in query.values()) else 403
        )
        if "broken" in parts.path:
            status = 503
        body = video if status == 200 and video is not None else b"no: " + self.path.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0123456789abcdef0123456789abcdef"')
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Host(ThreadingHTTPServer):
    """The proxy, in threads of this process."""

    daemon_threads = True
    videos: dict[str, bytes]


@pytest.fixture
def host(video: Path) -> Iterator[str]:
    with Host(("127.0.0.1", 0), Handler) as server:
        server.videos = {"/a.mp4": video.read_bytes(), "/text.mp4": b"no video" * 99}
        server.videos["/broken.mp4"] = b""
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def nowhere() -> str:
    """Return the URL of a port without a listener."""
    with Host(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}"


def test_a_signed_video(planted: Planted, host: str, tmp_path: Path) -> None:
    """It is read; its signature appears in no name and in no error."""
    kind = "all"
    for do in (probe, lambda url: extract_frames(url, [MIDDLE])):
        do(f"{host}/a.mp4?{planted.query(kind)}")
        for name, match in (
            ("gone.mp4", "it does not exist"),
            ("text.mp4", r"video\.mp4 is not a video"),
            ("broken.mp4", "cannot reach"),
        ):
            url = f"{host}/{name}?{planted.query(kind)}"
            planted.tried(partial(do, url), match)
        planted.tried(partial(do, f"{nowhere()}/a.mp4?{planted.query(kind)}"), "cannot reach")

    signed = [f"{host}/{name}?v=1&{planted.query(kind)}" for name in ("a.mp4", "text.mp4", "z.mp4")]
    root = tmp_path / "root"
    table = planted.cli("probe", *signed, codes=(1,))
    assert f"{host}/a.mp4?v=1 " in table
    planted.cli("probe", *signed, "--json", codes=(1,))
    options = ("--root", root, "--processes", "1", "-s", "policy=middle")
    assert "a.mp4?v=1" in planted.cli("extract", *signed, *options, codes=(1,))
    planted.cli("extract", *signed, *options, "--json", codes=(1,))
    planted.cli("ls", root / "adhoc")
    assert list(root.rglob("*.parquet"))
    assert planted.found_in(tmp_path) == []


def test_the_same_video_signed_anew_is_the_same(
    planted: Planted, host: str, tmp_path: Path
) -> None:
    """Names exclude the signature, so work is not repeated."""
    found = [
        extract_uris(
            [f"{host}/a.mp4?{planted.query(kind)}"], [MIDDLE], str(tmp_path), workers=Workers(1)
        )[0].frames[MIDDLE]
        for kind in ("s3", "token")
    ]
    assert [report.extracted for report in found] == [1, 0]
    assert len({report.manifest.batch_key for report in found}) == 1
    twice = [f"{host}/a.mp4?{planted.query('s3')}" for _ in range(2)]
    planted.tried(
        lambda: extract_uris(twice, [MIDDLE], str(tmp_path)), "differ only in signing parameters"
    )
    assert planted.found_in(tmp_path) == []


@pytest.mark.parametrize("kind", [*QUERIES, "user"])
def test_signed_locations_are_refused(planted: Planted, tmp_path: Path, kind: str) -> None:
    """Stored objects and their names would contain the signature."""
    if kind == "user":
        url = f"https://me:{quote(planted.secret(), safe='')}@host/videos"
    else:
        url = f"https://host/videos?{planted.query(kind)}"
    match = "contains credentials|is signed, by .*; give the URL without that"
    for refused in (
        lambda: Objects(url),
        lambda: VideoSource(url),
        lambda: FrameStore(url),
        lambda: BatchRegistry(url),
        lambda: Workspace.at(".", url),
        lambda: extract_uris(["a.mp4"], [MIDDLE], url),
        lambda: FramesComponent(source=url, root=".", signatures={}).definitions(),
        lambda: FramesComponent(source=".", root=url, signatures={}).definitions(),
        lambda: open_caption_provider("openai", base_url=url, model="m"),
    ):
        planted.tried(refused, match)
    for command in (
        ("estimate", url),
        ("ls", url),
        ("gc", url),
        ("verify", url),
        ("dry-run", url),
        ("extract", "a.mp4", "--root", url),
        ("export", tmp_path, MIDDLE.key, url, "--as", "images"),
        ("pack", tmp_path, MIDDLE.key, url),
        ("prune", url),
    ):
        planted.cli(*command, codes=(1, 2))
    assert planted.found_in(tmp_path) == []


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InternalError"])
def test_options_that_are_secrets(planted: Planted, s3: S3, tmp_path: Path, code: str) -> None:
    """A bucket that refuses access reveals no keys."""
    s3.harm("error", code=code, times=float("inf"))
    options = s3.options_with(key=planted.secret(), secret=planted.secret(), token=planted.secret())
    planted.tried(lambda: Objects(s3.url, options).get("a"))
    planted.tried(lambda: VideoSource(s3.url, options).list())
    planted.tried(lambda: Objects(s3.url, options).put("a", b""))
    given = [
        f"--root-option={name}={value}"
        for name, value in options.items()
        if name in ("key", "secret", "token", "endpoint_url")
    ]
    planted.cli("ls", s3.url, *given, "--root-option=client_kwargs.region_name=eu", codes=(1,))
    assert planted.found_in(tmp_path) == []


@pytest.mark.live
def test_an_endpoint_with_a_password(planted: Planted, tmp_path: Path) -> None:
    """The password is in an option and in every botocore error."""
    pytest.importorskip("s3fs")
    where = nowhere().replace("//", f"//me:{quote(planted.secret(), safe='')}@")
    options = {"key": "a", "secret": "b", "endpoint_url": where, "config_kwargs": QUICK}
    planted.tried(lambda: Objects("s3://bucket/a", options).get("a"))
    assert planted.found_in(tmp_path) == []


def test_dagster(
    planted: Planted, s3: S3, host: str, tmp_path: Path, video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Successful and failing runs; the files of the instance are searched."""
    s3.key, s3.secret = planted.secret(), planted.secret()
    monkeypatch.setenv("A_KEY", s3.key)
    monkeypatch.setenv("A_SECRET", s3.secret)
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(video.read_bytes())
    component = FramesComponent.model_validate(
        {
            "source": str(videos),
            "root": s3.url,
            "root_options": {"endpoint_url": s3.endpoint, "config_kwargs": QUICK},
            "root_secrets": {"key": "A_KEY", "secret": "A_SECRET"},
            "clipping": {"kind": "whole"},
            "signatures": {"few": {"policy": "middle", "target_res": [24, 32]}},
        }
    )
    here = Workspace.at(str(videos), s3.url, root_options=s3.options)
    discover(here, Batching(max_wait_s=0), now=1e12)
    home = tmp_path / "home"
    home.mkdir()
    definitions = component.definitions()
    config = {"resources": {"extraction": {"config": {"processes": 1}}}}
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        instance.add_dynamic_partitions("video_batch", ["batch-000001"])
        job = definitions.resolve_job_def("process_batch")

        def run() -> dg.ExecuteInProcessResult:
            return job.execute_in_process(
                instance=instance, partition_key="batch-000001", run_config=config,
                raise_on_error=False,
            )  # fmt: skip

        assert run().success
        s3.harm("error", code="AccessDenied", times=float("inf"), verb="PUT")
        assert not run().success
        s3.heal()

        uris = definitions.resolve_job_def("extract_uris")
        ops = {"extract": {"config": {"uris": [f"{host}/a.mp4", f"{host}/z.mp4"]}}}
        assert uris.execute_in_process(
            instance=instance, run_config=config | {"ops": ops}, raise_on_error=False
        ).success
        planted.seen += [
            str(record) for run_ in instance.get_runs() for record in instance.all_logs(run_.run_id)
        ]
    assert list(home.rglob("*.db"))
    for path in s3_objects(s3):
        planted.seen.append(path)
    assert planted.found_in(tmp_path) == []


def s3_objects(s3: S3) -> Iterator[str]:
    """Yield every object of the store, with its key."""
    objects = Objects(s3.url, s3.options)
    for key, data in objects.get_many(objects.list()).items():
        yield f"{key} {data.decode('latin-1')}"


def test_dagster_is_told_no_signed_uri(planted: Planted, host: str, tmp_path: Path) -> None:
    """Dagster stores a run's config, so the run fails with an error that omits the URI."""
    component = FramesComponent.model_validate(
        {"source": ".", "root": str(tmp_path / "root"), "signatures": {}}
    )
    job = component.definitions().resolve_job_def("extract_uris")
    uri = f"{host}/a.mp4?{planted.query('s3')}"
    result = job.execute_in_process(
        run_config={"ops": {"extract": {"config": {"uris": [uri]}}}}, raise_on_error=False
    )
    (event,) = [one for one in result.all_events if one.is_step_failure]
    planted.seen.append(str(event.step_failure_data.error))
    assert "is signed, and Dagster stores the run configuration" in planted.seen[-1]
    assert not (tmp_path / "root").exists()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The search finds each form of a secret in a file and in output."""
    planted = Planted()
    secret = planted.secret()
    for number, data in enumerate(
        (
            secret.encode(),
            quote(secret, safe="").encode(),
            base64.b64encode(secret.encode()),
            base64.b64encode(b"a" + secret.encode()),
            base64.b64encode(b"ab" + secret.encode()),
        )
    ):
        (tmp_path / f"{number}").write_bytes(b"before" + data + b"after")
        assert len(planted.found_in(tmp_path)) == number + 1
        planted.seen = [data.decode()]
        assert len(planted.found_in(tmp_path)) == number + 2
        planted.seen = []
    with pytest.raises(ConfigError, match="is signed"):
        Objects(f"https://host/a?sig={quote(secret)}")
