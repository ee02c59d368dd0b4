"""Copies of stored frames in other formats: WebDataset, picture folders, Parquet, Lance.

A format is a module here and an entry in `FORMATS`; the command line and the tests read that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frames_pipeline.clips import Progress
from frames_pipeline.export.base import (
    EXPORT_FORMAT,
    MANIFEST,
    Export,
    Exporter,
    ExportFormat,
)
from frames_pipeline.export.encoding import Encoding, Format
from frames_pipeline.export.images import IMAGES, export_images
from frames_pipeline.export.lance import LANCE, export_lance
from frames_pipeline.export.nemo_curator import seed_frames
from frames_pipeline.export.parquet import PARQUET, export_parquet
from frames_pipeline.export.rows import PIXELS
from frames_pipeline.export.webdataset import WEBDATASET, export_webdataset

__all__ = [
    "EXPORT_FORMAT",
    "FORMATS",
    "MANIFEST",
    "PIXELS",
    "Encoding",
    "Export",
    "ExportFormat",
    "Exporter",
    "Format",
    "Progress",
    "export_images",
    "export_lance",
    "export_parquet",
    "export_webdataset",
    "seed_frames",
]

FORMATS: Final[Mapping[str, ExportFormat]] = {
    one.name: one for one in (WEBDATASET, IMAGES, PARQUET, LANCE)
}
"""Formats by the name users choose them by."""
