"""Copies of stored frames in the formats of others: WebDataset, image folders, Parquet, Lance.

    {to}/shard-000000.tar …      WebDataset: pixels and one JSON document per sample
    {to}/images/…, frames.parquet    a folder of pictures, and a row for each
    {to}/frames-000000.parquet …     rows with the encoded pixels in them
    {to}/manifest.json           written last: what it is of, and every file with size and hash

An export without its manifest is not whole. The same frames, asked for in the same way of the same
library versions, give the same bytes. Nothing is written over: the place must be empty.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError, ConflictError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.readers.stored_frames import FRAME_COLUMNS, StoredFrames
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.layout import clip_key

Progress = Callable[[int, int], None]
"""Called with the number of clips done and of all."""

Format = Literal["jpeg", "png", "raw"]

MANIFEST: Final = "manifest.json"
EXPORT_FORMAT: Final = "frames-export/1"

_SUFFIX: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png"}
_CHROMA: Final[Mapping[str, int]] = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
"""Pillow's numbers of them."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels are written.

    >>> Encoding("png").is_exact, Encoding("jpeg", quality=90).is_exact
    (True, False)
    """

    format: Format
    """`jpeg` loses; `png` and `raw`, the bytes of (height, width, 3), are exact."""
    quality: int | None = None
    """Of JPEG, 1 to 95. It must be given there, and has no meaning elsewhere."""
    chroma: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"
    """How JPEG samples colour."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.format not in get_args(Format):
            message = f"no format {self.format!r}; choose one of {', '.join(get_args(Format))}"
            raise ConfigError(message)
        if self.chroma not in _CHROMA:
            message = f"no chroma {self.chroma!r}; choose one of {', '.join(_CHROMA)}"
            raise ConfigError(message)
        is_number = isinstance(self.quality, int) and 1 <= self.quality <= 95
        if self.format == "jpeg" and not is_number:
            message = f"quality={self.quality!r} of JPEG must be a whole number from 1 to 95"
            raise ConfigError(message)
        if self.format != "jpeg" and self.quality is not None:
            message = f"quality={self.quality} has no meaning for {self.format}, which is exact"
            raise ConfigError(message + "; leave it out")

    @property
    def is_exact(self) -> bool:
        """Whether the pixels come back as they are."""
        return self.format != "jpeg"

    @property
    def suffix(self) -> str:
        """Of file names, without the dot.

        Raises:
            ConfigError: Raw bytes are no file that others read.
        """
        if self.format == "raw":
            message = "raw pixels are no picture file; choose jpeg or png, or export to Parquet"
            raise ConfigError(message)
        return _SUFFIX[self.format]

    def encode(self, pixels: NDArray[np.uint8]) -> bytes:
        """A frame of shape (height, width, 3), encoded."""
        if self.format == "raw":
            return pixels.tobytes()
        sink = io.BytesIO()
        if self.format == "png":
            Image.fromarray(pixels).save(sink, "png", compress_level=1)
        else:
            sampling = _CHROMA[self.chroma]
            Image.fromarray(pixels).save(sink, "jpeg", quality=self.quality, subsampling=sampling)
        return sink.getvalue()

    def to_document(self) -> Mapping[str, Any]:
        """What a manifest says of it."""
        if self.format != "jpeg":
            return {"format": self.format}
        return {"format": "jpeg", "quality": self.quality, "chroma": self.chroma}


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported."""

    url: str
    """Where it is."""
    clips: int
    """Number of clips."""
    frames: int
    """Number of frames."""
    files: Mapping[str, tuple[int, str]] = field(repr=False)
    """Size and SHA-256 of every file but the manifest, by key relative to `url`."""

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(size for size, _ in self.files.values())


def export_webdataset(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    sample: Literal["frame", "clip"] = "frame",
    shard_bytes: int = 256 * 2**20,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Tar shards for WebDataset.

    A sample of a frame has `jpg` or `png`, and `json` with its lineage. A sample of a clip has
    `000000.jpg`, `000001.jpg` and so on, and `json` with a list of those. The key of a sample is
    batch, clip and, of a frame, its number among those stored.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty place: a path or an fsspec URL.
        encoding: How pixels are written.
        sample: What a sample is.
        shard_bytes: Bytes after which no sample is added to a shard; a shard is held in memory.
        storage_options: What fsspec needs to reach the place.
        progress: Told of clips done.

    Raises:
        ConflictError: Something is there already.
        IntegrityError: An object of the store is not the one committed. The export has no manifest.
    """
    suffix = encoding.suffix
    if sample not in ("frame", "clip"):
        message = f"no sample {sample!r}; choose one of frame, clip"
        raise ConfigError(message)
    place = _ExportTarget.empty(to, storage_options)
    shard = _Tar()
    number = 0

    def flush() -> None:
        nonlocal shard, number
        place.put(f"shard-{number:06d}.tar", shard.close())
        shard, number = _Tar(), number + 1

    for clip_id, batch in _clips(frames, progress):
        rows = frames.lineage(clip_id, batch).to_pylist()
        key = f"{rows[0]['batch']}/{clip_key(clip_id)}"
        pictures = [encoding.encode(pixels) for pixels in batch.frames]
        if sample == "clip":
            samples = [(key, rows, {f"{n:06d}.{suffix}": one for n, one in enumerate(pictures)})]
        else:
            samples = [
                (f"{key}-{n:06d}", row, {suffix: one})
                for n, (row, one) in enumerate(zip(rows, pictures, strict=True))
            ]
        for name, told, parts in samples:
            if shard.bytes >= shard_bytes:
                flush()
            for part, data in parts.items():
                shard.add(f"{name}.{part}", data)
            shard.add(f"{name}.json", _json(told))
    if shard.bytes:
        flush()
    return place.finish(frames, {"kind": "webdataset", "sample": sample}, encoding)


def export_images(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """A picture per frame at `images/{batch}/{clip}/{number}.jpg`, and `frames.parquet`.

    That has a row per picture: `file` and everything of `collection.FRAME_COLUMNS`.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty place: a path or an fsspec URL.
        encoding: How pixels are written.
        storage_options: What fsspec needs to reach the place.
        progress: Told of clips done.

    Raises:
        ConflictError: Something is there already.
        IntegrityError: An object of the store is not the one committed. The export has no manifest.
    """
    suffix = encoding.suffix
    place = _ExportTarget.empty(to, storage_options)
    file_column = pa.field("file", pa.string(), nullable=False)
    schema, tables = pa.schema([file_column, *FRAME_COLUMNS]), []
    for clip_id, batch in _clips(frames, progress):
        rows = frames.lineage(clip_id, batch)
        folder = f"images/{frames.locations[clip_id].batch}/{clip_key(clip_id)}"
        files = [f"{folder}/{number:06d}.{suffix}" for number in range(len(batch))]
        for file, pixels in zip(files, batch.frames, strict=True):
            place.put(file, encoding.encode(pixels))
        tables.append(rows.add_column(0, file_column, [files]))
    place.put("frames.parquet", _parquet(tables, schema))
    return place.finish(frames, {"kind": "images"}, encoding)


def export_parquet(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    file_bytes: int = 256 * 2**20,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Rows with pixels: everything of `collection.FRAME_COLUMNS`, size, format, and `image`.

    A clip is a row group.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty place: a path or an fsspec URL.
        encoding: How pixels are written.
        file_bytes: Bytes of pixels after which no clip is added to a file, which is held in memory.
        storage_options: What fsspec needs to reach the place.
        progress: Told of clips done.

    Raises:
        ConflictError: Something is there already.
        IntegrityError: An object of the store is not the one committed. The export has no manifest.
    """
    place = _ExportTarget.empty(to, storage_options)
    held: list[pa.Table] = []
    number = 0
    for rows in _pixel_rows(frames, encoding, progress):
        if held and sum(table.nbytes for table in held) >= file_bytes:
            place.put(f"frames-{number:06d}.parquet", _parquet(held, PIXELS))
            held, number = [], number + 1
        held.append(rows)
    place.put(f"frames-{number:06d}.parquet", _parquet(held, PIXELS))
    return place.finish(frames, {"kind": "parquet"}, encoding)


def export_lance(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    storage_options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> int:
    """The rows of `export_parquet` as a Lance dataset, which its own last write makes visible.

    Lance names its files at random: rows and their order are the same each time, files are not.

    Args:
        frames: Clips, from `open_frames`.
        to: A path or URL as Lance takes it, where nothing is.
        encoding: How pixels are written.
        storage_options: What Lance needs to reach the place; it does not use fsspec.
        progress: Told of clips done.

    Returns:
        The number of rows.

    Raises:
        ConfigError: There is no Lance.
        ConflictError: There is a dataset already.
        IntegrityError: An object of the store is not the one committed. There is no dataset.
    """
    try:
        import lance
    except ImportError as error:
        message = "there is no Lance; install frames-pipeline[lance]"
        raise ConfigError(message) from error
    tables = _pixel_rows(frames, encoding, progress)
    batches = (batch for table in tables for batch in table.to_batches())
    options = None if storage_options is None else dict(storage_options)
    try:
        lance.dataset(os.fspath(to), storage_options=options)
    except ValueError:  # there is none
        pass
    else:
        raise ConflictError(_taken(os.fspath(to), "a Lance dataset is"))
    dataset = lance.write_dataset(
        pa.RecordBatchReader.from_batches(PIXELS, batches),
        os.fspath(to),
        mode="create",
        storage_options=options,
    )
    return int(dataset.count_rows())


def seed_frames(
    frames: Mapping[FrameExtractionSignature, FrameBatch],
) -> dict[str, NDArray[np.uint8]]:
    """A clip's frames as NeMo Curator keeps them in `Clip.extracted_frames`.

    Args:
        frames: By signature, as `extract_frames` gives them or the store, one `read` each.

    Raises:
        ConfigError: Two signatures have one key there, which names policy and rate alone, or the
            policy is not known there.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    for signature, batch in frames.items():
        key = signature.seed_key()
        if key in found:
            message = f"two signatures are {key!r} to NeMo Curator; give it one, not {signature}"
            raise ConfigError(message)
        found[key] = batch.frames
    return found


PIXELS: Final = pa.schema(
    [
        *FRAME_COLUMNS,
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
    ]
)
"""A frame with its pixels. `image` is in `format`: a JPEG or PNG file, or `raw`: (height, width, 3)
bytes of RGB."""


def _pixel_rows(
    frames: StoredFrames, encoding: Encoding, progress: Progress | None
) -> Iterator[pa.Table]:
    for clip_id, batch in _clips(frames, progress):
        n, height, width, _ = batch.frames.shape
        columns = dict(
            zip(FRAME_COLUMNS.names, frames.lineage(clip_id, batch).columns, strict=True)
        )
        yield pa.Table.from_pydict(
            columns
            | {
                "height": [height] * n,
                "width": [width] * n,
                "format": [encoding.format] * n,
                "image": [encoding.encode(pixels) for pixels in batch.frames],
            },
            schema=PIXELS,
        )


def _clips(frames: StoredFrames, progress: Progress | None) -> Iterator[tuple[str, FrameBatch]]:
    """Every clip, read whole; the caller's work on one is over when it asks for the next."""
    for done, clip_id in enumerate(frames):
        yield clip_id, frames.read(clip_id)
        if progress is not None:
            progress(done + 1, len(frames))


@dataclass(frozen=True, slots=True)
class _ExportTarget:
    """Where an export goes, and what was put there so far."""

    objects: Objects
    files: dict[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def empty(
        cls, to: str | os.PathLike[str], storage_options: Mapping[str, Any] | None
    ) -> _ExportTarget:
        """A place in which nothing is.

        Files are not synced one by one: after a power failure, hashes tell what is missing.
        """
        objects = Objects(to, storage_options, durable=False)
        if there := objects.list():
            found = "an export is" if MANIFEST in there else f"{len(there)} objects are"
            raise ConflictError(_taken(objects.url, found))
        return cls(objects)

    def put(self, key: str, data: bytes) -> None:
        self.objects.put(key, data)
        self.files[key] = (len(data), hashlib.sha256(data).hexdigest())

    def finish(self, frames: StoredFrames, told: Mapping[str, Any], encoding: Encoding) -> Export:
        """Write the manifest, which says that the export is whole."""
        document = {
            "format": EXPORT_FORMAT,
            **told,
            "encoding": encoding.to_document(),
            "signature": frames.signature_document,
            "signature_key": frames.signature_key,
            "frames_digest": frames.digest,
            "clips": len(frames),
            "frames": frames.num_frames,
            "files": dict(sorted(self.files.items())),
        }
        self.objects.put(MANIFEST, _json(document))
        return Export(self.objects.url, len(frames), frames.num_frames, dict(self.files))


class _Tar:
    """A tar archive in memory whose bytes depend on names and contents alone."""

    def __init__(self) -> None:
        self._sink = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._sink, mode="w", format=tarfile.PAX_FORMAT)
        self.bytes = 0

    def add(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o444
        self._tar.addfile(info, io.BytesIO(data))
        self.bytes += len(data)

    def close(self) -> bytes:
        self._tar.close()
        return self._sink.getvalue()


def _parquet(tables: list[pa.Table], schema: pa.Schema) -> bytes:
    """A file with a row group per table."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def _taken(url: str, found: str) -> str:
    return f"{found} at {url} already; delete it, or export to another place"
