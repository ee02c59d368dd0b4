"""Attributes of a `defs.yaml`: sealing videos into batches."""

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline.sources.batching import Batching


class BatchingAttributes(dg.Model, dg.Resolvable):
    """Rules that seal found videos into batches."""

    batch_size: int = Field(
        default=32, description="Videos in a full batch. A full batch is sealed at once."
    )
    min_batch_size: int = Field(
        default=1, description="Fewest videos in a batch. Fewer than this keep waiting."
    )
    max_wait_s: float = Field(
        default=60,
        description="Seal a smaller batch when its newest file has been unchanged for this many "
        "seconds.",
    )
    interval_s: int = Field(default=30, description="Minimum seconds between two sensor ticks.")
    max_batches: int = Field(
        default=100, ge=1, description="Maximum number of batches that a tick seals and starts."
    )
    look_at: int = Field(
        default=200,
        ge=0,
        description="Sealed batches that each tick checks for changed files, in turn.",
    )

    def batching(self) -> Batching:
        """Return the library's rule."""
        return Batching(self.batch_size, self.min_batch_size, self.max_wait_s)

    @model_validator(mode="after")
    def _check(self) -> "BatchingAttributes":
        self.batching()
        return self
