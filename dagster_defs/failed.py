"""`python -m dagster_defs.failed`: the batches whose last run failed, for a command line.

    dagster job backfill -j process_batch --noprompt --partitions "$(python -m dagster_defs.failed)"

runs those again, and no other. The instance is that of `DAGSTER_HOME`.
"""

import sys

import dagster as dg

from dagster_defs.jobs import OBSERVE_VIDEOS
from dagster_defs.partitions import VIDEO_BATCH

_PARTITION = "dagster/partition"
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def failed_batches(instance: dg.DagsterInstance) -> list[str]:
    """Batches whose last run failed or was cancelled, sorted; retired ones are left out.

    A run that is under way, or waits, counts as the last one; one that observes does not count.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=_FAILED))
    tried = {run.tags[_PARTITION] for run in runs if _PARTITION in run.tags}
    known = set(instance.get_dynamic_partitions(VIDEO_BATCH.name or ""))
    return sorted(batch for batch in tried & known if _last_failed(instance, batch))


def _last_failed(instance: dg.DagsterInstance, batch: str) -> bool:
    runs = instance.get_runs(dg.RunsFilter(tags={_PARTITION: batch}))  # the latest first
    made = (run.status for run in runs if run.job_name != OBSERVE_VIDEOS)
    return next(made, None) in _FAILED


def main() -> int:
    """Print them with commas between; where there are none, say so, and fail."""
    with dg.DagsterInstance.get() as instance:
        failed = failed_batches(instance)
    if not failed:
        sys.stderr.write("no batch failed\n")
        return 1
    sys.stdout.write(",".join(failed) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
