"""The job that does everything for a batch."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

PROCESS_BATCH = "process_batch"


def build_batch_job(assets: Iterable[dg.AssetKey]) -> "UnresolvedAssetJobDefinition":
    """Observe the videos of a batch, and make everything else from them."""
    return dg.define_asset_job(
        PROCESS_BATCH,
        selection=dg.AssetSelection.assets(*assets),
        description="Everything for one batch, from its videos to the catalog.",
    )
