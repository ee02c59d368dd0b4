"""Scheduled backfill: at a cron tick, what is missing or failed is made, and nothing else."""

import functools
import operator
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster import AutomationCondition, AutomationContext, AutomationResult

from dagster_defs.names import Names

Condition = AutomationCondition[Any]

SCHEDULED_BACKFILL = "scheduled_backfill"
FIND_NEAR_DUPLICATES = "find_near_duplicates"


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


def due(assets: Sequence[dg.AssetKey], *, stale: bool) -> Condition:
    """Partitions of which any asset is missing, failed, failed a blocking check, or is stale.

    The answer is the same for each asset: a batch is done again from its videos on, for the cause
    may lie there, and whatever is done already costs a look.
    """
    failed = AutomationCondition.any_checks_match(
        AutomationCondition.check_failed(), blocking_only=True
    )
    wanting: Condition = (
        AutomationCondition.missing() | AutomationCondition.execution_failed() | failed
    )
    if stale:
        sources = AutomationCondition.any_deps_updated()
        changed = AutomationCondition.code_version_changed() | sources
        wanting = wanting | changed.since(AutomationCondition.newly_updated())
    busy = AutomationCondition.in_progress()
    return _any_of(assets, wanting) & ~_any_of(assets, busy)


def _any_of(assets: Sequence[dg.AssetKey], condition: Condition) -> Condition:
    """Partitions for which a condition holds of any of these assets."""
    matches: list[Condition] = [AutomationCondition.asset_matches(key, condition) for key in assets]
    return functools.reduce(operator.or_, matches)


def build_backfill_sensor(
    names: Names,
    assets: Sequence[dg.AssetKey],
    *,
    cron: str,
    max_partitions: int,
    stale: bool,
    run_tags: Mapping[str, Any] | None = None,
) -> dg.AutomationConditionSensorDefinition:
    """The sensor that starts one backfill per cron tick.

    Args:
        names: What it is called.
        assets: What is made.
        cron: When, in UTC.
        max_partitions: The most partitions per tick; the rest waits for the next.
        stale: Whether partitions whose sources or code changed are made again, too.
        run_tags: Of its runs.
    """
    condition = (
        AutomationCondition.cron_tick_passed(cron)
        & due(assets, stale=stale)
        & at_most(max_partitions)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # one condition for all assets
        return dg.AutomationConditionSensorDefinition(
            names.of(SCHEDULED_BACKFILL),
            target=dg.AssetSelection.assets(*assets).without_checks(),  # they come along
            default_condition=condition.with_label(f"missing or failed, at {cron}"),
            use_user_code_server=True,
            run_tags=run_tags,
            description=f"At {cron} (UTC): one backfill of every missing or failed partition, "
            f"at most {max_partitions}{', stale ones included' if stale else ''}.",
        )


def build_duplicates_schedule(names: Names, *, cron: str) -> dg.ScheduleDefinition:
    """The schedule that compares the clips of all batches at every cron tick, in UTC."""
    return dg.ScheduleDefinition(
        name=names.of(FIND_NEAR_DUPLICATES),
        target=dg.AssetSelection.assets(names.near_duplicates),
        cron_schedule=cron,
        execution_timezone="UTC",
        description=f"At {cron} (UTC): which clips are nearly the same, over all batches.",
    )
