"""`python -m benchmarks`: measure, and write docs/measurements/benchmarks.md."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks.cores import measure_cores
from benchmarks.footage import CORPUS
from benchmarks.measure import measure
from benchmarks.report import write_report
from benchmarks.scenarios import SCENARIOS
from benchmarks.tools import TOOLS

_DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    arguments = _parser().parse_args()
    if not (CORPUS / "bench").is_dir():
        sys.exit(f"no videos in {CORPUS / 'bench'}; set FRAMES_CORPUS")
    results = []
    for name in arguments.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        results.append(
            measure(
                scenario,
                [tool for tool in arguments.tools or TOOLS if scenario.suits(tool)],
                rounds=min(arguments.rounds, scenario.most_rounds),
                cache=arguments.cache,
                say=_say,
            )
        )
    cores = [] if arguments.scenarios else measure_cores(rounds=3, cache=arguments.cache, say=_say)
    print(write_report(results, cores, docs=arguments.docs, command=_command(arguments)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that repeats this, without this machine's folders."""
    words = ["python", "-m", "benchmarks", "--rounds", str(arguments.rounds)]
    for option in ("scenarios", "tools"):
        if chosen := getattr(arguments, option):
            words += [f"--{option}", *chosen]
    return shlex.join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, metavar="NAME")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=9, help="Measured runs per tool.")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="Folder for the report.")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "frames-benchmarks",
        help="Folder for videos looped from the corpus.",
    )
    return parser


if __name__ == "__main__":
    main()
