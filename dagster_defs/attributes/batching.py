"""How found videos become batches, as a `defs.yaml` says it."""

import dagster as dg
from pydantic import Field, model_validator

from frames_pipeline.sources.batching import Batching


class BatchingAttributes(dg.Model, dg.Resolvable):
    """When found videos become a batch."""

    batch_size: int = Field(default=32, description="Videos in a full batch.")
    min_batch_size: int = Field(default=1, description="Videos below which nothing is sealed.")
    max_wait_s: float = Field(
        default=60, description="Seconds without change after which a smaller batch is sealed."
    )
    interval_s: int = Field(default=30, description="Seconds between two looks at the source.")
    max_batches: int = Field(
        default=100, ge=1, description="Batches per look that are sealed and started."
    )
    look_at: int = Field(
        default=200,
        ge=0,
        description="Sealed batches per look that are checked for files that changed, in turn.",
    )

    def batching(self) -> Batching:
        """The library's rule."""
        return Batching(self.batch_size, self.min_batch_size, self.max_wait_s)

    @model_validator(mode="after")
    def _check(self) -> "BatchingAttributes":
        self.batching()
        return self
