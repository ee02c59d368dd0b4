"""Rules for sealing found videos into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frames_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from frames_pipeline.sources.videos import Video


@dataclass(frozen=True, slots=True)
class Batching:
    """Rules for sealing new videos into batches."""

    batch_size: int = 32
    """Videos in a full batch. A full batch is sealed at once."""
    min_batch_size: int = 1
    """Smallest batch to seal, even after a long wait."""
    max_wait_s: float = 60.0
    """Seconds since the newest change after which a batch is sealed although it is not full. Until
    then more videos may come, and the newest may still be being written. Times more than an hour in
    the future are ignored: see `Video.last_change`."""

    def __post_init__(self) -> None:
        """Check the sizes and the time."""
        if not 1 <= self.min_batch_size <= self.batch_size:
            message = f"min_batch_size={self.min_batch_size} must be between 1 and batch_size="
            raise ConfigError(f"{message}{self.batch_size}")
        if self.max_wait_s < 0:
            message = f"max_wait_s={self.max_wait_s} must not be below zero"
            raise ConfigError(message)

    def groups(self, waiting: Sequence[Video], *, now: float) -> list[tuple[str, ...]]:
        """Return the video keys of each batch to seal now.

        Args:
            waiting: Videos that are in no batch yet.
            now: Seconds since the epoch.
        """
        by_key = sorted(waiting, key=lambda video: video.key)
        chunks = [
            by_key[start : start + self.batch_size]
            for start in range(0, len(by_key), self.batch_size)
        ]
        return [tuple(video.key for video in chunk) for chunk in chunks if self._is_due(chunk, now)]

    def _is_due(self, videos: Sequence[Video], now: float) -> bool:
        if len(videos) == self.batch_size:
            return True
        newest = max(video.last_change(now) for video in videos)
        return len(videos) >= self.min_batch_size and now - newest >= self.max_wait_s
