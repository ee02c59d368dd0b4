"""A job, and a schedule on request, that free the room of what nobody names any more."""

from typing import Any

import dagster as dg
from pydantic import Field

from dagster_defs.metadata import Metadata, records
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource, keys_of, resource_of
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError
from frames_pipeline.store import GRACE_SECONDS, GarbageReport

COLLECT_GARBAGE = "collect_garbage"
COLLECT = "collect"
"""Op of the job."""
GRACE_HOURS = GRACE_SECONDS / 3600
OUTSIDE_BATCHES = "(tables and lists of batches)"
"""Name, in place of a batch, for unfinished writes that belong to no batch's frames."""


class Garbage(dg.Config):
    """What is looked through, and whether what is found is deleted."""

    delete: bool = Field(default=False, description="Delete it; otherwise it is only counted.")
    grace_hours: float = Field(
        default=GRACE_HOURS,
        ge=0,
        description="Hours for which nobody must have named it: longer than a clip takes to write, "
        "and than readers hold on to what they opened.",
    )
    batches: list[str] = Field(default=[], description="Keys of batches; none: all that there are.")


def build_garbage_job(names: Names) -> dg.JobDefinition:
    """Attempts that were given up or replaced, and unfinished writes: how much, or away with it."""

    @dg.op(
        name=names.of(COLLECT),
        description="Goes through the store, a batch at a time. What is in use is never touched.",
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
                    context.log.info(f"{batch}: {_said(found[batch])}")
                for key in found[batch].unreadable:
                    context.log.warning(
                        f"{key} is damaged: all objects that it may refer to were kept"
                    )
            if not config.batches:
                found[OUTSIDE_BATCHES] = store.collect_unfinished(
                    grace_seconds=grace, dry_run=is_dry
                )
        context.add_output_metadata(_told(found, deleted=config.delete))

    @dg.job(
        name=names.of(COLLECT_GARBAGE),
        description="Frees room: what was replaced, given up or withdrawn. Without `delete` it "
        "only counts. Look at the metadata of the run's output.",
    )
    def collect_all() -> None:
        collect()

    return collect_all


def build_garbage_schedule(
    names: Names, job: dg.JobDefinition, *, cron: str, grace_hours: float
) -> dg.ScheduleDefinition:
    """The schedule that deletes garbage at every cron tick, in UTC."""
    settings = {"delete": True, "grace_hours": grace_hours}
    run_config: dict[str, Any] = {"ops": {names.of(COLLECT): {"config": settings}}}
    return dg.ScheduleDefinition(
        name=names.of("free_room"),
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        run_config=run_config,
        description=f"At {cron} (UTC): deletes what nobody has named for {grace_hours:g} hours.",
    )


def _told(found: dict[str, GarbageReport], *, deleted: bool) -> Metadata:
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


def _said(report: GarbageReport) -> str:
    done = "would be deleted" if report.dry_run else "deleted"
    return f"{report.objects} objects of {report.bytes:,} bytes {done}"
