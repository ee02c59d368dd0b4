"""Parquet files with the encoded pixels of each frame in its row.

{to}/frames-000000.parquet …
{to}/manifest.json             written last
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from frames_pipeline.clips import Progress
from frames_pipeline.export.base import Export, ExportFormat, ExportTarget, check_encoding
from frames_pipeline.export.encoding import Encoding
from frames_pipeline.export.rows import parquet_file, pixel_rows, pixel_schema
from frames_pipeline.readers.stored_frames import StoredFrames


def export_parquet(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    file_bytes: int = 256 * 2**20,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a row per frame: `stored_frames.FRAME_COLUMNS`, size, format, and `image`.

    A clip is a row group.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty target: a path or an fsspec URL.
        encoding: How to encode pixels.
        file_bytes: Start another file after this many bytes; a file is held in memory.
        storage_options: fsspec options of the target.
        progress: Called with the number of clips done.

    Raises:
        ConfigError: The encoding does not hold the signature's samples.
        ConflictError: The target has objects already.
        IntegrityError: An object of the store differs from its commit. The export gets no manifest.
    """
    check_encoding(frames, encoding)
    target = ExportTarget.empty(to, storage_options)
    schema = pixel_schema(frames)
    held: list[pa.Table] = []
    number = 0
    for rows in pixel_rows(frames, encoding, progress):
        if held and sum(table.nbytes for table in held) >= file_bytes:
            target.put(f"frames-{number:06d}.parquet", parquet_file(held, schema))
            held, number = [], number + 1
        held.append(rows)
    target.put(f"frames-{number:06d}.parquet", parquet_file(held, schema))
    return target.finish(frames, {"kind": "parquet"}, encoding)


PARQUET: Final = ExportFormat("parquet", "Parquet files of rows with pixels", export_parquet)
