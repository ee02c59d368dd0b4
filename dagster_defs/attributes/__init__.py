"""What a `defs.yaml` may say: a model for each part, which checks its values."""

from dagster_defs.attributes.batching import BatchingAttributes
from dagster_defs.attributes.clipping import ByShots, Stride, Whole
from dagster_defs.attributes.component import ComponentAttributes, check_together
from dagster_defs.attributes.decoding import Decoding
from dagster_defs.attributes.models import Captioning, Embedding, Model, NearDuplicates
from dagster_defs.attributes.schedules import Backfill, Freshness, GarbageCollection
from dagster_defs.attributes.signatures import PRESETS, Signature

__all__ = [
    "PRESETS",
    "Backfill",
    "BatchingAttributes",
    "ByShots",
    "Captioning",
    "ComponentAttributes",
    "Decoding",
    "Embedding",
    "Freshness",
    "GarbageCollection",
    "Model",
    "NearDuplicates",
    "Signature",
    "Stride",
    "Whole",
    "check_together",
]
