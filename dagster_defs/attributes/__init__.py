"""The attributes of a `defs.yaml`: a model for each part, which checks its values."""

from dagster_defs.attributes.batching import BatchingAttributes
from dagster_defs.attributes.clipping import ByShots, Stride, Whole
from dagster_defs.attributes.component import ComponentAttributes, check_together
from dagster_defs.attributes.decoding import Decoding
from dagster_defs.attributes.derived import Definition, NearDuplicates
from dagster_defs.attributes.schedules import Backfill, Freshness, GarbageCollection
from dagster_defs.attributes.signatures import PRESETS, Signature

__all__ = [
    "PRESETS",
    "Backfill",
    "BatchingAttributes",
    "ByShots",
    "ComponentAttributes",
    "Decoding",
    "Definition",
    "Freshness",
    "GarbageCollection",
    "NearDuplicates",
    "Signature",
    "Stride",
    "Whole",
    "check_together",
]
