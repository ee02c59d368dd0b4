"""Frames of a lossy encoding through the steps on a batch: encoded once, and checked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from frames_pipeline import (
    CodecUnavailableError,
    FrameExtractionSignature,
    Limits,
    PyavDecoder,
    extract_frames,
)
from frames_pipeline.clipping import FixedStride
from frames_pipeline.encodings import images as codecs
from frames_pipeline.encodings.encoding import ImageCodec
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    embed_batch,
    extract_batch,
    recheck_frames,
    recompress_store,
)
from frames_pipeline.pipeline.ingest import clip_of, video_of
from frames_pipeline.pipeline.tolerances import OTHER_ENCODER
from frames_pipeline.pipeline.work import Job, Task, run_task
from frames_pipeline.sources.batches import Batching
from frames_pipeline.tables import ClipRow, VideoRow
from tests.libraries import need
from tests.pipeline.conftest import BATCH, ONE

PLAIN = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
JPEG = replace(PLAIN, encoding={"codec": "jpeg"})
CODECS = get_args(ImageCodec)
CLIP = "a.mp4#0-12800"


@pytest.fixture
def published(cut: Workspace) -> Workspace:
    """Eight clips with 40 frames as JPEG, in the manifest."""
    need("imagecodecs")
    extract_batch(BATCH, [JPEG], cut, workers=ONE)
    return cut


@pytest.mark.parametrize("codec", CODECS)
def test_stored_frames_are_those_of_extract_frames(cut: Workspace, codec: str) -> None:
    """From one decode with the lossless frames; the check encodes again."""
    need("imagecodecs")
    signature = replace(PLAIN, encoding={"codec": codec})
    reports = extract_batch(BATCH, [PLAIN, signature], cut, workers=ONE)
    assert {report.extracted for report in reports.values()} == {8}
    video = Path(cut.source.url) / "a.mp4"
    alone = extract_frames(video, [signature], start=0, end=1)[signature]
    found = cut.store.read(BATCH, signature, CLIP)
    assert found.images == alone.images
    assert found.digest() == alone.digest()
    np.testing.assert_array_equal(found.frames, alone.frames)
    assert cut.store.verify(BATCH, deep=True).ok
    report = recheck_frames(BATCH, signature, cut, frames=1000, workers=ONE)
    assert (report.ok, report.frames, report.max_difference) == (True, 40, 0)
    assert report.tolerance.maximum == 0
    assert report.families
    again = extract_batch(BATCH, [signature], cut, workers=ONE)[signature]
    assert (again.extracted, again.manifest.digest) == (0, reports[signature].manifest.digest)


def run_all(
    workspace: Workspace, batch: str, signatures: tuple[FrameExtractionSignature, ...]
) -> int:
    """Do the work of a batch's workers in this process; return the number of commits."""
    job = Job(workspace.source, workspace.store, batch, PyavDecoder(), Limits())
    videos = {row.video_key: video_of(row) for row in workspace.read(VideoRow, batch)}
    count = 0
    for row in workspace.read(ClipRow, batch):
        task = Task(job, videos[row.video_key], row.fingerprint, (clip_of(row),), signatures)
        count += sum(result.commit is not None for result in run_task(task).values())
    return count


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by an entry for each image that is encoded or decoded in this process."""
    made: list[str] = []
    encode, decode = codecs.encode_image, codecs.decode_image

    def encoding(*arguments: Any, **options: Any) -> bytes:
        made.append("encode")
        return encode(*arguments, **options)

    def decoding(*arguments: Any, **options: Any) -> None:
        made.append("decode")
        decode(*arguments, **options)

    monkeypatch.setattr(codecs, "encode_image", encoding)
    monkeypatch.setattr(codecs, "decode_image", decoding)
    return made


def test_workers_encode_each_frame_once_and_decode_none(cut: Workspace, calls: list[str]) -> None:
    """40 frames, which another signature repeats, and a copy of a video under another name."""
    need("imagecodecs")
    often = replace(JPEG, target_fps=50)
    assert run_all(cut, BATCH, (JPEG, often, PLAIN)) == 24
    assert set(calls) == {"encode"}
    assert len(calls) == 8 * 25  # all frames of the video, for `often`
    folder = Path(cut.source.url)
    (folder / "b.mp4").rename(folder / "deep-b.mp4")
    (batch,) = discover(cut, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, cut, FixedStride(1, 1, 1), workers=ONE)
    calls.clear()
    assert run_all(cut, batch.key, (JPEG,)) == 2
    assert calls == []
    copy = cut.store.commit(batch.key, JPEG, "deep-b.mp4#0-12800")
    original = cut.store.commit(BATCH, JPEG, "b.mp4#0-12800")
    assert copy.outcome.decode.copied_from
    assert copy.digest == original.digest


def test_frames_that_differ_are_found_by_encoding_again(published: Workspace) -> None:
    """Those of another video, or of one level more, by the same version of the encoder."""
    store = published.store
    fingerprint = store.commit(BATCH, JPEG, CLIP).fingerprint
    found = store.read(BATCH, JPEG, CLIP)
    plain = extract_frames(Path(published.source.url) / "a.mp4", [PLAIN], start=0, end=1)[PLAIN]
    brighter = replace(plain, frames=plain.frames | 4).with_encoding(encoding_of(JPEG))
    assert brighter.encoded != found.encoded
    store.write_clip(BATCH, CLIP, {JPEG: brighter}, fingerprint=fingerprint)
    store.commit_batch(BATCH, JPEG)
    report = recheck_frames(BATCH, JPEG, published, frames=1000, workers=ONE)
    assert [mismatch.clip_id for mismatch in report.mismatches] == [CLIP]
    assert "have other pixels" in report.mismatches[0].found


def test_another_version_of_the_encoder_has_a_tolerance(published: Workspace) -> None:
    """It may give other bytes; pixels that are far off are still found."""
    store = published.store
    fingerprint = store.commit(BATCH, JPEG, CLIP).fingerprint
    plain = extract_frames(Path(published.source.url) / "a.mp4", [PLAIN], start=0, end=1)[PLAIN]
    for quality, ok in ((100, False), (90, True)):
        batch = plain.with_encoding(replace(encoding_of(JPEG), quality=quality))
        assert batch.images is not None
        images = replace(batch.images, encoding=encoding_of(JPEG), encoder="imagecodecs 1")
        fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        del fields["frames"], fields["images"]
        written = type(plain).of(images, **fields)
        store.write_clip(BATCH, CLIP, {JPEG: written}, fingerprint=fingerprint)
        store.commit_batch(BATCH, JPEG)
        report = recheck_frames(BATCH, JPEG, published, frames=1000, workers=ONE)
        assert report.ok == ok
        assert report.tolerance == OTHER_ENCODER["jpeg"]


def encoding_of(signature: FrameExtractionSignature) -> Any:
    assert signature.image_encoding is not None
    return signature.image_encoding


def test_a_missing_package_stops_a_run_before_it_decodes(
    cut: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(CodecUnavailableError, match=r"install frames-pipeline\[encodings\]"):
        extract_batch(BATCH, [JPEG], cut, workers=ONE)
    assert cut.store.batches() == []


def test_downstream_steps_read_the_decoded_pixels(published: Workspace) -> None:
    report = embed_batch(BATCH, JPEG, published, PerceptualEmbedding())
    assert (report.made, report.kept) == (8, 0)


def test_recompression_passes_images_over(published: Workspace) -> None:
    """Written as pixels, they would have another digest."""
    before = published.store.manifest(BATCH, JPEG)
    report = recompress_store(published, to="none", workers=ONE)
    assert published.store.manifest(BATCH, JPEG) == before
    assert report.passed_over == 8
