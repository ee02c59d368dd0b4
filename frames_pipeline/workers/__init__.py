"""Worker processes for the videos of a batch: local and killable, or on a Ray cluster."""

from __future__ import annotations

from frames_pipeline.workers.local import Workers

__all__ = ["Workers"]
