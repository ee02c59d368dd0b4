"""Vectors of clips, several providers side by side, and near-duplicates across batches."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from frames_pipeline import CommitNotFoundError, ConfigError, FrameExtractionSignature
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.pipeline import (
    Workspace,
    catalog_batch,
    cut_clips,
    discover,
    embed_batch,
    extract_batch,
    mark_near_duplicates,
    origins_of_rows,
    pool_batch,
    retire_batch,
)
from frames_pipeline.sources.batches import Batching
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
PROVIDER = PerceptualEmbedding()


@pytest.fixture
def embedded(cut: Workspace) -> Workspace:
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    embed_batch(BATCH, TWO, cut, PROVIDER)
    return cut


def test_a_clips_vector_is_the_mean_of_its_frames_as_duckdb_has_it(embedded: Workspace) -> None:
    report = pool_batch(BATCH, embedded)

    frames = embedded.tables.url("embeddings", BATCH)
    expected = duckdb.execute(f"""
        SELECT clip_id, i, avg(value) AS mean FROM (
            SELECT clip_id, unnest(embedding::FLOAT[])::DOUBLE AS value,
                   generate_subscripts(embedding::FLOAT[], 1) AS i FROM '{frames}')
        GROUP BY clip_id, i ORDER BY clip_id, i
    """)
    means = expected.df().pivot(index="clip_id", columns="i", values="mean").to_numpy()
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    pooled = pd.read_parquet(report.info.path).sort_values("clip_id")
    np.testing.assert_allclose(np.stack(list(pooled["embedding"])), means, atol=1e-6)
    assert set(pooled["pool"]) == {"mean"}


def test_faiss_finds_frames_in_what_parquet_holds(embedded: Workspace) -> None:
    """What is stored is read by others: rows go into an index as they are."""
    rows = pd.read_parquet(embedded.tables.url("embeddings", BATCH))
    vectors = np.stack(list(rows["embedding"])).astype(np.float32)
    index = importlib.import_module("faiss").IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, nearest = index.search(vectors, 1)
    assert nearest[:, 0].tolist() == list(range(len(rows)))


def test_a_clips_vector_says_which_frames_it_is_of(embedded: Workspace) -> None:
    pool_batch(BATCH, embedded)
    frames = list(origins_of_rows("embeddings", BATCH, embedded))
    for row in origins_of_rows("clip_embeddings", BATCH, embedded):
        of_clip = [one for one in frames if one.frames.clip_id == row.frames.clip_id]
        assert row.positions == tuple(one.positions[0] for one in of_clip)
        assert row.seconds == tuple(one.seconds[0] for one in of_clip)
        assert row.made_from_them


def test_providers_stand_side_by_side(embedded: Workspace) -> None:
    """A second provider's rows are a part of their own, and the first's stand."""
    before = embedded.tables.read("embeddings", BATCH)
    report = embed_batch(BATCH, TWO, embedded, PROVIDER, name="again")
    assert (report.made, report.kept) == (8, 0)
    assert embed_batch(BATCH, TWO, embedded, PROVIDER).kept == 8
    assert embedded.tables.parts("embeddings", BATCH) == ["", "again"]
    assert embedded.tables.read("embeddings", BATCH).equals(before)

    rows, _ = catalog_batch(BATCH, {"two": TWO}, embedded, embeddings=["", "again", "never"])
    row = rows.to_pylist()[0]
    assert row["embedding_names"] == ["default", "again", "never"]
    assert row["embedding_counts"] == [3, 3, 0]
    root = Path(embedded.store.objects.url)
    assert [bool(path) and (root / path).exists() for path in row["embedding_paths"]] == [
        True,
        True,
        False,
    ]
    made = {row.name for row in origins_of_rows("embeddings", BATCH, embedded)}
    assert made == {"", "again"}


@dataclass(frozen=True)
class Heavy(PerceptualEmbedding):
    """One whose length is not known before its weights are read, and that may break down."""

    made: list[int]
    breaks_at: int | None = None

    def parameters(self) -> dict[str, Any]:
        return PerceptualEmbedding().parameters()

    @property
    def dimensions(self) -> int:  # type: ignore[override]
        assert self.made is not NOT_LOADED
        return 96

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(self.made) == self.breaks_at:
            message = "the GPU is gone"
            raise RuntimeError(message)
        self.made.append(len(frames))
        return PerceptualEmbedding().embed(frames)


NOT_LOADED: list[int] = []


def test_what_was_embedded_stands_and_a_re_run_with_nothing_to_do_loads_no_model(
    cut: Workspace,
) -> None:
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    with pytest.raises(RuntimeError, match="the GPU is gone"):
        embed_batch(BATCH, TWO, cut, Heavy([], breaks_at=5))
    assert embed_batch(BATCH, TWO, cut, Heavy([])).made == 3
    assert embed_batch(BATCH, TWO, cut, Heavy(NOT_LOADED)).kept == 8


def test_without_embeddings_there_is_nothing_to_pool(cut: Workspace) -> None:
    with pytest.raises(CommitNotFoundError, match="no table 'embeddings'"):
        pool_batch(BATCH, cut)


def next_batch(workspace: Workspace) -> str:
    """Seal what is new, and go on to clips' vectors."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    extract_batch(batch.key, [TWO], workspace, workers=ONE)
    embed_batch(batch.key, TWO, workspace, PROVIDER)
    pool_batch(batch.key, workspace)
    return batch.key


@pytest.fixture
def two_batches(tmp_path: Path) -> Workspace:
    """Two videos; then a copy of one, the other in another encoding, and a new one."""
    videos = tmp_path / "videos"
    videos.mkdir()
    workspace = Workspace.at(str(videos), str(tmp_path / "root"))
    make_video(videos / "a.mp4", frames=50, options=X264)
    make_video(videos / "b.mp4", frames=50, options=X264, first=700)
    next_batch(workspace)
    shutil.copy(videos / "a.mp4", videos / "copy.mp4")
    make_video(videos / "coarse.mp4", frames=50, options={**X264, "crf": "33"}, first=700)
    make_video(videos / "new.mp4", frames=50, options=X264, first=430)
    next_batch(workspace)
    return workspace


def test_near_duplicates_are_found_across_batches(two_batches: Workspace) -> None:
    """The earlier clip is kept, whatever its batch; a clip like no other is in no row."""
    report = mark_near_duplicates(two_batches, min_similarity=0.995)
    assert (report.batches, report.clips, report.search) == (2, 5, "exact")
    found = {row["clip_id"]: row for row in report.rows.to_pylist()}
    assert {clip_id.partition("#")[0] for clip_id in found} == {"copy.mp4", "coarse.mp4"}
    for name, of, at_least in (("copy.mp4", "a.mp4", 1), ("coarse.mp4", "b.mp4", 0.995)):
        row = next(row for clip_id, row in found.items() if clip_id.startswith(name))
        assert (row["batch"], row["kept_batch"]) == ("batch-000002", "batch-000001")
        assert row["kept_clip_id"].startswith(of)
        assert row["similarity"] >= at_least

    again = mark_near_duplicates(two_batches, min_similarity=0.995)
    assert again.info.digest == report.info.digest


def test_a_retired_batch_is_not_compared(two_batches: Workspace) -> None:
    retire_batch("batch-000001", two_batches)
    report = mark_near_duplicates(two_batches, min_similarity=0.995)
    assert (report.batches, report.clips, report.rows.num_rows) == (1, 3, 0)


def test_nothing_to_compare_is_no_error(cut: Workspace) -> None:
    report = mark_near_duplicates(cut)
    assert (report.batches, report.clips, report.rows.num_rows) == (0, 0, 0)


def test_vectors_of_different_providers_are_not_compared(two_batches: Workspace) -> None:
    """Their cosines would say nothing."""
    rows = two_batches.tables.read("clip_embeddings", "batch-000002")
    column = rows.schema.get_field_index("provider_parameters")
    other = rows.set_column(column, rows.schema.field(column), [['{"name":"other"}'] * len(rows)])
    two_batches.tables.write("clip_embeddings", "batch-000002", other)
    with pytest.raises(ConfigError, match=r"batch-000001 are by .*perceptual.*000002 by .*other"):
        mark_near_duplicates(two_batches)
