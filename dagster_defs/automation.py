"""Scheduled backfill of missing and failed partitions."""

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
    """Limit a condition to the first partitions that meet it, in the order of their keys."""

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
    """Return a condition for partitions with a missing, failed or stale asset.

    An asset that failed a blocking check counts as failed. The condition is the same for every
    asset: a batch runs again from its videos on, since the cause may be there. Finished work takes
    only a check.
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
    """Return a condition for partitions in which any of these assets meets a condition."""
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
    """Return the sensor that starts one backfill per cron tick.

    Args:
        names: Names of the component.
        assets: Assets to backfill.
        cron: Cron schedule in UTC.
        max_partitions: Maximum partitions per tick. Others wait for the next tick.
        stale: Include partitions that are stale after changes of sources or code.
        run_tags: Tags of its runs.
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
    """Return the schedule that compares the clips of all batches at every cron tick, in UTC."""
    return dg.ScheduleDefinition(
        name=names.of(FIND_NEAR_DUPLICATES),
        target=dg.AssetSelection.assets(names.near_duplicates),
        cron_schedule=cron,
        execution_timezone="UTC",
        description=f"At {cron} (UTC): find near-duplicate clips of all batches.",
    )
