"""Contact sheets and timelines as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frames_pipeline._lazy import lazy_names

if TYPE_CHECKING:
    from frames_pipeline.pictures.contact_sheet import as_markdown

__all__ = ["as_markdown"]

__getattr__ = lazy_names(__name__, {"contact_sheet": ("as_markdown",)})
