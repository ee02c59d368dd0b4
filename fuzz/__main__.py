"""`python -m fuzz`: run the real extraction on damaged videos and playlists, in workers.

The run fails if a worker crashes, hangs or hits its memory limit, if an error has no type, or if an
unflagged frame differs from a plain decode of the same damaged file. Repeat a finding with `--only
NUMBER` and the same seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from frames_pipeline.workers.local import Workers
from fuzz.cases import make_cases
from fuzz.run import run
from fuzz.seeds import make_seeds, sorted_seeds


def main() -> None:
    """Fuzz, print totals, and exit with 1 if there are findings."""
    arguments = _parser().parse_args()
    seed = time.time_ns() % 2**32 if arguments.seed is None else arguments.seed
    workers = Workers(
        arguments.processes,
        timeout_s=arguments.timeout,
        cpu_s=arguments.timeout,
        memory_bytes=arguments.memory_mb << 20,
    )
    with tempfile.TemporaryDirectory(prefix="frames-fuzz-seeds-") as folder:
        seeds = sorted_seeds(make_seeds(Path(folder), arguments.folders))
        print(
            f"seed {seed}, {arguments.cases} cases from {len(seeds.readable)} videos and ", end=""
        )
        print(f"{len(seeds.others)} other files", flush=True)
        numbers = range(arguments.cases) if arguments.only is None else [arguments.only]
        cases = make_cases(seeds, seed, numbers)
        totals = run(cases, workers, seconds=arguments.seconds)
    print(totals)
    sys.exit(bool(totals.findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="Number of damaged files.")
    parser.add_argument(
        "--seconds", type=float, default=0, help="Stop after this time; 0: after all cases."
    )
    parser.add_argument("--seed", type=int, help="Seed; the same seed gives the same cases.")
    parser.add_argument("--only", type=int, help="Number of a single case.")
    parser.add_argument(
        "--folders",
        nargs="*",
        default=["hard", "real", "reports"],
        help="Folders of the corpus to take files from.",
    )
    parser.add_argument(
        "--processes", type=int, default=0, help="Number of workers; 0: one per core."
    )
    parser.add_argument("--memory-mb", type=int, default=1024, help="Memory limit of a worker.")
    parser.add_argument(
        "--timeout", type=float, default=60, help="Time limit of a case in seconds."
    )
    return parser


if __name__ == "__main__":
    main()
