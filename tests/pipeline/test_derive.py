"""Rows are made once per frames and provider."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from frames_pipeline import (
    CommitNotFoundError,
    ConfigError,
    FrameBatch,
    FrameExtractionSignature,
    IntegrityError,
    TransientError,
)
from frames_pipeline.clipping import FixedStride
from frames_pipeline.models.captioning import Caption, CaptionError
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.endpoint_captioning import OpenAIVisionProvider
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    caption_batch,
    catalog_batch,
    cut_clips,
    embed_batch,
    extract_batch,
    measure_batch,
)
from tests.models.vision_server import Reply, VisionServer, completion, running_server
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video, number_in
from tests.waiting import processor_seconds

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
ONE_FPS = FrameExtractionSignature(target_fps=1)


@dataclass
class Reader:
    """A captioner that reads the number of the first frame, if it feels like it."""

    name: ClassVar[str] = "reader"
    revision: ClassVar[int] = 1
    model: str = "reader-1"
    prompt: str = "which frame is this?"
    fails: dict[int, Exception] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    seconds: Callable[[int], float] | None = None
    concurrency: int = 1

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "revision": self.revision, "model": self.model}

    def caption(self, clip: FrameBatch) -> Caption:
        number = number_in(clip.frames[0])
        self.asked.append(number)
        if self.seconds is not None:
            time.sleep(max(0.0, self.seconds(number)))
        if number in self.fails:
            raise self.fails[number]
        return Caption(f"frame {number}", self.model, (int(clip.positions[0]),), (0,))


@pytest.fixture
def extracted(cut: Workspace) -> Workspace:
    extract_batch(BATCH, [TWO, ONE_FPS], cut, workers=ONE)
    return cut


def test_rows_are_made_once(extracted: Workspace) -> None:
    first = embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())
    again = embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())

    assert (first.made, first.kept) == (8, 0)
    assert (again.made, again.kept) == (0, 8)
    assert again.info.digest == first.info.digest
    assert again.rows.equals(first.rows)


def test_other_frames_are_looked_at_again_and_no_others(extracted: Workspace) -> None:
    measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    make_video(Path(extracted.source.url) / "a.mp4", frames=50, options=X264, first=700)
    cut_clips(extracted.batches.read(BATCH), extracted, FixedStride(1, 1, 1), workers=ONE)
    extract_batch(BATCH, [TWO], extracted, workers=ONE)

    report = measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    assert (report.made, report.kept) == (2, 6)


def test_another_provider_or_signature_makes_everything_anew(extracted: Workspace) -> None:
    measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    stricter = TechnicalQuality(black_level=30)
    assert measure_batch(BATCH, TWO, extracted, stricter).made == 8
    assert measure_batch(BATCH, ONE_FPS, extracted, stricter).made == 8


def test_captions_that_were_made_stand_whatever_becomes_of_the_others(extracted: Workspace) -> None:
    silent = Reader(fails={100: TransientError("busy"), 200: CaptionError("I see nothing")})
    with pytest.raises(TransientError, match=f"1 clips of {BATCH} have no answer.*busy"):
        caption_batch(BATCH, TWO, extracted, silent)
    rows = {row["clip_id"]: row for row in extracted.rows("captions", BATCH)}
    assert len(rows) == 7
    assert rows["c.mp4#0-12800"]["reason"] == "no_caption"

    patient = Reader()
    report = caption_batch(BATCH, TWO, extracted, patient)
    assert patient.asked == [100]
    texts = {row["clip_id"]: row["text"] for row in report.rows.to_pylist()}
    assert texts["b.mp4#0-12800"] == "frame 100"
    assert texts["a.mp4#0-12800"] == "frame 0"
    assert texts["c.mp4#0-12800"] == ""


@pytest.mark.parametrize("concurrency", [1, 3])
def test_who_never_answers_is_not_asked_on_and_on(extracted: Workspace, concurrency: int) -> None:
    clips = (0, 25, 100, 125, 200, 225, 300, 325)
    gone: dict[int, Exception] = {clip: TransientError("nobody listens") for clip in clips}
    nobody = Reader(fails=gone, concurrency=concurrency)
    with pytest.raises(TransientError, match=r"^8 clips of .* have no answer.*: nobody listens"):
        caption_batch(BATCH, TWO, extracted, nobody, give_up_after=3)
    most = max(3, 2 * concurrency)
    assert most <= len(nobody.asked) <= most + concurrency - 1

    del gone[100]  # an answer begins the count anew
    now_and_then = Reader(fails=gone)
    with pytest.raises(TransientError, match=r"^7 clips .*, 2 of them not asked about, the first"):
        caption_batch(BATCH, TWO, extracted, now_and_then, give_up_after=3)
    assert now_and_then.asked == [0, 25, 100, 125, 200, 225]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VisionServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running_server() as vision:
        yield vision


def asking(server: VisionServer, **parameters: Any) -> OpenAIVisionProvider:
    said = {"max_retries": 0} | parameters
    return OpenAIVisionProvider(base_url=server.url, model="stub-vl", **said)


def test_clips_are_asked_about_at_once(extracted: Workspace, server: VisionServer) -> None:
    """The server answers nobody until four are there; of eight clips that is twice."""
    server.crowd = threading.Barrier(4)
    report = caption_batch(BATCH, TWO, extracted, asking(server, concurrency=4))
    assert report.made == 8
    assert not server.crowd.broken
    assert report.new.equals(report.rows)


def test_the_table_does_not_tell_who_answered_first(extracted: Workspace) -> None:
    """The later a clip, the sooner its answer: rows are in the order of clips all the same."""
    alone = caption_batch(BATCH, TWO, extracted, Reader())
    extracted.tables.delete("captions", BATCH)
    slowed = Reader(seconds=lambda number: 0.1 - number / 5000, concurrency=4)
    together = caption_batch(BATCH, TWO, extracted, slowed)
    assert together.made == 8
    assert together.info.digest == alone.info.digest


@pytest.mark.parametrize("concurrency", [1, 3])
def test_captions_stand_when_the_key_is_revoked_in_between(
    extracted: Workspace, server: VisionServer, concurrency: int
) -> None:
    """No further clip is asked about then; once there is a key, the others are."""
    revoked = Reply(status=401, body=b'{"error": "key revoked"}')
    server.replies += [completion("a"), completion("b"), revoked, revoked, revoked, revoked]
    with pytest.raises(ConfigError, match=r"status 401.*key revoked.*api_key"):
        caption_batch(BATCH, TWO, extracted, asking(server, concurrency=concurrency))
    assert sorted(row["text"] for row in extracted.rows("captions", BATCH)) == ["a", "b"]
    assert len(server.requests) <= 2 + concurrency

    server.replies.clear()
    report = caption_batch(BATCH, TWO, extracted, asking(server))
    assert (report.made, report.kept) == (6, 2)
    assert report.new.num_rows == 6


def test_captions_stand_when_frames_cannot_be_read(
    extracted: Workspace, server: VisionServer
) -> None:
    """Those that were made before, and those that were asked for meanwhile."""
    manifest = extracted.store.manifest(BATCH, TWO)
    lost = list(manifest.clips)[5]
    folder = Path(extracted.store.url(BATCH, TWO), manifest.clips[lost].path)
    shutil.rmtree(folder / "frames")
    with pytest.raises(IntegrityError):
        caption_batch(BATCH, TWO, extracted, asking(server, concurrency=4))
    rows = [row["clip_id"] for row in extracted.rows("captions", BATCH)]
    assert rows == list(manifest.clips)[:5]


@pytest.mark.live
def test_captions_stand_when_the_run_is_killed(
    extracted: Workspace, server: VisionServer, tmp_path: Path
) -> None:
    """Three clips have their answer when the process is killed: they are not asked about again."""
    before = [completion(f"before {i}") for i in range(3)]
    server.replies += before
    server.silent_after = 3
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            KILLED,
            extracted.source.url,
            extracted.store.objects.url,
            server.url,
        ]
    )
    try:
        # the fifth clip is asked about when three have their rows
        server.wait_for_requests(5, processor_seconds(process))
    finally:
        process.kill()
        process.wait()
    texts = {row["clip_id"]: row["text"] for row in extracted.rows("captions", BATCH)}
    assert sorted(texts.values()) == ["before 0", "before 1", "before 2"]

    server.silent_after = None
    report = caption_batch(BATCH, TWO, extracted, asking(server))
    assert (report.made, report.kept) == (5, 3)
    after = {row["clip_id"]: row["text"] for row in report.rows.to_pylist()}
    assert texts.items() <= after.items()


KILLED = f"""
import sys
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.models.captioning import open_caption_provider
from frames_pipeline.pipeline import Workspace, caption_batch
source, root, url = sys.argv[1:]
provider = open_caption_provider("openai", base_url=url, model="stub-vl", concurrency=2)
signature = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
caption_batch({BATCH!r}, signature, Workspace.at(source, root), provider, publish_every_s=0)
"""


def test_frames_that_are_not_published_are_named(cut: Workspace) -> None:
    with pytest.raises(CommitNotFoundError, match=BATCH):
        embed_batch(BATCH, TWO, cut, PerceptualEmbedding())


def test_the_catalog_joins_what_there_is(extracted: Workspace) -> None:
    names = {"two": TWO, "one": ONE_FPS}
    bare, _ = catalog_batch(BATCH, names, extracted)
    embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())
    measure_batch(BATCH, ONE_FPS, extracted, TechnicalQuality())
    caption_batch(BATCH, TWO, extracted, Reader())
    full, info = catalog_batch(BATCH, names, extracted)

    assert bare["embedding_counts"].to_pylist() == [[0]] * 8
    row = {row["clip_id"]: row for row in full.to_pylist()}["d.mp4#0-12800"]
    assert row["names"] == ["two", "one"]
    assert row["frame_counts"] == [3, 2]
    assert row["embedding_names"] == ["default"]
    assert row["embedding_counts"] == [3]
    assert row["captions"] == ["frame 300"]
    assert row["caption"] == "frame 300"
    assert row["sharpness"] > 0
    assert (Path(extracted.store.objects.url) / row["frame_paths"][0] / "zarr.json").exists()
    assert info.rows == 8
