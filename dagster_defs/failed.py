"""`python -m dagster_defs.failed`: the batches whose last run failed, for a command line.

    dagster job backfill -j process_batch --noprompt --partitions "$(python -m dagster_defs.failed)"

runs those again, and no other. The instance is that of `DAGSTER_HOME`. For a component with a name
of its own, give that name: `python -m dagster_defs.failed cars`.
"""

import argparse
import sys

import dagster as dg

from dagster_defs.jobs import OBSERVE_VIDEOS
from dagster_defs.names import Names

_PARTITION = "dagster/partition"
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def failed_batches(instance: dg.DagsterInstance, names: Names) -> list[str]:
    """Batches whose last run failed or was cancelled, sorted; retired ones are left out.

    A run that is under way, or waits, counts as the last one; one that observes does not count.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=_FAILED))
    tried = {run.tags[_PARTITION] for run in runs if _PARTITION in run.tags}
    known = set(instance.get_dynamic_partitions(names.of("video_batch")))
    return sorted(batch for batch in tried & known if _last_failed(instance, names, batch))


def _last_failed(instance: dg.DagsterInstance, names: Names, batch: str) -> bool:
    runs = instance.get_runs(dg.RunsFilter(tags={_PARTITION: batch}))  # the latest first
    made = (run.status for run in runs if run.job_name != names.of(OBSERVE_VIDEOS))
    return next(made, None) in _FAILED


def main() -> int:
    """Print them with commas between; where there are none, say so, and fail."""
    parser = argparse.ArgumentParser(prog="python -m dagster_defs.failed", description=__doc__)
    parser.add_argument("component", nargs="?", default="", help="the component's name")
    names = Names(parser.parse_args().component)
    with dg.DagsterInstance.get() as instance:
        failed = failed_batches(instance, names)
    if not failed:
        sys.stderr.write("no batch failed\n")
        return 1
    sys.stdout.write(",".join(failed) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
