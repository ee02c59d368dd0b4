"""Compare a batch with earlier ones: failures, and speed of decoding."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_defs.metadata import DECODED_PER_SECOND, FAILED_SHARE

MAX_BATCHES = 50
"""Maximum number of materializations to read, the latest first."""
ENOUGH = 5
"""Least number of other batches for a comparison."""
MORE_FAILURES = 0.1
"""Increase of the share of failed clips over the median of other batches that counts as drift."""
SLOWER = 0.5
"""Fraction of the median speed of other batches below which a speed counts as drift."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Numbers of a batch and of others, with the anomalies."""

    batches: int
    """Number of other batches compared."""
    failed_share: float
    """Share of failed clips."""
    usual_failed_share: float | None
    """Median of the other batches; `None` if there are too few."""
    decoded_per_second: float | None
    """Frames decoded per second; `None` if its last run decoded too few."""
    usual_decoded_per_second: float | None
    """Median of the other batches; `None` if there are too few."""

    @property
    def found(self) -> list[str]:
        """Describe the anomalies; empty without one."""
        found = []
        usual = self.usual_failed_share
        if usual is not None and self.failed_share > usual + MORE_FAILURES:
            found.append(f"{self.failed_share:.0%} of the clips failed, not {usual:.0%}")
        usual, rate = self.usual_decoded_per_second, self.decoded_per_second
        if usual is not None and rate is not None and rate < SLOWER * usual:
            found.append(f"{rate:.0f} frames decoded per second, not {usual:.0f}")
        return found

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """Return the known numbers, and the anomalies."""
        numbers = {
            FAILED_SHARE: self.failed_share,
            f"usual_{FAILED_SHARE}": self.usual_failed_share,
            DECODED_PER_SECOND: self.decoded_per_second,
            f"usual_{DECODED_PER_SECOND}": self.usual_decoded_per_second,
        }
        metadata: dict[str, dg.MetadataValue] = {
            name: dg.MetadataValue.float(number)
            for name, number in numbers.items()
            if number is not None
        }
        metadata["batches_compared"] = dg.MetadataValue.int(self.batches)
        if self.found:
            metadata["found"] = dg.MetadataValue.text("; ".join(self.found))
        return metadata


def find_drift(instance: dg.DagsterInstance, asset: dg.AssetKey, batch: str) -> Drift:
    """Compare the latest materialization of a batch with the latest ones of others."""
    records = instance.fetch_materializations(asset, limit=MAX_BATCHES).records
    metadata: dict[str, dict[str, float]] = {}
    for record in records:
        partition = record.partition_key or ""
        materialization = record.asset_materialization
        if partition not in metadata and materialization is not None:
            metadata[partition] = {
                name: float(entry.value)
                for name, entry in materialization.metadata.items()
                if name in (FAILED_SHARE, DECODED_PER_SECOND)
                and isinstance(entry.value, int | float)
            }
    here = metadata.pop(batch, {})
    others = list(metadata.values())
    return Drift(
        batches=len(others),
        failed_share=here.get(FAILED_SHARE, 0.0),
        usual_failed_share=_median(others, FAILED_SHARE),
        decoded_per_second=here.get(DECODED_PER_SECOND),
        usual_decoded_per_second=_median(others, DECODED_PER_SECOND),
    )


def _median(batches: Sequence[dict[str, float]], name: str) -> float | None:
    numbers = [batch[name] for batch in batches if name in batch]
    return statistics.median(numbers) if len(numbers) >= ENOUGH else None
