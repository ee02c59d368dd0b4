"""Attributes of a `defs.yaml`: schedules and deadlines, for backfill, garbage and freshness."""

import datetime as dt

import dagster as dg
from pydantic import Field, field_validator, model_validator

from frames_pipeline.store import GRACE_SECONDS


def checked_cron(cron: str) -> str:
    """Return a cron expression after checking it.

    Raises:
        ValueError: The text is not a cron expression.
    """
    try:
        dg.AutomationCondition.cron_tick_passed(cron)
    except Exception as error:
        message = f"{cron!r} is not a cron expression; '0 3 * * *' is every night at three"
        raise ValueError(message) from error
    return cron


class Backfill(dg.Model, dg.Resolvable):
    """Automatic backfill at every cron tick."""

    cron: str = Field(description="When to run, in UTC: '0 3 * * *' is every night at three.")
    max_partitions: int = Field(
        default=1000,
        ge=1,
        description="Maximum number of batches per tick. The rest wait for the next tick.",
    )
    stale: bool = Field(
        default=False, description="Also make batches again after their sources or code changed."
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return checked_cron(cron)


class GarbageCollection(dg.Model, dg.Resolvable):
    """Automatic deletion of unreferenced objects at every cron tick."""

    cron: str = Field(description="When to run, in UTC: '0 6 * * 0' is every Sunday at six.")
    grace_hours: float = Field(
        default=GRACE_SECONDS / 3600,
        gt=0,
        description="Keep anything that was referenced within this many hours. Choose more than a "
        "clip takes to write, and than a reader keeps one open.",
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return checked_cron(cron)


class Freshness(dg.Model, dg.Resolvable):
    """Maximum age of the newest batch."""

    fail_after_hours: float = Field(
        gt=0, description="Hours since the last materialization at which an asset is overdue."
    )
    warn_after_hours: float | None = Field(
        default=None,
        gt=0,
        description="Hours at which you get a warning; less than `fail_after_hours`.",
    )

    def policy(self) -> dg.FreshnessPolicy:
        """Return Dagster's policy."""
        warn = self.warn_after_hours
        return dg.FreshnessPolicy.time_window(
            fail_window=dt.timedelta(hours=self.fail_after_hours),
            warn_window=None if warn is None else dt.timedelta(hours=warn),
        )

    @model_validator(mode="after")
    def _check(self) -> "Freshness":
        if self.warn_after_hours is not None and self.warn_after_hours >= self.fail_after_hours:
            message = f"warn_after_hours={self.warn_after_hours} must be below fail_after_hours="
            raise ValueError(f"{message}{self.fail_after_hours}")
        return self
