"""Rows are made once per frames and provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from frames_pipeline import (
    CommitNotFoundError,
    FrameBatch,
    FrameExtractionSignature,
    TransientError,
)
from frames_pipeline.clips import FixedStride
from frames_pipeline.models.captioning import Caption, CaptionError
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    Places,
    caption_batch,
    catalog_batch,
    cut_clips,
    embed_batch,
    extract_batch,
    measure_batch,
)
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video, number_in

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

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "revision": self.revision, "model": self.model}

    def caption(self, clip: FrameBatch) -> Caption:
        number = number_in(clip.frames[0])
        self.asked.append(number)
        if number in self.fails:
            raise self.fails[number]
        return Caption(f"frame {number}", self.model, (int(clip.positions[0]),), (0,))


@pytest.fixture
def extracted(cut: Places) -> Places:
    extract_batch(BATCH, [TWO, ONE_FPS], cut, workers=ONE)
    return cut


def test_rows_are_made_once(extracted: Places) -> None:
    first = embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())
    again = embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())

    assert (first.made, first.kept) == (8, 0)
    assert (again.made, again.kept) == (0, 8)
    assert again.info.digest == first.info.digest
    assert again.rows.equals(first.rows)


def test_other_frames_are_looked_at_again_and_no_others(extracted: Places) -> None:
    measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    make_video(Path(extracted.source.url) / "a.mp4", frames=50, options=X264, first=700)
    cut_clips(extracted.batches.read(BATCH), extracted, FixedStride(1, 1, 1), workers=ONE)
    extract_batch(BATCH, [TWO], extracted, workers=ONE)

    report = measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    assert (report.made, report.kept) == (2, 6)


def test_another_provider_or_signature_makes_everything_anew(extracted: Places) -> None:
    measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    stricter = TechnicalQuality(black_level=30)
    assert measure_batch(BATCH, TWO, extracted, stricter).made == 8
    assert measure_batch(BATCH, ONE_FPS, extracted, stricter).made == 8


def test_captions_that_were_made_stand_whatever_becomes_of_the_others(extracted: Places) -> None:
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


def test_frames_that_are_not_published_are_named(cut: Places) -> None:
    with pytest.raises(CommitNotFoundError, match=BATCH):
        embed_batch(BATCH, TWO, cut, PerceptualEmbedding())


def test_the_catalog_joins_what_there_is(extracted: Places) -> None:
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
