"""A Lance dataset with the encoded pixels of each frame in its row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Final

import pyarrow as pa

from frames_pipeline.clips import Progress
from frames_pipeline.errors import ConfigError
from frames_pipeline.export.base import ExportFormat, check_encoding, conflict
from frames_pipeline.export.encoding import Encoding
from frames_pipeline.export.rows import pixel_rows, pixel_schema
from frames_pipeline.readers.stored_frames import StoredFrames


def export_lance(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    storage_options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the rows of `export_parquet` as a Lance dataset; its last write makes it visible.

    Lance names its files at random: rows and their order are the same each time, files are not.

    Args:
        frames: Clips, from `open_frames`.
        to: A path or URL as Lance takes it, without a dataset.
        encoding: How to encode pixels.
        storage_options: Lance's own options of the target; it does not use fsspec.
        progress: Called with the number of clips done.

    Returns:
        The number of rows.

    Raises:
        ConfigError: Lance is not installed, or the encoding does not hold the signature's samples.
        ConflictError: The target has a dataset already.
        IntegrityError: An object of the store differs from its commit. No dataset is made.
    """
    check_encoding(frames, encoding)
    lance = _import_lance()
    tables = pixel_rows(frames, encoding, progress)
    batches = (batch for table in tables for batch in table.to_batches())
    options = None if storage_options is None else dict(storage_options)
    if _has_dataset(lance, os.fspath(to), options):
        raise conflict(os.fspath(to), "a Lance dataset is")
    dataset = lance.write_dataset(
        pa.RecordBatchReader.from_batches(pixel_schema(frames), batches),
        os.fspath(to),
        mode="create",
        storage_options=options,
    )
    return int(dataset.count_rows())


def _import_lance() -> ModuleType:
    try:
        import lance
    except ImportError as error:
        message = "Lance is not installed; install frames-pipeline[lance]"
        raise ConfigError(message) from error
    module: ModuleType = lance
    return module


def _has_dataset(lance: ModuleType, url: str, options: dict[str, str] | None) -> bool:
    try:
        lance.dataset(url, storage_options=options)
    except ValueError:  # Lance's error for a missing dataset
        return False
    return True


LANCE: Final = ExportFormat(
    "lance", "a Lance dataset of rows with pixels", export_lance, has_manifest=False
)
