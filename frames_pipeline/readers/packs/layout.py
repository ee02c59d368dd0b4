"""The names, formats and index of a pack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from frames_pipeline.frames import PictureFormat
from frames_pipeline.io.objects import ObjectInfo
from frames_pipeline.store.source_format import format_from

Listing = Mapping[str, ObjectInfo]
"""Objects by key."""
PACK: Final = "pack.json"
PACK_FORMAT: Final = "frames-pack/1"
PART_FORMAT: Final = "frames-pack-part/1"
FRAMES: Final = "frames"
INDEX_FILE: Final = "index.parquet"
PART_FILE: Final = "part.json"


def _field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


INDEX: Final = pa.schema(
    [
        _field("clip_id", pa.string()),
        _field("start", pa.int64()),
        _field("stop", pa.int64()),
        _field("batch", pa.string()),
        _field("video_key", pa.string()),
        _field("fingerprint", pa.string()),
        _field("commit", pa.string()),
        _field("frames_digest", pa.string()),
        _field("time_base_num", pa.int64()),
        _field("time_base_den", pa.int64()),
        _field("pts", pa.list_(pa.int64())),
        _field("positions", pa.list_(pa.int64())),
        _field("key_frame", pa.list_(pa.bool_())),
        _field("corrupt", pa.list_(pa.bool_())),
        _field("outcome", pa.string()),
        pa.field("source_format", pa.string()),
    ]
)
"""A row per clip: frames [start, stop) of the part's array; `commit` is the attempt in the store
that they were copied from, `frames_digest` is `FrameBatch.digest()`, `outcome` and `source_format`
are JSON. Packs of version 0.1 have no `source_format`."""


def format_of_row(row: Mapping[str, Any]) -> PictureFormat | None:
    """Return the format of the source of a clip; `None` if it was not recorded."""
    document = row["source_format"]
    return None if document is None else format_from(json.loads(document))
