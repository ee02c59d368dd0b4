"""Parquet tables beside the frames, by table and batch, and the rows that go into them.

    {root}/tables/{table}/{batch_key}/part-{part}.parquet

Most tables have one part per batch, `00000`. One that is made for each signature by itself has a
part for each, by its key; embeddings and captions of further providers are in parts by the names
that they were given. A part is published by one PUT, so a reader sees the old one or the new one,
never a mixture. It has a sum of its bytes, which `FrameTables` compares. Any tool reads it:
`SELECT * FROM '{root}/tables/quality/*/*.parquet'`.

Rows that were made from frames say which: batch, clip, signature, position, timestamp, and the
digest of the frames that the provider was given.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frames_pipeline.errors import (
    CommitNotFoundError,
    ConfigError,
    FramesPipelineError,
    IntegrityError,
)
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import (
    FOOTER_KEY,
    FOOTER_VALUE,
    UNREADABLE,
    check_footer_sum,
    with_footer_sum,
)
from frames_pipeline.models import Provider
from frames_pipeline.models.captioning import Caption, CaptionProvider
from frames_pipeline.models.embedding import EmbeddingProvider
from frames_pipeline.models.quality import FrameQuality
from frames_pipeline.sources.withdrawal import error as withdrawal_error
from frames_pipeline.sources.withdrawal import is_withdrawn

ROOT: Final = "tables"
"""The folder of all tables."""
FILE_KEY: Final = re.compile(
    rf"{ROOT}/(?P<table>[^/]+)/(?P<batch>[^/]+)/part-(?P<part>.+)\.parquet"
)
"""Keys of the files of tables."""
WHOLE_PART: Final = "00000"
"""The part of a table that has only one per batch."""
_MAX_NAME: Final = 128
_AT_ONCE: Final = 64
"""Files that are read before the first of them is looked at, where many are."""
_DIGEST_FORMAT: Final = b"frames-table/1\n"
_DIGEST_KEY: Final = b"frames_pipeline.digest"
"""Where a file keeps the digest of its rows, in the metadata of its schema."""


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One published table of one batch."""

    path: str
    """Where it is: a path or an fsspec URL."""
    rows: int
    """Number of rows."""
    bytes: int
    """Size of the Parquet file."""
    digest: str
    """What the rows are, as `table_digest` has it: the Dagster data version."""


class FrameTables:
    """The tables under one root, by table name and batch key."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Name the root; nothing is touched yet.

        Args:
            url: The store's root, a path or an fsspec URL: tables lie beside the frames.
            storage_options: What fsspec needs to reach it: keys, endpoint, profile.
        """
        self._objects = Objects(url, storage_options)

    def write(self, table: str, batch: str, rows: pa.Table, *, part: str = "") -> TableInfo:
        """Publish a batch's rows, in place of any that are there.

        Args:
            table: Name of the table.
            batch: Key of the batch.
            rows: All of them.
            part: Which part they are, where the batch has several: the key of a signature.

        Raises:
            ConflictError: The batch was withdrawn.
        """
        key, digest = _key(table, batch, part), table_digest(rows)
        sink = pa.BufferOutputStream()
        metadata = {**(rows.schema.metadata or {}), _DIGEST_KEY: digest, FOOTER_KEY: FOOTER_VALUE}
        pq.write_table(
            rows.replace_schema_metadata(metadata),
            sink,
            compression="zstd",
            write_page_checksum=True,
        )
        data = with_footer_sum(sink.getvalue().to_pybytes())
        self._objects.put(key, data)
        if is_withdrawn(self._objects, batch):
            self._objects.delete([key])
            raise withdrawal_error(batch)
        path = self.url(table, batch, part=part)
        return TableInfo(path, rows=rows.num_rows, bytes=len(data), digest=digest)

    def read(self, table: str, batch: str, *, part: str = "") -> pa.Table:
        """A batch's rows.

        Raises:
            CommitNotFoundError: There are none.
            IntegrityError: What is stored is not what was written.
        """
        key = _key(table, batch, part)
        try:
            data = self._objects.get(key)
        except FileNotFoundError as error:
            message = (
                f"no table {table!r} of batch {batch!r}: {self._objects.url}/{key} is not there"
            )
            raise CommitNotFoundError(message) from error
        return self._decoded(key, data)

    def read_many(
        self, table: str, batches: Iterable[str], *, part: str = ""
    ) -> Iterator[tuple[str, pa.Table]]:
        """The rows of many batches, in their order; batches that have none are left out.

        Raises:
            IntegrityError: What is stored is not what was written.
        """
        keys = [(batch, _key(table, batch, part)) for batch in batches]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            found = self._objects.get_many(key for _, key in some)
            for batch, key in some:
                if key in found:
                    yield batch, self._decoded(key, found[key])

    def check(self, paths: Iterable[str]) -> None:
        """Compare whole files with their sums and digests, by path relative to the root.

        Raises:
            IntegrityError: One is missing or differs from the written file.
        """
        paths = list(paths)
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            found = self._objects.get_many(some)
            for path in some:
                if path not in found:
                    message = f"{self._objects.url}/{path} is missing; run its step again"
                    raise IntegrityError(message)
                self._decoded(path, found[path])

    def _decoded(self, key: str, data: bytes) -> pa.Table:
        try:
            check_footer_sum(data)
            return _verified(pq.read_table(pa.BufferReader(data)))
        except (pa.ArrowException, OSError, *UNREADABLE) as error:
            message = f"{self._objects.url}/{key} is damaged ({error}); move it away with "
            message += "`frames-pipeline repair`, and run its step again"
            raise IntegrityError(message) from error

    def url(self, table: str, batch: str, *, part: str = "") -> str:
        """Path or URL of the file that a batch's rows are in."""
        return f"{self._objects.url}/{self.path(table, batch, part=part)}"

    def path(self, table: str, batch: str, *, part: str = "") -> str:
        """The same, relative to the root."""
        return _key(table, batch, part)

    def exists(self, table: str, batch: str, *, part: str = "") -> bool:
        """Whether the batch's rows are there."""
        try:
            self._objects.info(_key(table, batch, part))
        except FileNotFoundError:
            return False
        return True

    def batches(self, table: str) -> list[str]:
        """Keys of the batches that have any part of the table, sorted."""
        folder = f"{ROOT}/{_segment('table', table)}/"
        keys = (key.removeprefix(folder) for key in self._objects.list(folder.rstrip("/")))
        return sorted({key.partition("/")[0] for key in keys if key.endswith(".parquet")})

    def parts(self, table: str, batch: str) -> list[str]:
        """Names of the parts that a batch has of a table, sorted; the only one is an empty name."""
        folder = f"{ROOT}/{_segment('table', table)}/{_segment('batch', batch)}"
        names = (key.removeprefix(f"{folder}/part-") for key in self._objects.list(folder))
        found = {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}
        return sorted("" if name == WHOLE_PART else name for name in found)

    def delete(self, table: str, batch: str, *, part: str = "") -> None:
        """Remove a batch's rows; that there are none is no error."""
        self._objects.delete([_key(table, batch, part)])

    def delete_batch(self, batch: str) -> None:
        """Remove a batch's rows from every table; that there are none is no error."""
        for table in self._objects.folders(ROOT):
            folder = f"{ROOT}/{table}/{_segment('batch', batch)}"
            self._objects.delete(self._objects.list(folder))


def table_digest(rows: pa.Table) -> str:
    """SHA-256 over names, types and values, whatever the encoding, chunking and library.

    Descriptions of columns do not enter. The order of rows does, so sort them, and leave out what
    differs between equal runs: `table_digest(rows.drop_columns(["seconds"]))`.
    """
    sha = hashlib.sha256(_DIGEST_FORMAT)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        sha.update(f"{name} {_type_name(column.type)} {len(column)}\n".encode())
        for part in _canonical_bytes(column.combine_chunks()):
            sha.update(part)
    return sha.hexdigest()


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of these rows, with exactly the columns of the schema.

    Text that is not Unicode, as file names can be, is stored with the odd bytes as escapes.

    Raises:
        ConfigError: A row lacks a column, has one too many, or has a value of another type.
    """
    rows = list(rows)
    for row in rows:
        if odd := set(row) ^ set(schema.names):
            message = f"row and schema differ in {', '.join(sorted(odd))}; give each column once"
            raise ConfigError(message)
    try:
        columns = {name: [_storable(row[name]) for row in rows] for name in schema.names}
        return _without_nulls_where_forbidden(pa.Table.from_pydict(columns, schema=schema))
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        message = f"rows do not fit their schema: {error}"
        raise ConfigError(message) from error


@dataclass(frozen=True, slots=True, eq=False)
class FrameRef:
    """Which frames a provider was given."""

    batch: str
    """Key of the batch."""
    clip_id: str
    """The clip, within the batch."""
    signature: str
    """Key of the signature that the frames were extracted with."""
    frames_digest: str
    """`FrameBatch.digest()` of the frames."""
    positions: NDArray[np.int64]
    """Position of each frame in its stream. Shape (n,)."""
    pts: NDArray[np.int64]
    """Timestamp of each frame, in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""

    @classmethod
    def of(
        cls,
        frames: FrameBatch,
        *,
        batch: str,
        clip_id: str,
        signature: str,
        frames_digest: str | None = None,
    ) -> FrameRef:
        """The lineage of what is made from these frames.

        Args:
            frames: The frames.
            batch: Key of their batch.
            clip_id: Their clip.
            signature: Key of their signature.
            frames_digest: Their digest where it is known; taken from the pixels where not.
        """
        return cls(
            batch=batch,
            clip_id=clip_id,
            signature=signature,
            frames_digest=frames.digest() if frames_digest is None else frames_digest,
            positions=frames.positions,
            pts=frames.pts,
            time_base=frames.time_base,
        )


def embedding_rows(
    lineage: FrameRef, vectors: NDArray[np.float32], *, provider: EmbeddingProvider
) -> pa.Table:
    """One row per frame, for the table of embeddings.

    Raises:
        ConfigError: The vectors are not one per frame of the provider's length.
    """
    expected = (len(lineage.positions), provider.dimensions)
    if vectors.shape != expected:
        message = f"{provider.name} gave vectors of shape {vectors.shape}, not {expected}"
        raise ConfigError(message)
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, provider.dimensions)
    columns = _frame_columns(lineage, provider) | {"embedding": embedding}
    return pa.Table.from_pydict(columns, schema=embeddings_schema(provider.dimensions))


def pooled_rows(rows: pa.Table, *, pool: str) -> pa.Table:
    """One row per clip, for the table of clips' embeddings, out of the rows of their frames.

    The vectors of a clip's frames are added up and scaled to length 1 again; vectors that cancel
    each other out give zeros, which are like nothing.

    Args:
        rows: Rows of the table of embeddings.
        pool: What to call the way of pooling.
    """
    dimensions = rows.schema.field("embedding").type.list_size
    schema = clip_embeddings_schema(dimensions)
    made = []
    for of_clip in rows_by_clip(rows).values():
        columns = {name: of_clip[name][0].as_py() for name in schema.names if name in _SAME}
        columns |= {name: of_clip[column].to_pylist() for name, column in _FRAMES_OF_CLIP.items()}
        made.append(columns | {"pool": pool, "embedding": _pooled(vectors_of(of_clip))})
    return table_of(made, schema)


def rows_by_clip(rows: pa.Table) -> dict[str, pa.Table]:
    """The rows of each clip, where those of one clip follow each other. Nothing is copied."""
    clips = rows["clip_id"].combine_chunks().dictionary_encode()
    codes = clips.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    stops = [*starts, len(rows)][1:]
    return {
        clips[start].as_py(): rows.slice(start, stop - start)
        for start, stop in zip(starts, stops, strict=True)
    }


def vectors_of(rows: pa.Table) -> NDArray[np.float32]:
    """The vectors of a table of embeddings. Shape (rows, dimensions)."""
    column = rows["embedding"].combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(rows), column.type.list_size)


def _pooled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    total = vectors.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    pooled: NDArray[np.float64] = total / length if length else total
    return pooled.astype(np.float32)


def quality_rows(lineage: FrameRef, quality: FrameQuality, *, provider: Provider) -> pa.Table:
    """One row per frame, for the table of quality measures.

    Raises:
        ConfigError: The measures are not one per frame.
    """
    if len(quality) != len(lineage.positions):
        message = f"{provider.name} measured {len(quality)} frames, not {len(lineage.positions)}"
        raise ConfigError(message)
    nothing: dict[str, Any] = {field.name: [None] * len(quality) for field in _MEASURES}
    columns = _frame_columns(lineage, provider) | nothing | quality.columns()
    return pa.Table.from_pydict(columns, schema=QUALITY)


def caption_rows(lineage: FrameRef, caption: Caption, *, provider: CaptionProvider) -> pa.Table:
    """One row, for the table of captions."""
    said = {
        "positions": list(caption.positions),
        "pts": list(caption.pts),
        "model": caption.model,
        "text": caption.text,
        "prompt_tokens": caption.prompt_tokens,
        "completion_tokens": caption.completion_tokens,
        "finish_reason": caption.finish_reason,
    }
    return table_of([_caption_columns(lineage, provider) | said], CAPTIONS)


def failed_caption_rows(
    lineage: FrameRef, error: FramesPipelineError, *, provider: CaptionProvider
) -> pa.Table:
    """One row, for the table of captions, that says why the clip has none."""
    why = {"status": "failed", "reason": error.reason, "detail": str(error)}
    return table_of([_caption_columns(lineage, provider) | why], CAPTIONS)


def provider_parameters(provider: Provider) -> str:
    """What identifies a provider's answers, as canonical JSON."""
    return json.dumps(provider.parameters(), sort_keys=True, separators=(",", ":"))


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


_TEXT: Final = pa.string()
_INT: Final = pa.int64()
_FLOAT: Final = pa.float64()
_BOOL: Final = pa.bool_()
_INTS: Final = pa.list_(pa.field("element", _INT, nullable=False))

_VIDEO_KEY: Final = _column("video_key", _TEXT, "Video: its path relative to the source's root.")
_FINGERPRINT: Final = _column("fingerprint", _TEXT, "What the video's bytes are.")
_STATUS: Final = _column(
    "status", _TEXT, "ok, partial, failed, or skipped because it is too short."
)
_DETAIL: Final = _column("detail", _TEXT, "Why it is not ok, for a person; empty if it is.")
_REASON: Final = _column("reason", _TEXT, "The kind of failure; empty if there is none.")
_BATCH: Final = _column("batch", _TEXT, "Key of the batch, which is the Dagster partition.")
_CLIP_ID: Final = _column("clip_id", _TEXT, "Clip: a span of one video, unique in its batch.")
_SIGNATURE: Final = _column("signature", _TEXT, "Key of the signature that decides the pixels.")
_TIME_BASE: Final = (
    _column("time_base_num", _INT, "Seconds per unit of pts: numerator."),
    _column("time_base_den", _INT, "Seconds per unit of pts: denominator."),
)
_PROVIDER: Final = (
    _column("frames_digest", _TEXT, "SHA-256 of the frames that the provider was given."),
    _column("provider", _TEXT, "What made the row."),
    _column("provider_revision", _INT, "Version of its algorithm."),
    _column("provider_parameters", _TEXT, "What else identifies its answers, as JSON."),
)
_FRAME: Final = (
    _BATCH,
    _CLIP_ID,
    _SIGNATURE,
    _column("position", _INT, "Index of the frame among the shown frames of its stream."),
    _column("pts", _INT, "Presentation timestamp of the frame, in time_base units."),
    *_TIME_BASE,
    *_PROVIDER,
)

_CLIP: Final = (
    _BATCH,
    _CLIP_ID,
    _SIGNATURE,
    _column("positions", _INTS, "Positions of the frames that the row is made from."),
    _column("pts", _INTS, "Their presentation timestamps, in time_base units."),
    *_TIME_BASE,
    *_PROVIDER,
)
_FRAMES_OF_CLIP: Final = {"positions": "position", "pts": "pts"}
"""What a row of a clip has of several frames, and the column of one of them."""
_SAME: Final = frozenset(field.name for field in _FRAME) - {"position", "pts"}
"""What is the same for every frame of a clip."""

VIDEOS: Final = pa.schema(
    [
        _VIDEO_KEY,
        _column("uri", _TEXT, "Where the video is."),
        _column("size", _INT, "Bytes.", nullable=True),
        _column("modified", _FLOAT, "When it changed, in seconds since 1970.", nullable=True),
        _column("etag", _TEXT, "What the object store calls these bytes; empty on a disk."),
        _FINGERPRINT,
        _STATUS,
        _DETAIL,
    ]
)
"""One row per video of the batch."""

CLIPS: Final = pa.schema(
    [
        _CLIP_ID,
        _VIDEO_KEY,
        _FINGERPRINT,
        _column("start_pts", _INT, "First timestamp inside, in time_base units.", nullable=True),
        _column("end_pts", _INT, "First timestamp after, in time_base units.", nullable=True),
        *(field.with_nullable(True) for field in _TIME_BASE),
        _column("start_seconds", _FLOAT, "Start on the video's clock.", nullable=True),
        _column("duration_seconds", _FLOAT, "Length.", nullable=True),
        _column("num_frames", _INT, "Shown frames inside.", nullable=True),
        _column("width", _INT, "Pixels, as the stream is coded.", nullable=True),
        _column("height", _INT, "Pixels, as the stream is coded.", nullable=True),
        _column("codec", _TEXT, "Name of the codec.", nullable=True),
        _column("rotation", _INT, "Degrees that a player turns the picture.", nullable=True),
        _column(
            "timestamps",
            _TEXT,
            "container, or repaired or counted where it lacks some.",
            nullable=True,
        ),
        _STATUS,
        _REASON,
        _DETAIL,
        _column("pixel_format", _TEXT, "FFmpeg's name of how samples are laid out.", nullable=True),
        _column(
            "container_crop",
            _INTS,
            "Pixels that the container says to cut off: top, bottom, left, right; null: none.",
            nullable=True,
        ),
    ]
)
"""One row per clip of the batch. A video that cannot be cut has one, with nulls and the reason.
The last two columns are null in tables that version 0.1 wrote."""

OUTCOMES: Final = pa.schema(
    [
        _CLIP_ID,
        _VIDEO_KEY,
        _FINGERPRINT,
        _SIGNATURE,
        _STATUS,
        _REASON,
        _DETAIL,
        _column("frames", _INT, "Frames stored, repeats included."),
        _column("missing", _INTS, "Wanted positions that did not decode."),
        _column("corrupt", _INTS, "Stored positions whose pixels damage may have touched."),
        _column("timestamps", _TEXT, "container, or repaired or counted where it lacks some."),
        _column("decoder", _TEXT, "Decoder that ran."),
        _column("device", _TEXT, "Where it ran: cpu, or a GPU by name."),
        _column("choice", _TEXT, "Why this decoder; empty if it was asked for by name."),
        _column("fallback", _TEXT, "Why the plan was given up for a linear decode."),
        _column("packets_fed", _INT, "Packets fed to the decoder."),
        _column("frames_decoded", _INT, "Frames that came out of it."),
        _column("bytes", _INT, "Bytes stored."),
        _column("seconds", _FLOAT, "Wall-clock seconds it took."),
    ]
)
"""One row per clip and signature: how the extraction came out."""

_MEASURES: Final = (
    _column("sharpness", _FLOAT, "Variance of the Laplacian of luma, in squared levels."),
    _column("exposure", _FLOAT, "Mean luma, 0 to 1."),
    _column("clipped_dark", _FLOAT, "Share of pixels too dark to hold detail, 0 to 1."),
    _column("clipped_bright", _FLOAT, "Share of pixels too bright to hold detail, 0 to 1."),
    _column("contrast", _FLOAT, "Standard deviation of luma, 0 to 0.5."),
    _column("colourfulness", _FLOAT, "Hasler and Suesstrunk's M3; 0 is grey."),
    _column("black_pixels", _FLOAT, "Share of pixels that count as black, 0 to 1."),
    _column("black", _BOOL, "Whether the frame counts as black."),
    _column("motion", _FLOAT, "Mean absolute difference to the previous frame, 0 to 1."),
    _column("duplicate", _BOOL, "Whether the frame repeats the previous one."),
    _column("aesthetic", _FLOAT, "What a model thinks of it; null: none was asked.", nullable=True),
)

QUALITY: Final = pa.schema([*_FRAME, *_MEASURES])
"""One row per frame: what was measured of its pixels."""

CAPTIONS: Final = pa.schema(
    [
        *_CLIP,
        _column("model", _TEXT, "Model that answered, or was asked where none did."),
        _column("prompt_sha256", _TEXT, "SHA-256 of the prompt."),
        _column("text", _TEXT, "The caption; empty if there is none."),
        _column("finish_reason", _TEXT, "Why the model stopped; length: the text is cut off."),
        _column("prompt_tokens", _INT, "Tokens of the question.", nullable=True),
        _column("completion_tokens", _INT, "Tokens of the answer.", nullable=True),
        _STATUS,
        _REASON,
        _DETAIL,
    ]
)
"""One row per clip: what a model said about it, or why it said nothing."""


_TEXTS: Final = pa.list_(pa.field("element", _TEXT, nullable=False))

CATALOG: Final = pa.schema(
    [
        _BATCH,
        _CLIP_ID,
        _VIDEO_KEY,
        _column("uri", _TEXT, "Where the video is."),
        _FINGERPRINT,
        _column("start_seconds", _FLOAT, "Start on the video's clock.", nullable=True),
        _column("duration_seconds", _FLOAT, "Length.", nullable=True),
        _column("width", _INT, "Pixels, as the stream is coded.", nullable=True),
        _column("height", _INT, "Pixels, as the stream is coded.", nullable=True),
        _column("codec", _TEXT, "Name of the codec.", nullable=True),
        _STATUS,
        _REASON,
        _DETAIL,
        _column("names", _TEXTS, "Names of the signatures; the lists that follow go with them."),
        _column("signatures", _TEXTS, "Keys of the signatures."),
        _column("frame_statuses", _TEXTS, "How the frames came out."),
        _column("frame_counts", _INTS, "Frames stored."),
        _column("frame_paths", _TEXTS, "Zarr groups, relative to the root; empty where none is."),
        _column("suspect", _TEXTS, "Names of the signatures with suspect frames."),
        _column("embedding_names", _TEXTS, "Names of the embeddings; these lists go with them."),
        _column("embedding_counts", _INTS, "Vectors of the clip's frames."),
        _column("embedding_paths", _TEXTS, "Parquet files that have them, relative to the root."),
        _column("sharpness", _FLOAT, "Mean over the clip's frames.", nullable=True),
        _column("exposure", _FLOAT, "Mean over the clip's frames.", nullable=True),
        _column("colourfulness", _FLOAT, "Mean over the clip's frames.", nullable=True),
        _column("motion", _FLOAT, "Mean over the clip's frames.", nullable=True),
        _column("black_share", _FLOAT, "Share of frames that count as black.", nullable=True),
        _column("duplicate_share", _FLOAT, "Share that repeats the one before.", nullable=True),
        _column("aesthetic", _FLOAT, "Mean over the clip's frames.", nullable=True),
        _column(
            "keep", _BOOL, "Whether nothing speaks against it; null if not measured.", nullable=True
        ),
        _column("score", _FLOAT, "Share of the rules of selection that it meets.", nullable=True),
        _column("drop_reasons", _TEXTS, "What speaks against it, with the numbers."),
        _column("caption", _TEXT, "What the first model says about it; empty if it says nothing."),
        _column("caption_names", _TEXTS, "Names of the captions; these lists go with them."),
        _column("captions", _TEXTS, "What each model says."),
        _column("caption_models", _TEXTS, "Which models."),
    ]
)
"""One row per clip of the batch: what is known of it, and where it is."""


NEAR_DUPLICATES: Final = pa.schema(
    [
        _BATCH,
        _CLIP_ID,
        _column("kept_batch", _TEXT, "Batch of the earlier clip that it is nearly the same as."),
        _column("kept_clip_id", _TEXT, "That clip, which is in this table under no other's name."),
        _column("similarity", _FLOAT, "Cosine of the two clips' vectors, 0 to 1."),
    ]
)
"""One row per clip that is nearly the same as a kept one before it, over all batches."""


def embeddings_schema(dimensions: int = -1) -> pa.Schema:
    """One row per frame: its vector of that length, or of any."""
    return pa.schema([*_FRAME, _vector(dimensions, "Vector of unit length.")])


def clip_embeddings_schema(dimensions: int = -1) -> pa.Schema:
    """One row per clip: the vectors of its frames in one of that length, or of any."""
    vector = _vector(dimensions, "Sum of the vectors of its frames, of unit length.")
    return pa.schema([*_CLIP, _column("pool", _TEXT, "How they became one: mean."), vector])


def _vector(dimensions: int, description: str) -> pa.Field:
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), dimensions)
    return _column("embedding", kind, description)


def _frame_columns(lineage: FrameRef, provider: Provider) -> dict[str, Any]:
    """What every table of frames has, as columns."""
    same = {
        "batch": lineage.batch,
        "clip_id": lineage.clip_id,
        "signature": lineage.signature,
        "time_base_num": lineage.time_base.numerator,
        "time_base_den": lineage.time_base.denominator,
        "frames_digest": lineage.frames_digest,
        "provider": provider.name,
        "provider_revision": provider.revision,
        "provider_parameters": provider_parameters(provider),
    }
    n = len(lineage.positions)
    columns = {name: [_storable(value)] * n for name, value in same.items()}
    return columns | {"position": lineage.positions, "pts": lineage.pts}


def _caption_columns(lineage: FrameRef, provider: CaptionProvider) -> dict[str, Any]:
    """A row of a clip without a caption."""
    return {
        "batch": lineage.batch,
        "clip_id": lineage.clip_id,
        "signature": lineage.signature,
        "positions": [],
        "pts": [],
        "time_base_num": lineage.time_base.numerator,
        "time_base_den": lineage.time_base.denominator,
        "frames_digest": lineage.frames_digest,
        "provider": provider.name,
        "provider_revision": provider.revision,
        "provider_parameters": provider_parameters(provider),
        "model": provider.model,
        "prompt_sha256": hashlib.sha256(provider.prompt.encode()).hexdigest(),
        "text": "",
        "finish_reason": "",
        "prompt_tokens": None,
        "completion_tokens": None,
        "status": "ok",
        "reason": "",
        "detail": "",
    }


def _storable(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _without_nulls_where_forbidden(rows: pa.Table) -> pa.Table:
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if column.null_count and not field.nullable:
            message = f"column {field.name!r} has {column.null_count} nulls; give every row a value"
            raise ConfigError(message)
    return rows


def _verified(rows: pa.Table) -> pa.Table:
    """The rows without the digest that they were stored with, if they still have it."""
    metadata = dict(rows.schema.metadata or {})
    metadata.pop(FOOTER_KEY, None)
    stored, found = metadata.pop(_DIGEST_KEY, b"none").decode(), table_digest(rows)
    if stored != found:
        message = f"its rows have digest {found}, and were stored with {stored}"
        raise ValueError(message)
    return rows.replace_schema_metadata(metadata)


def _key(table: str, batch: str, part: str) -> str:
    folder = f"{ROOT}/{_segment('table', table)}/{_segment('batch', batch)}"
    return f"{folder}/part-{_segment('part', part or WHOLE_PART)}.parquet"


def _segment(kind: str, name: str) -> str:
    """A name that can be a folder anywhere."""
    is_plain = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\")
    if not is_plain or not 1 <= len(name.encode()) <= _MAX_NAME:
        message = f"{kind} {name!r} cannot name a folder; use up to {_MAX_NAME} printable "
        raise ConfigError(message + "characters without slashes and without a dot in front")
    return name


def _type_name(kind: pa.DataType) -> str:
    """The type as far as values go: which of Arrow's layouts holds them is no matter."""
    if pa.types.is_dictionary(kind):
        return _type_name(kind.value_type)
    if _is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if _is_text(kind):
        return "string"
    return str(kind)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _canonical_bytes(array: pa.Array) -> Iterator[bytes]:
    """Which values are null, then the values; lists and text as lengths, then what is in them."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    yield np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if _is_list(array.type):
        yield _little_endian(pc.list_value_length(array).cast(pa.int64()))
        yield from _canonical_bytes(array.flatten())
    elif _is_text(array.type):
        yield _little_endian(pc.binary_length(array).cast(pa.int64()))
        yield "".join(text for text in array.to_pylist() if text is not None).encode()
    else:
        yield _little_endian(array)


def _little_endian(array: pa.Array) -> bytes:
    """Numbers as bytes, nulls as zeros; every NaN and every zero alike."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        message = f"a table column of type {kind} has no digest; use numbers, text or lists of them"
        raise ConfigError(message)
    values = array.fill_null(0).to_numpy(zero_copy_only=False).copy()
    if np.issubdtype(values.dtype, np.floating):
        values[np.isnan(values)] = np.nan
        values[values == 0] = 0
    return bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
