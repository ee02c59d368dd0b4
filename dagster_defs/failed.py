"""`python -m dagster_defs.failed`: the batches with a failed last run, for a command line.

    dagster job backfill -j process_batch --noprompt --partitions "$(python -m dagster_defs.failed)"

runs only these again. The instance is that of `DAGSTER_HOME`. For a named component, give its name:
`python -m dagster_defs.failed cars`.
"""

import argparse
import sys

import dagster as dg

from dagster_defs.jobs import OBSERVE_VIDEOS, PROCESS_BATCH, RETIRE_BATCH
from dagster_defs.names import Names

_PARTITION = "dagster/partition"
_JOBS = (PROCESS_BATCH, OBSERVE_VIDEOS, RETIRE_BATCH)
"""Jobs of a component that have partitions."""
_FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def failed_batches(instance: dg.DagsterInstance, names: Names) -> list[str]:
    """Return a component's batches with a failed or cancelled last run, sorted.

    A running or queued run counts as the last one; an observing run does not count. Retired batches
    are left out. So are runs of other components, whose batches have the same keys.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=_FAILED))
    tried = {run.tags[_PARTITION] for run in runs if _PARTITION in run.tags}
    known = set(instance.get_dynamic_partitions(names.of("video_batch")))
    return sorted(batch for batch in tried & known if _last_failed(instance, names, batch))


def _last_failed(instance: dg.DagsterInstance, names: Names, batch: str) -> bool:
    runs = instance.get_runs(dg.RunsFilter(tags={_PARTITION: batch}))  # the latest first
    made = (
        run.status
        for run in runs
        if _is_of(run, names) and run.job_name != names.of(OBSERVE_VIDEOS)
    )
    return next(made, None) in _FAILED


def _is_of(run: dg.DagsterRun, names: Names) -> bool:
    """Return whether a run is of a component's assets, or of one of its jobs."""
    if run.asset_selection:
        return any(map(names.owns, run.asset_selection))
    if names.component:
        return run.job_name.startswith(names.of(""))
    return not run.job_name.endswith(tuple(f"_{job}" for job in _JOBS))


def main() -> int:
    """Print the batches, separated by commas. Without a failed batch, report that and fail."""
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
