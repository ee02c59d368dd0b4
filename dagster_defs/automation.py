"""Scheduled backfill: at a cron tick, what is missing or failed is made, and nothing else."""

import warnings
from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster import AutomationCondition, AutomationContext, AutomationResult

Condition = AutomationCondition[Any]

SCHEDULED_BACKFILL = "scheduled_backfill"


def at_most(count: int) -> Condition:
    """The first so many of the partitions that are due, in the order of their keys."""

    class AtMost(AutomationCondition[dg.AssetKey]):
        @property
        def name(self) -> str:
            return f"at most {count} partitions"

        def evaluate(
            self, context: AutomationContext[dg.AssetKey]
        ) -> AutomationResult[dg.AssetKey]:
            found = context.candidate_subset.expensively_compute_asset_partitions()
            first = sorted(found, key=lambda one: one.partition_key or "")[:count]
            view = context.asset_graph_view
            return AutomationResult(
                context, view.get_asset_subset_from_asset_partitions(context.key, set(first))
            )

    return AtMost()


def due(*, stale: bool) -> Condition:
    """What a tick is to make: partitions that are missing or failed, and perhaps the stale ones."""
    wanting: Condition = AutomationCondition.missing() | AutomationCondition.execution_failed()
    if stale:
        code, sources = (
            AutomationCondition.code_version_changed(),
            AutomationCondition.any_deps_updated(),
        )
        wanting = wanting | (code | sources).since(AutomationCondition.newly_updated())
    return wanting & ~AutomationCondition.in_progress()


def build_backfill_sensor(
    assets: Iterable[dg.AssetKey], *, cron: str, max_partitions: int, stale: bool
) -> dg.AutomationConditionSensorDefinition:
    """The sensor that starts one backfill per cron tick.

    Args:
        assets: What is made.
        cron: When, in UTC.
        max_partitions: The most partitions of an asset per tick; the rest waits for the next.
        stale: Whether partitions whose sources or code changed are made again, too.
    """
    condition = (
        AutomationCondition.cron_tick_passed(cron) & due(stale=stale) & at_most(max_partitions)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # one condition for all assets
        return dg.AutomationConditionSensorDefinition(
            SCHEDULED_BACKFILL,
            target=dg.AssetSelection.assets(*assets),
            default_condition=condition.with_label(f"missing or failed, at {cron}"),
            use_user_code_server=True,
            description=f"At {cron} (UTC): one backfill of every missing or failed partition, "
            f"at most {max_partitions}{', stale ones included' if stale else ''}.",
        )
