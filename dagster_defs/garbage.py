"""A job, and an optional schedule, that delete unreferenced objects."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from dagster_defs.metadata import Metadata, records
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource, keys_of, resource_of
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError
from frames_pipeline.store import GRACE_SECONDS

if TYPE_CHECKING:
    from frames_pipeline.store import GarbageReport

COLLECT_GARBAGE = "collect_garbage"
COLLECT = "collect"
"""Op of the job."""
GRACE_HOURS = GRACE_SECONDS / 3600
OUTSIDE_BATCHES = "(tables and lists of batches)"
"""Name, in place of a batch, for unfinished writes that belong to no batch's frames."""


class Garbage(dg.Config):
    """Batches to search, and whether to delete the findings."""

    delete: bool = Field(default=False, description="Delete. Without this setting, only report.")
    grace_hours: float = Field(
        default=GRACE_HOURS,
        ge=0,
        description="Keep anything written within this many hours. Choose more than a clip takes "
        "to write, and than readers keep clips open.",
    )
    batches: list[str] = Field(default=[], description="Keys of batches. Default: all batches.")


def build_garbage_job(names: Names) -> dg.JobDefinition:
    """Return the job that reports or deletes replaced attempts and unfinished writes."""

    @dg.op(
        name=names.of(COLLECT),
        description="Searches the store, one batch at a time. Objects in use are never deleted.",
        required_resource_keys=keys_of(names, WorkspaceResource),
    )
    def collect(context: dg.OpExecutionContext, config: Garbage) -> None:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            store = workspace.open().store
            there = store.batches()
            if unknown := sorted(set(config.batches) - set(there)):
                message = f"no frames of {', '.join(unknown)}; there are {len(there)} batches"
                raise ConfigError(message)
            found: dict[str, GarbageReport] = {}
            grace, is_dry = 3600 * config.grace_hours, not config.delete
            for batch in config.batches or there:
                found[batch] = store.collect_garbage(batch, grace_seconds=grace, dry_run=is_dry)
                if found[batch].objects:
                    context.log.info(f"{batch}: {_summary(found[batch])}")
                for key in found[batch].unreadable:
                    context.log.warning(
                        f"{key} is damaged: all objects that it may refer to were kept"
                    )
            if not config.batches:
                found[OUTSIDE_BATCHES] = store.collect_unfinished(
                    grace_seconds=grace, dry_run=is_dry
                )
        context.add_output_metadata(_metadata(found, deleted=config.delete))

    @dg.job(
        name=names.of(COLLECT_GARBAGE),
        description="Deletes replaced, abandoned and withdrawn objects. Without `delete` it only "
        "reports. Look at the metadata of the run's output.",
    )
    def collect_all() -> None:
        collect()

    return collect_all


def build_garbage_schedule(
    names: Names, job: dg.JobDefinition, *, cron: str, grace_hours: float
) -> dg.ScheduleDefinition:
    """Return the schedule that deletes garbage at every cron tick, in UTC."""
    settings = {"delete": True, "grace_hours": grace_hours}
    run_config: dict[str, Any] = {"ops": {names.of(COLLECT): {"config": settings}}}
    return dg.ScheduleDefinition(
        name=names.of("free_room"),
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        run_config=run_config,
        description=f"At {cron} (UTC): delete objects unreferenced for {grace_hours:g} hours.",
    )


def _metadata(found: "dict[str, GarbageReport]", *, deleted: bool) -> Metadata:
    rows = [
        {
            "batch": batch,
            "attempts": len(report.attempts),
            "unfinished_writes": len(report.temporary),
            "objects": report.objects,
            "bytes": report.bytes,
        }
        for batch, report in found.items()
        if report.objects
    ]
    return {
        "deleted": deleted,
        "batches": len(found.keys() - {OUTSIDE_BATCHES}),
        "attempts": sum(len(report.attempts) for report in found.values()),
        "unfinished_writes": sum(len(report.temporary) for report in found.values()),
        "objects": sum(report.objects for report in found.values()),
        "bytes": sum(report.bytes for report in found.values()),
        "damaged_documents": sum(len(report.unreadable) for report in found.values()),
        "found": records(rows, ("batch", "attempts", "unfinished_writes", "objects", "bytes")),
    }


def _summary(report: "GarbageReport") -> str:
    done = "would be deleted" if report.dry_run else "deleted"
    return f"{report.objects} objects of {report.bytes:,} bytes {done}"
