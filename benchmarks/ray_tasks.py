"""Compare the cost of a task on a Ray cluster and on this machine.

    python -m benchmarks.ray_tasks --address 127.0.0.1:6379

Tasks do nothing, so only the overhead is measured. The first pass, which starts processes and
imports libraries, is not counted.
"""

from __future__ import annotations

import argparse
import time

from frames_pipeline.workers.local import Workers
from frames_pipeline.workers.ray import RayWorkers


def seconds_per_task(workers: Workers, tasks: int) -> float:
    """Return the wall-clock seconds of a task, with concurrent tasks."""
    list(workers.map(abs, range(2 * workers.count)))
    since = time.perf_counter()
    done = dict(workers.map(abs, range(tasks)))
    if sorted(done) != list(range(tasks)):
        message = f"{len(done)} of {tasks} tasks came back"
        raise RuntimeError(message)
    return (time.perf_counter() - since) / tasks


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="Address of the cluster: 127.0.0.1:6379.")
    parser.add_argument("--tasks", type=int, default=100)
    options = parser.parse_args()
    print("| workers | ms per task |\n|---|---:|")
    for name, workers in {
        "processes of this machine, 2": Workers(2),
        "Ray, 2 at a time": RayWorkers(2, address=options.address),
        "Ray, as many as find room": RayWorkers(address=options.address),
    }.items():
        print(f"| {name} | {1000 * seconds_per_task(workers, options.tasks):.1f} |")


if __name__ == "__main__":
    main()
