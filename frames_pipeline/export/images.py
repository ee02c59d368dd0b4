"""A folder of pictures, and a Parquet table with a row for each.

{to}/images/{batch}/{clip}/000000.jpg …
{to}/frames.parquet    a row per picture
{to}/manifest.json     written last
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from frames_pipeline.clips import Progress
from frames_pipeline.export.base import (
    Export,
    ExportFormat,
    ExportTarget,
    check_encoding,
    read_clips,
)
from frames_pipeline.export.encoding import Encoding
from frames_pipeline.export.rows import parquet_file
from frames_pipeline.readers.stored_frames import FRAME_COLUMNS, StoredFrames
from frames_pipeline.store.layout import clip_key


def export_images(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a picture per frame at `images/{batch}/{clip}/{number}.jpg`, and `frames.parquet`.

    The table has a row per picture: `file` and the columns of `stored_frames.FRAME_COLUMNS`.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty target: a path or an fsspec URL.
        encoding: How to encode pixels.
        storage_options: fsspec options of the target.
        progress: Called with the number of clips done.

    Raises:
        ConfigError: The encoding does not hold the signature's samples.
        ConflictError: The target has objects already.
        IntegrityError: An object of the store differs from its commit. The export gets no manifest.
    """
    check_encoding(frames, encoding)
    suffix = encoding.suffix
    target = ExportTarget.empty(to, storage_options)
    file_column = pa.field("file", pa.string(), nullable=False)
    schema, tables = pa.schema([file_column, *FRAME_COLUMNS]), []
    for clip_id, batch in read_clips(frames, progress, encoding=encoding):
        rows = frames.lineage(clip_id, batch)
        folder = f"images/{frames.locations[clip_id].batch}/{clip_key(clip_id)}"
        files = [f"{folder}/{number:06d}.{suffix}" for number in range(len(batch))]
        for file, picture in zip(files, encoding.encode_batch(batch), strict=True):
            target.put(file, picture)
        tables.append(rows.add_column(0, file_column, [files]))
    target.put("frames.parquet", parquet_file(tables, schema))
    return target.finish(frames, {"kind": "images"}, encoding)


IMAGES: Final = ExportFormat(
    "images", "a picture per frame, and a table", export_images, pixels=("jpeg", "png")
)
