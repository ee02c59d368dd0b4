"""One clip per video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from frames_pipeline.clipping.base import clip_between, extent
from frames_pipeline.clips import Clip

if TYPE_CHECKING:
    from frames_pipeline.container.media import Media


@dataclass(frozen=True, slots=True)
class WholeVideo:
    """One clip: the whole video."""

    def check(self) -> None:
        """Do nothing: this clipping needs no library."""

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        start, stop = extent(index)
        return (clip_between(index, video_key, start, stop),)
