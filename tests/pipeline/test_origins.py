"""The same bytes under another name are not decoded again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import Decoded, PyavDecoder, Tally
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    discover,
    extract_batch,
    recompress_store,
)
from frames_pipeline.pipeline.extraction import FramesReport
from frames_pipeline.sources.batches import Batching
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from tests.libraries import need_compression
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video, numbers_in

FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
LAST = FrameExtractionSignature(policy="last")


@dataclass(frozen=True, slots=True)
class Idle(PyavDecoder):
    """A decoder that must not be asked for anything."""

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        message = f"{media.name} was decoded"
        raise AssertionError(message)


def rename(workspace: Workspace, old: str, new: str, *, stride: float = 1) -> str:
    """Give a video another name; the key of the batch that it then lies in."""
    folder = Path(workspace.source.url)
    (folder / old).rename(folder / new)
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride(stride, stride, stride), workers=ONE)
    return batch.key


def counts(report: FramesReport) -> tuple[int, int, int]:
    return report.extracted, report.copied, report.frames_decoded


def test_a_renamed_video_is_copied_and_not_decoded(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR, LAST], cut, workers=ONE)
    batch = rename(cut, "b.mp4", "deep-b.mp4")
    report = extract_batch(batch, [FOUR], cut, workers=ONE, decoder=Idle())[FOUR]

    assert counts(report) == (0, 2, 0)
    for part in ("0-12800", "12800-25600"):
        old = cut.store.read(BATCH, FOUR, f"b.mp4#{part}")
        new = cut.store.read(batch, FOUR, f"deep-b.mp4#{part}")
        assert new.digest() == old.digest()
        assert np.array_equal(new.frames, old.frames)
    rows = report.outcomes.to_pylist()
    assert {row["choice"] for row in rows} == {
        "copied from batch-000001, b.mp4#0-12800",
        "copied from batch-000001, b.mp4#12800-25600",
    }
    assert {c.outcome.decode.copied_from for c in report.manifest.clips.values()} == {
        "batch-000001, b.mp4#0-12800",
        "batch-000001, b.mp4#12800-25600",
    }
    assert {(row["decoder"], row["packets_fed"]) for row in rows} == {("pyav", 0)}


@pytest.mark.parametrize("origin", COMPRESSIONS)
def test_frames_are_copied_from_any_compression(cut: Workspace, origin: str) -> None:
    """The copy has the compression of the store that writes it."""
    need_compression(origin)
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    recompress_store(cut, to=origin, workers=ONE)
    batch = rename(cut, "b.mp4", "deep-b.mp4")
    report = extract_batch(batch, [FOUR], cut, workers=ONE, decoder=Idle())[FOUR]
    assert counts(report) == (0, 2, 0)
    for clip, commit in report.manifest.clips.items():
        former = cut.store.commit(BATCH, FOUR, clip.removeprefix("deep-"))
        assert commit.digest == former.digest
        attempt = f"frames/{batch}/{FOUR.key}/{commit.path}/zarr.json"
        assert json.loads(cut.store.objects.get(attempt))["attributes"]["codec"] == "zstd"


def test_what_the_origin_lacks_is_decoded(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    batch = rename(cut, "b.mp4", "other.mp4")
    reports = extract_batch(batch, [FOUR, LAST], cut, workers=ONE)
    assert counts(reports[LAST])[:2] == (2, 0)
    assert numbers_in(cut.store.read(batch, LAST, "other.mp4#0-12800").frames) == [124]

    longer = rename(cut, "c.mp4", "longer.mp4", stride=2)
    assert counts(extract_batch(longer, [FOUR], cut, workers=ONE)[FOUR])[:2] == (1, 0)


def test_an_origin_that_has_other_bytes_now_is_not_followed(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    folder = Path(cut.source.url)
    (folder / "kept.mp4").write_bytes((folder / "b.mp4").read_bytes())
    make_video(folder / "b.mp4", frames=50, options=X264, first=900)
    cut_clips(cut.batches.read(BATCH), cut, FixedStride(1, 1, 1), workers=ONE)
    extract_batch(BATCH, [FOUR], cut, workers=ONE)

    (batch,) = discover(cut, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, cut, FixedStride(1, 1, 1), workers=ONE)
    assert counts(extract_batch(batch, [FOUR], cut, workers=ONE)[FOUR])[:2] == (2, 0)
    assert numbers_in(cut.store.read(batch, FOUR, "kept.mp4#0-12800").frames)[0] == 100


def test_frames_that_are_damaged_at_the_origin_are_decoded(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    for path in Path(cut.store.objects.url).glob(f"frames/{BATCH}/*/clips/b*/*/frames/c/0/0/0/0"):
        path.write_bytes(b"")
    batch = rename(cut, "b.mp4", "other.mp4")
    report = extract_batch(batch, [FOUR], cut, workers=ONE)[FOUR]
    assert counts(report)[:2] == (2, 0)
    assert cut.store.verify(batch, FOUR, deep=True).ok
