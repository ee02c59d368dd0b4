"""The rule by which found videos become batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frames_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from frames_pipeline.sources.videos import Video


@dataclass(frozen=True, slots=True)
class Batching:
    """When found videos become a batch."""

    batch_size: int = 32
    """Videos in a full batch, which is sealed at once."""
    min_batch_size: int = 1
    """Videos below which nothing is sealed, however long they wait."""
    max_wait_s: float = 60.0
    """Seconds after its last change at which the newest of a batch that is not full has waited
    long enough: until then more may come, and it may still be being written. A time that lies more
    than an hour ahead counts for nothing: see `Video.last_change`."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be met."""
        if not 1 <= self.min_batch_size <= self.batch_size:
            message = f"min_batch_size={self.min_batch_size} must be between 1 and batch_size="
            raise ConfigError(f"{message}{self.batch_size}")
        if self.max_wait_s < 0:
            message = f"max_wait_s={self.max_wait_s} must not be below zero"
            raise ConfigError(message)

    def groups(self, waiting: Sequence[Video], *, now: float) -> list[tuple[str, ...]]:
        """Keys of the videos that make up each batch to seal now.

        Args:
            waiting: Videos that are in no batch.
            now: Seconds since the epoch.
        """
        settled = sorted((video for video in waiting), key=lambda video: video.key)
        chunks = [
            settled[start : start + self.batch_size]
            for start in range(0, len(settled), self.batch_size)
        ]
        return [tuple(video.key for video in chunk) for chunk in chunks if self._is_due(chunk, now)]

    def _is_due(self, videos: Sequence[Video], now: float) -> bool:
        if len(videos) == self.batch_size:
            return True
        newest = max(video.last_change(now) for video in videos)
        return len(videos) >= self.min_batch_size and now - newest >= self.max_wait_s
