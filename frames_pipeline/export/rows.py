"""Rows of frames with their encoded pixels, as Parquet and Lance hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from frames_pipeline.clips import Progress
from frames_pipeline.export.base import read_clips
from frames_pipeline.export.encoding import Encoding
from frames_pipeline.readers.stored_frames import FRAME_COLUMNS, StoredFrames

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
bytes of RGB. Frames that are not `rgb8` have a further column, `samples`."""

SAMPLES: Final = pa.field("samples", pa.string(), nullable=False)
"""Channels and bits of a pixel, where they are not `rgb8`: `rgb16`, `gray8` or `gray16`. `raw` is
(height, width, channels) samples of that type, little-endian."""


def pixel_schema(frames: StoredFrames) -> pa.Schema:
    """Return the columns of frames with their pixels: `PIXELS`, and `samples` if not `rgb8`."""
    return PIXELS if frames.samples == "rgb8" else PIXELS.append(SAMPLES)


def pixel_rows(
    frames: StoredFrames, encoding: Encoding, progress: Progress | None
) -> Iterator[pa.Table]:
    """Yield a table per clip, with the columns of `pixel_schema`."""
    schema = pixel_schema(frames)
    for clip_id, batch in read_clips(frames, progress, encoding=encoding):
        n, height, width, _ = batch.shape
        columns = dict(
            zip(FRAME_COLUMNS.names, frames.lineage(clip_id, batch).columns, strict=True)
        )
        pixels = {
            "height": [height] * n,
            "width": [width] * n,
            "format": [encoding.format] * n,
            "image": list(encoding.encode_batch(batch)),
            SAMPLES.name: [batch.samples] * n,  # left out of rgb8 by the schema
        }
        yield pa.Table.from_pydict(columns | pixels, schema=schema)


def parquet_file(tables: list[pa.Table], schema: pa.Schema) -> bytes:
    """Return a Parquet file with a row group per table."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    data: bytes = sink.getvalue().to_pybytes()
    return data
