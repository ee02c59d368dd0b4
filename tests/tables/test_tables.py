"""Tables: what is published, what is read back, and what the rows say of their frames."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError, TransientError
from frames_pipeline.io.sums import FOOTER_KEY
from frames_pipeline.models import Provider
from frames_pipeline.models.captioning import Caption
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.endpoint_captioning import OpenAIVisionProvider
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline.kinds.captions import caption_rows, failed_caption_rows
from frames_pipeline.pipeline.kinds.embeddings import embedding_rows
from frames_pipeline.pipeline.kinds.quality import quality_rows
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.tables import (
    CAPTIONS,
    CLIPS,
    OUTCOMES,
    QUALITY,
    VIDEOS,
    FrameRef,
    FrameTables,
    embeddings_schema,
    table_digest,
    table_of,
)
from tests.models.frame_batches import frame_batch, scene

SIGNATURE = FrameExtractionSignature(target_fps=2).key
FRAMES = frame_batch(np.stack([scene(seed) for seed in range(3)]), positions=[0, 12, 25])
REF = FrameRef.of(FRAMES, batch="batch-000001", clip_id="a.mp4#0-900", signature=SIGNATURE)
SAME_FOR_ALL = {
    "batch": "batch-000001",
    "clip_id": "a.mp4#0-900",
    "signature": SIGNATURE,
    "time_base_num": 1,
    "time_base_den": 12800,
    "frames_digest": FRAMES.digest(),
}
EMBEDDER = PerceptualEmbedding()
MEASURER = TechnicalQuality()
CAPTIONER = OpenAIVisionProvider(base_url="http://localhost:8000/v1", model="stub-vl", prompt="?")
VIDEO = {
    "video_key": "a.mp4",
    "uri": "s3://videos/a.mp4",
    "size": 1000,
    "modified": 1.7e9,
    "etag": "",
    "fingerprint": "sha256:0f",
    "status": "ok",
    "detail": "",
}


@pytest.fixture(params=["path", "memory"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> FrameTables:
    """Empty tables on a disk and in memory."""
    fsspec.filesystem("memory").store.clear()
    return FrameTables({"path": str(tmp_path / "root"), "memory": "memory://root"}[request.param])


def embeddings() -> pa.Table:
    return embedding_rows(REF, EMBEDDER.embed(FRAMES.frames), provider=EMBEDDER)


def test_written_rows_are_read_back(tables: FrameTables) -> None:
    """Values, types and descriptions survive the file, vectors of fixed length too."""
    rows = embeddings()
    info = tables.write("embeddings", "batch-000001", rows)
    found = tables.read("embeddings", "batch-000001")
    assert found.equals(rows, check_metadata=True)
    assert (info.rows, info.digest) == (3, table_digest(found))
    assert info.bytes > 0
    assert info.path.endswith("/root/tables/embeddings/batch-000001/part-00000.parquet")


def test_second_write_takes_the_place_of_the_first(tables: FrameTables) -> None:
    """A batch has one table, the last that was written."""
    tables.write("videos", "b", table_of([VIDEO, VIDEO], VIDEOS))
    tables.write("videos", "b", table_of([VIDEO], VIDEOS))
    assert tables.read("videos", "b").num_rows == 1


def test_parts(tables: FrameTables) -> None:
    """A batch may have a part for each signature; each is written and deleted by itself."""
    other = table_of([VIDEO, VIDEO], VIDEOS)
    tables.write("outcomes", "b", table_of([VIDEO], VIDEOS), part="first-native-0f")
    assert tables.write("outcomes", "b", other, part=SIGNATURE).path.endswith(
        f"/tables/outcomes/b/part-{SIGNATURE}.parquet"
    )
    assert tables.read("outcomes", "b", part=SIGNATURE).equals(other)
    assert tables.batches("outcomes") == ["b"]
    assert not tables.exists("outcomes", "b")
    tables.delete("outcomes", "b", part=SIGNATURE)
    assert not tables.exists("outcomes", "b", part=SIGNATURE)
    assert tables.exists("outcomes", "b", part="first-native-0f")


def test_metadata_of_the_caller_is_kept(tables: FrameTables) -> None:
    """What a caller notes in the schema comes back, and the digest is not in its way."""
    rows = table_of([VIDEO], VIDEOS).replace_schema_metadata({"cutting": "whole"})
    tables.write("clips", "b", rows)
    assert tables.read("clips", "b").schema.metadata == {b"cutting": b"whole"}


def test_batches(tables: FrameTables) -> None:
    """A table's batches are listed in order, and other tables' are not among them."""
    assert tables.batches("videos") == []
    for batch in ("b 2", "b-10", "b-1"):
        tables.write("videos", batch, table_of([VIDEO], VIDEOS))
    tables.write("videos2", "other", table_of([VIDEO], VIDEOS))
    assert tables.batches("videos") == ["b 2", "b-1", "b-10"]


def test_unfinished_write_is_no_batch(tmp_path: Path) -> None:
    """What a killed writer leaves behind is not taken for a table."""
    tables = FrameTables(str(tmp_path))
    folder = tmp_path / "tables/videos/b"
    folder.mkdir(parents=True)
    (folder / "part-00000.parquet.0f1e2d3c.tmp").write_bytes(b"PAR1")
    assert tables.batches("videos") == []
    assert not tables.exists("videos", "b")


def test_delete(tables: FrameTables) -> None:
    """A deleted table is gone; deleting it again is no error."""
    tables.write("videos", "b", table_of([VIDEO], VIDEOS))
    assert tables.exists("videos", "b")
    tables.delete("videos", "b")
    tables.delete("videos", "b")
    assert not tables.exists("videos", "b")
    assert tables.batches("videos") == []


def test_read_of_nothing(tables: FrameTables) -> None:
    """What was never written is named."""
    with pytest.raises(CommitNotFoundError, match=r"no table 'clips' of batch 'b': .*root/tables/"):
        tables.read("clips", "b")


@pytest.mark.parametrize("data", [b"", b"PAR1 nothing PAR1"])
def test_read_of_what_is_no_table(tmp_path: Path, data: bytes) -> None:
    """A file that is not Parquet is damage, and is named."""
    tables = FrameTables(str(tmp_path))
    Path(tables.write("videos", "b", table_of([VIDEO], VIDEOS)).path).write_bytes(data)
    with pytest.raises(IntegrityError, match=r"videos/b/part-00000\.parquet is damaged"):
        tables.read("videos", "b")


def test_tables_of_0_1_have_no_sum_and_are_read(tmp_path: Path) -> None:
    """Their rows are checked against a digest."""
    tables, rows = FrameTables(str(tmp_path)), embeddings()
    path = tables.write("embeddings", "b", rows).path
    stored = pq.read_table(path)
    metadata = {**stored.schema.metadata}
    del metadata[FOOTER_KEY]
    pq.write_table(stored.replace_schema_metadata(metadata), path, compression="zstd")
    assert tables.read("embeddings", "b").equals(rows)


def test_a_file_that_was_written_again_by_others_has_lost_its_sum(tmp_path: Path) -> None:
    """The footer still announces a checksum."""
    tables = FrameTables(str(tmp_path))
    path = tables.write("embeddings", "b", embeddings()).path
    pq.write_table(pq.read_table(path), path)
    with pytest.raises(IntegrityError, match="its footer announces a checksum, and there is none"):
        tables.read("embeddings", "b")


def test_read_of_rows_that_were_changed(tmp_path: Path) -> None:
    """Rows that are not those of the write are damage, even in a sound file."""
    tables = FrameTables(str(tmp_path))
    path = tables.write("embeddings", "b", embeddings()).path
    rows = pq.read_table(path).slice(1)
    metadata = {**rows.schema.metadata}
    del metadata[FOOTER_KEY]  # as version 0.1 wrote them
    pq.write_table(rows.replace_schema_metadata(metadata), path)
    with pytest.raises(IntegrityError, match=r"its rows have digest \w{64}, and were stored with"):
        tables.read("embeddings", "b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0), st.integers(0, 255))
def test_damage_is_noticed(tmp_path: Path, place: int, value: int) -> None:
    """A change of any byte of the file raises an error."""
    tables = FrameTables(str(tmp_path))
    rows = table_of([VIDEO, VIDEO], VIDEOS)
    path = Path(tables.write("videos", "b", rows).path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    if data == path.read_bytes():
        assert tables.read("videos", "b").equals(rows)
        return
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged"):
        tables.read("videos", "b")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 200])
def test_names_that_cannot_be_folders(tables: FrameTables, name: str) -> None:
    """Tables and batches cannot climb out of the root."""
    with pytest.raises(ConfigError, match=r"table .* cannot name a folder"):
        tables.read(name, "b")
    with pytest.raises(ConfigError, match=r"batch .* cannot name a folder"):
        tables.write("videos", name, table_of([VIDEO], VIDEOS))
    if name:
        with pytest.raises(ConfigError, match=r"part .* cannot name a folder"):
            tables.exists("videos", "b", part=name)


def nested(value: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | value, max_size=6)


COLUMNS = {
    pa.int64(): nested(st.integers(-(2**63), 2**63 - 1)),
    pa.float64(): nested(st.floats()),
    pa.float32(): nested(st.floats(width=32)),
    pa.bool_(): nested(st.booleans()),
    pa.string(): nested(st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    pa.list_(pa.int64()): nested(nested(st.integers(-9, 9))),
    pa.list_(pa.float32(), 2): st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2)),
}
any_column = st.sampled_from(list(COLUMNS)).flatmap(
    lambda kind: COLUMNS[kind].map(lambda values: pa.table({"x": pa.array(values, kind)}))
)


@given(any_column)
def test_digest_is_of_values_not_of_their_encoding(rows: pa.Table) -> None:
    """Chunks, dictionaries, slices, descriptions and Parquet leave the digest as it is."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, use_dictionary=True, row_group_size=2)
    padded = pa.concat_tables([rows.slice(0, 1), rows])
    described = rows.cast(pa.schema([rows.schema.field(0).with_metadata({"a": "b"})]))
    forms = [
        pa.concat_tables([rows.slice(0, 1), rows.slice(1)]),
        padded.slice(min(1, rows.num_rows)),
        described,
        pq.read_table(pa.BufferReader(sink.getvalue())),
    ]
    if rows.schema.field(0).type == pa.string():
        forms.append(pa.table({"x": rows["x"].dictionary_encode()}))
        forms.append(pa.table({"x": rows["x"].cast(pa.large_string())}))
    assert {table_digest(form) for form in forms} == {table_digest(rows)}


def spelled_out(rows: pa.Table) -> str:
    """Type and values as text, in which every NaN is alike, and every zero."""
    return f"{rows.schema.field(0).type} {rows['x'].to_pylist()}".replace("-0.0", "0.0")


@given(any_column, any_column)
def test_digest_tells_values_apart(one: pa.Table, other: pa.Table) -> None:
    """Two columns have one digest if and only if type and values are the same."""
    same = spelled_out(one) == spelled_out(other)
    assert (table_digest(one) == table_digest(other)) == same


def test_digest_covers_names_and_order() -> None:
    """Another name, another order of rows or of columns is another table."""
    tables = [
        pa.table({"a": [1, 2], "b": [1, 2]}),
        pa.table({"a": [2, 1], "b": [1, 2]}),
        pa.table({"b": [1, 2], "a": [1, 2]}),
        pa.table({"a": [1, 2], "c": [1, 2]}),
        pa.table({"a": [1, 2]}),
        pa.table({"a": [], "b": []}, schema=pa.schema({"a": pa.int64(), "b": pa.int64()})),
    ]
    assert len({table_digest(table) for table in tables}) == len(tables)


def test_digest_is_that_of_the_first_release() -> None:
    """Digests are data versions: one that changes makes every batch stale."""
    rows = pa.table(
        {
            "text": ["a", None, "ä"],
            "number": [1, 2, None],
            "share": [0.5, float("nan"), None],
            "list": [[1], [], None],
            "flag": [True, False, None],
            "vector": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2)),
        }
    )
    assert table_digest(rows)[:16] == "9fc7f5346f517c12"


def test_digest_of_odd_floats() -> None:
    """Every NaN is alike, a signalling one too, and no warning is given; so is every zero."""
    odd = np.array([0x7F800001, 0xFFC00000, 0x80000000], np.uint32).view(np.float32)
    plain = np.array([np.nan, np.nan, 0], np.float32)
    assert table_digest(pa.table({"x": odd})) == table_digest(pa.table({"x": plain}))


def test_digest_of_another_type() -> None:
    """A type whose bytes are not settled has no digest."""
    with pytest.raises(
        ConfigError, match=r"type date32.* has no digest; use numbers, text or lists"
    ):
        table_digest(pa.table({"day": pa.array([1], pa.date32())}))


def identity(provider: Provider) -> str:
    return json.dumps(provider.parameters(), sort_keys=True, separators=(",", ":"))


def test_embeddings_say_which_frames_they_are_of() -> None:
    """One row per frame, with its position, timestamp, provider, and vector."""
    rows = embeddings()
    assert rows.schema.equals(embeddings_schema(96), check_metadata=True)
    assert rows.drop_columns(["embedding"]).to_pylist() == [
        SAME_FOR_ALL
        | {
            "position": position,
            "pts": position * 512,
            "provider": "perceptual",
            "provider_revision": 1,
            "provider_parameters": identity(EMBEDDER),
        }
        for position in (0, 12, 25)
    ]
    np.testing.assert_array_equal(
        np.array(rows["embedding"].to_pylist(), np.float32), EMBEDDER.embed(FRAMES.frames)
    )


def test_quality_says_which_frames_it_is_of() -> None:
    """One row per frame, with the measures under their names."""
    quality = MEASURER.measure(FRAMES.frames)
    rows = quality_rows(REF, quality, provider=MEASURER).to_pylist()
    for row, measures, position in zip(rows, quality.rows(), (0, 12, 25), strict=True):
        where = {"position": position, "pts": position * 512}
        made_by = {
            "provider": "technical",
            "provider_revision": 1,
            "provider_parameters": identity(MEASURER),
        }
        assert row == SAME_FOR_ALL | where | made_by | measures | {"aesthetic": None}


def test_caption_says_which_frames_it_is_of() -> None:
    """One row per clip, with the frames that were sent and the prompt's hash."""
    caption = Caption("A cat.", model="stub-vl-7b", positions=(0, 25), pts=(0, 12800))
    [row] = caption_rows(REF, caption, provider=CAPTIONER).to_pylist()
    assert row == SAME_FOR_ALL | {
        "positions": [0, 25],
        "pts": [0, 12800],
        "provider": "openai",
        "provider_revision": 1,
        "provider_parameters": identity(CAPTIONER),
        "model": "stub-vl-7b",
        "prompt_sha256": "8a8de823d5ed3e12746a62ef169bcf372be0ca44f0a1236abc35df05d96928e1",
        "text": "A cat.",
        "finish_reason": "stop",
        "prompt_tokens": None,
        "completion_tokens": None,
        "status": "ok",
        "reason": "",
        "detail": "",
    }


def test_failed_caption_says_why() -> None:
    """A clip without a caption has a row too, with the kind of failure and its message."""
    error = TransientError("busy")
    [row] = failed_caption_rows(REF, error, provider=CAPTIONER).to_pylist()
    assert (row["status"], row["reason"], row["detail"]) == ("failed", "transient", "busy")
    assert (row["text"], row["positions"], row["model"]) == ("", [], "stub-vl")


def test_clip_without_frames_has_no_rows() -> None:
    """Nothing in, nothing out, under the same schema."""
    nothing = frame_batch(np.zeros((0, 4, 4, 3), np.uint8))
    lineage = FrameRef.of(nothing, batch="b", clip_id="c", signature=SIGNATURE)
    vectors = embedding_rows(lineage, EMBEDDER.embed(nothing.frames), provider=EMBEDDER)
    measures = quality_rows(lineage, MEASURER.measure(nothing.frames), provider=MEASURER)
    assert (vectors.num_rows, measures.num_rows) == (0, 0)
    assert pa.concat_tables([vectors, embeddings()]).num_rows == 3


def test_known_digest_is_taken_over() -> None:
    """Who knows the frames' digest, as a store does, need not have it computed."""
    where = {"batch": "b", "clip_id": "c", "signature": SIGNATURE}
    assert FrameRef.of(FRAMES, **where, frames_digest="0f").frames_digest == "0f"
    assert FrameRef.of(FRAMES, **where).time_base == Fraction(1, 12800)


def test_results_of_other_frames() -> None:
    """Vectors and measures that are not one per frame are refused."""
    with pytest.raises(ConfigError, match=r"gave vectors of shape \(2, 96\), not \(3, 96\)"):
        embedding_rows(REF, EMBEDDER.embed(FRAMES.frames[:2]), provider=EMBEDDER)
    with pytest.raises(ConfigError, match="technical measured 2 frames, not 3"):
        quality_rows(REF, MEASURER.measure(FRAMES.frames[:2]), provider=MEASURER)


def test_text_that_is_not_unicode() -> None:
    """A file name with odd bytes is stored with escapes instead of failing the batch."""
    rows = table_of([VIDEO | {"video_key": "caf\udce9.mp4"}], VIDEOS)
    assert rows["video_key"].to_pylist() == ["caf\\udce9.mp4"]
    lineage = FrameRef.of(FRAMES, batch="b", clip_id="caf\udce9.mp4#0-1", signature=SIGNATURE)
    found = embedding_rows(lineage, EMBEDDER.embed(FRAMES.frames), provider=EMBEDDER)
    assert found["clip_id"][0].as_py() == "caf\\udce9.mp4#0-1"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({k: v for k, v in VIDEO.items() if k != "uri"}, "row and schema differ in uri"),
        (VIDEO | {"extra": 1}, "row and schema differ in extra"),
        (VIDEO | {"size": "big"}, "rows do not fit their schema: .*big"),
        (VIDEO | {"video_key": None}, "column 'video_key' has 1 nulls"),
    ],
)
def test_rows_that_do_not_fit(row: dict[str, Any], complaint: str) -> None:
    """A row must have each column of the schema once, in its type."""
    with pytest.raises(ConfigError, match=complaint):
        table_of([row], VIDEOS)


@pytest.mark.parametrize(
    "schema", [VIDEOS, CLIPS, OUTCOMES, QUALITY, CAPTIONS, embeddings_schema(4)]
)
def test_every_column_is_described(schema: pa.Schema, tables: FrameTables) -> None:
    """A reader finds in the file what each column means; a table without rows is a table."""
    tables.write("empty", "b", table_of([], schema))
    found = tables.read("empty", "b")
    assert found.num_rows == 0
    for field in found.schema:
        assert field.metadata[b"description"].endswith(b".")


def test_schemas_are_those_of_the_first_release() -> None:
    """Columns are what readers depend on."""
    assert CLIPS.names[:5] == ["clip_id", "video_key", "fingerprint", "start_pts", "end_pts"]
    assert OUTCOMES.names[:6] == [
        "clip_id",
        "video_key",
        "fingerprint",
        "signature",
        "status",
        "reason",
    ]
    for schema in (QUALITY, embeddings_schema(8)):
        assert schema.names[:11] == [
            "batch",
            "clip_id",
            "signature",
            "position",
            "pts",
            "time_base_num",
            "time_base_den",
            "frames_digest",
            "provider",
            "provider_revision",
            "provider_parameters",
        ]


def test_vectors_in_pandas(tmp_path: Path) -> None:
    """Pandas reads the vectors as arrays that stack."""
    pandas = pytest.importorskip("pandas")
    path = FrameTables(str(tmp_path)).write("embeddings", "b", embeddings()).path
    frame = pandas.read_parquet(path)
    vectors = np.stack(frame["embedding"].tolist())
    np.testing.assert_array_equal(vectors, EMBEDDER.embed(FRAMES.frames))
    assert vectors.dtype == np.float32


def test_all_batches_as_one_dataset(tmp_path: Path) -> None:
    """The batches of a table are one Arrow dataset, by their folder."""
    dataset = pytest.importorskip("pyarrow.dataset")
    tables = FrameTables(str(tmp_path))
    for batch in ("b1", "b2"):
        tables.write("embeddings", batch, embeddings())
    found = dataset.dataset(str(tmp_path / "tables/embeddings")).to_table()
    assert found.num_rows == 6
    assert found.schema.field("embedding").type.list_size == 96


def test_nearest_neighbour_in_duckdb(tmp_path: Path) -> None:
    """DuckDB finds a frame's nearest neighbour over all batches, with where it is."""
    duckdb = pytest.importorskip("duckdb")
    tables = FrameTables(str(tmp_path))
    tables.write("embeddings", "b1", embeddings())
    wanted = EMBEDDER.embed(FRAMES.frames[1:2])[0].tolist()
    query = f"""
        SELECT clip_id, position, array_cosine_similarity(embedding::FLOAT[96], ?::FLOAT[96]) AS s
        FROM '{tmp_path}/tables/embeddings/*/*.parquet' ORDER BY s DESC LIMIT 1
    """
    [(clip_id, position, similarity)] = duckdb.execute(query, [wanted]).fetchall()
    assert (clip_id, position) == ("a.mp4#0-900", 12)
    assert similarity == pytest.approx(1, abs=1e-5)
