"""The whole chain in a bucket: requests are counted, faults are done, a run is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    StoreAccessError,
    TransientError,
)
from frames_pipeline.clipping import FixedStride
from frames_pipeline.io.objects import Objects
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.pipeline import (
    Workspace,
    catalog_batch,
    cut_clips,
    discover,
    embed_batch,
    estimate_extraction,
    extract_batch,
    extraction,
    observe_videos,
    recheck_frames,
)
from frames_pipeline.sources.batches import Batching
from frames_pipeline.workers.local import Workers
from tests.pipeline.conftest import BATCH, ONE
from tests.s3 import S3
from tests.videos import numbers_in
from tests.waiting import processor_seconds, wait_for

pytestmark = pytest.mark.live
FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))


@dataclass
class Bucket:
    """Workspace in a bucket, and the bucket."""

    s3: S3
    workspace: Workspace


@pytest.fixture
def bucket(s3: S3, footage: list[Path]) -> Bucket:
    """Four videos in a bucket, sealed into a batch, and cut into two clips each."""
    videos = Objects(f"{s3.url}/videos", s3.options)
    for path in footage:
        videos.put(f"deep/{path.name}", path.read_bytes())
    workspace = Workspace.at(
        f"{s3.url}/videos", f"{s3.url}/root", source_options=s3.options, root_options=s3.options
    )
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride(1, 1, 1), workers=ONE)
    s3.count()
    return Bucket(s3, workspace)


def test_from_a_bucket_to_a_catalog(bucket: Bucket) -> None:
    workspace, provider = bucket.workspace, open_embedding_provider("perceptual")
    report = extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR]
    assert report.extracted == 8
    assert embed_batch(BATCH, FOUR, workspace, provider).made == 8
    table, _ = catalog_batch(BATCH, {"four": FOUR}, workspace)
    assert table["status"].to_pylist() == ["ok"] * 8
    frames = workspace.store.read(BATCH, FOUR, "deep/b.mp4#12800-25600")
    assert numbers_in(frames.frames) == [125, 131, 137, 144, 149]
    assert workspace.store.verify(BATCH, deep=True).ok


def test_a_video_comes_to_this_machine_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is cut, and into however many tasks its clips fall; a check asks again."""
    monkeypatch.setattr(extraction, "CLIPS_PER_TASK", 2)
    s3, workspace = bucket.s3, bucket.workspace
    (batch,) = map(workspace.batches.read, workspace.batches.keys())
    clips = cut_clips(batch, workspace, FixedStride(0.25, 0.25, 0), workers=Workers(2))
    assert len(clips) > 4 * 2
    report = extract_batch(BATCH, [FOUR], workspace, workers=Workers(2))[FOUR]
    assert report.extracted == len(clips)
    assert s3.count("/videos/deep/")["GET"] == 0  # they came when the fixture cut them

    assert recheck_frames(BATCH, FOUR, workspace, frames=2, seed=1, workers=ONE).ok
    assert s3.count("/videos/deep/")["GET"] == 2
    extract_batch(BATCH, [TWO], workspace, workers=Workers(1, copies_bytes=0))
    assert s3.count("/videos/deep/")["GET"] >= len(clips) // 2 - 1


def test_where_not_all_videos_fit_those_that_do_come_once(bucket: Bucket) -> None:
    s3, workspace = bucket.s3, bucket.workspace
    (batch,) = map(workspace.batches.read, workspace.batches.keys())
    *_, third, fourth = (workspace.source.find(video).size for video in batch.videos)
    two_fit = Workers(1, copies_bytes=third + fourth)
    cut_clips(batch, workspace, FixedStride(0.5, 0.5, 0), workers=two_fit)
    s3.count()
    extract_batch(BATCH, [FOUR], workspace, workers=two_fit)
    assert s3.count("/videos/deep/")["GET"] == 2


def test_a_run_again_asks_the_same_few_things_whatever_the_clips(bucket: Bucket) -> None:
    """Reads three tables, the manifest twice and the signature; writes one table.

    The tables are videos, clips and outcomes. fsspec lists an empty folder of suspects twice.
    """
    s3, workspace, provider = bucket.s3, bucket.workspace, open_embedding_provider("perceptual")
    extract_batch(BATCH, [FOUR], workspace, workers=ONE)
    embed_batch(BATCH, FOUR, workspace, provider)
    s3.count()
    assert extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR].extracted == 0
    assert s3.count() == {"GET": 9, "LIST": 2, "HEAD": 1, "PUT": 1}
    assert embed_batch(BATCH, FOUR, workspace, provider).made == 0
    assert s3.count() == {"GET": 3, "PUT": 1}


def test_as_many_requests_as_were_planned(s3: S3, footage: list[Path]) -> None:
    """From the first look to the published frames; what a tick lists beside is not in it."""
    videos = Objects(f"{s3.url}/videos", s3.options)
    for path in footage:
        videos.put(path.name, path.read_bytes())
    workspace = Workspace.at(videos.url, s3.url, source_options=s3.options, root_options=s3.options)
    clipping = FixedStride(1, 1, 1)
    planned = estimate_extraction(workspace.source, [FOUR], clipping=clipping, workers=ONE)
    s3.count()
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    observe_videos(batch, workspace)
    cut_clips(batch, workspace, clipping, workers=ONE)
    extract_batch(batch, [FOUR], workspace, workers=ONE)
    asked = s3.count()
    assert asked["PUT"] + asked["LIST"] == pytest.approx(planned.puts.total, rel=0.1)
    assert asked["GET"] + asked["HEAD"] == pytest.approx(planned.gets.total, rel=0.2)


def test_a_check_of_the_store_reads_no_commit(bucket: Bucket) -> None:
    """It takes a listing and the signature's document, and sees what `verify` sees."""
    workspace = bucket.workspace
    manifest = extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR].manifest
    bucket.s3.count()
    report = workspace.store.verify_manifest(manifest)
    assert bucket.s3.count() == {"LIST": 1, "GET": 1}
    assert report == workspace.store.verify(BATCH, FOUR)
    assert (report.ok, report.attempts) == (True, 8)
    commit = next(iter(manifest.clips.values()))
    folder = f"frames/{BATCH}/{FOUR.key}/{commit.path}"
    workspace.store.objects.delete([f"{folder}/time/c/0"])
    workspace.store.objects.put(f"{folder}/frames/c/0/0/0/0", b"cut")
    faults = workspace.store.verify_manifest(manifest).faults
    assert [fault.clip_id for fault in faults] == [commit.clip_id] * 2
    assert faults == workspace.store.verify(BATCH, FOUR).faults


def test_faults_that_pass_cost_no_clip(bucket: Bucket) -> None:
    """Throttling, server faults, resets, lost and cut answers, all over a run and its tables."""
    s3, cut = bucket.s3, bucket.workspace
    options = s3.options_with(config_kwargs={})  # botocore's own tries, as users have them
    workspace = Workspace.at(
        cut.source.url, cut.store.objects.url, source_options=options, root_options=options
    )
    harms = [
        s3.harm("error", code="SlowDown", times=4, verb="PUT", inside="/clips/"),
        s3.harm("error", code="SlowDown", times=3, verb="GET", inside="/videos/"),
        s3.harm("cut answer", times=1, verb="GET", inside="/videos/"),
        s3.harm("reset", times=3, verb="PUT", inside="/commits/"),
        s3.harm("lose answer", times=2, verb="PUT", inside="/commits/deep-b"),
        s3.harm("lose answer", times=2, verb="PUT", inside="manifest.json"),
        s3.harm("delay", times=3, verb="GET", seconds=0.2),
    ]
    report = extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR]
    assert [harm.done for harm in harms] == [harm.times for harm in harms]
    assert report.extracted == len(report.manifest.clips) == 8
    assert set(report.outcomes["status"].to_pylist()) == {"ok"}
    assert workspace.store.verify(BATCH, deep=True).ok


@pytest.mark.parametrize(
    ("code", "error"), [("SlowDown", TransientError), ("AccessDenied", StoreAccessError)]
)
def test_faults_that_last_end_the_run_and_lose_nothing(
    bucket: Bucket, code: str, error: type[Exception]
) -> None:
    """What was committed before stands, and the next run does the rest."""
    s3, workspace = bucket.s3, bucket.workspace
    s3.harm("error", code=code, times=1e9, verb="PUT", inside="/commits/deep-b")
    with pytest.raises(error, match="commits/deep-b"):
        extract_batch(BATCH, [FOUR], workspace, workers=ONE)
    s3.heal()
    done = set(workspace.store.clips(BATCH, FOUR))
    assert len(done) >= 4
    assert extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR].extracted == 8 - len(done)
    assert workspace.store.verify(BATCH, deep=True).ok


def test_the_answer_to_a_seal_may_be_lost(s3: S3) -> None:
    """Whoever sealed it is told so, though its client tried again and found the name taken."""
    objects = Objects(f"{s3.url}/videos", s3.options)
    objects.put("a.mp4", b"0")
    workspace = Workspace.at(
        objects.url, s3.url, source_options=s3.options, root_options=s3.options
    )
    harm = s3.harm("lose answer", verb="PUT", inside="batches/")
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    assert harm.done == 1
    assert workspace.batches.keys() == [batch.key]


RUN = """
import json, os, time
from frames_pipeline import FrameExtractionSignature
from frames_pipeline.pipeline import Workspace, extract_batch
from frames_pipeline.workers.local import Workers

if __name__ == "__main__":
    options = json.loads(os.environ["OPTIONS"])
    workspace = Workspace.at({source!r}, {root!r}, source_options=options, root_options=options)
    extract_batch({batch!r}, [FrameExtractionSignature(target_fps=4, target_res=(24, 32))],
                  workspace, workers=Workers(1), progress=lambda *_: time.sleep(0.5))
"""


def test_a_killed_run_resumes_where_it_was(bucket: Bucket) -> None:
    """Kill -9 of every process of the run; the next decodes only what is not committed."""
    workspace = bucket.workspace
    script = textwrap.dedent(RUN).format(
        source=workspace.source.url, root=workspace.store.objects.url, batch=BATCH
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        start_new_session=True,
        env=os.environ | {"OPTIONS": json.dumps(bucket.s3.options)},
    )
    wait_for(
        lambda: workspace.store.clips(BATCH, FOUR),
        name="a committed clip",
        progress=processor_seconds(process),
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    committed = workspace.store.clips(BATCH, FOUR)

    report = extract_batch(BATCH, [FOUR], workspace, workers=ONE)[FOUR]
    assert committed
    assert report.extracted == 8 - len(committed)
    assert len(report.manifest.clips) == 8
    assert {clip: report.manifest.clips[clip] for clip in committed} == committed
    assert workspace.store.verify(BATCH, deep=True).ok
