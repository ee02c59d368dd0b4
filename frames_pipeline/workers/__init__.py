"""Worker processes for the videos of a batch: local and killable, or on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frames_pipeline._lazy import lazy_names

if TYPE_CHECKING:
    from frames_pipeline.workers.local import Workers

__all__ = ["Workers"]

__getattr__ = lazy_names(__name__, {"local": ("Workers",)})
