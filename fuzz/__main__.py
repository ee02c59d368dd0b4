"""`python -m fuzz`: damaged videos and playlists through the real extraction, in workers.

The run fails if a worker crashes, hangs or meets its memory limit, if an error has no type, or if
a frame that is not flagged differs from a plain decode of the same damaged file. What is found is
repeated with `--only NUMBER` and the same seed.
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
    """Fuzz, print totals, and leave with 1 if anything was found."""
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
    parser.add_argument("--cases", type=int, default=1000, help="how many damaged files")
    parser.add_argument("--seconds", type=float, default=0, help="stop after; 0: after all cases")
    parser.add_argument("--seed", type=int, help="the same seed gives the same cases")
    parser.add_argument("--only", type=int, help="one case, by its number")
    parser.add_argument(
        "--folders",
        nargs="*",
        default=["hard", "real", "reports"],
        help="folders of the corpus to take files from",
    )
    parser.add_argument("--processes", type=int, default=0, help="0: one per core")
    parser.add_argument("--memory-mb", type=int, default=1024, help="what a worker may have")
    parser.add_argument("--timeout", type=float, default=60, help="seconds that a case may take")
    return parser


if __name__ == "__main__":
    main()
