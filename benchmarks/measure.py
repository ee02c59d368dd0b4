"""Run several tools in turn, so that a slower machine slows all of them.

Ratios are taken within each round, between runs that are seconds apart. Their median holds on a
machine with drifting speed, where a ratio of medians does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.scenarios import Scenario
from benchmarks.tools import request
from benchmarks.worker import MISSING, Run, run, worker


@dataclass(frozen=True, slots=True)
class Figures:
    """Costs of a tool for a scenario: medians over the rounds."""

    cpu: float
    """CPU seconds."""
    wall: float
    """Seconds."""
    memory: int
    """Growth of a fresh process in its first run, in bytes."""
    frames: int
    """Number of distinct frames returned."""
    rounds: tuple[float, ...]
    """CPU seconds of each round."""

    def times(self, other: Figures) -> float:
        """Return the ratio to the other's CPU time: the median over the rounds."""
        return median(mine / its for mine, its in zip(self.rounds, other.rounds, strict=True))


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of every tool in a scenario."""

    scenario: Scenario
    figures: dict[str, Figures]
    failures: dict[str, str]
    """Reasons for missing figures, by tool."""
    versions: dict[str, str]


def measure(
    scenario: Scenario,
    tools: Sequence[str],
    *,
    rounds: int,
    cache: Path,
    say: Callable[[str], None],
) -> Result:
    """Measure each tool in its own process: a first run for memory, then rounds in turn."""
    wanted = request(scenario.path(cache), scenario)
    runs: dict[str, list[Run]] = {}
    failures: dict[str, str] = {}
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        workers = {tool: stack.enter_context(worker(tool, wanted)) for tool in tools}
        for tool, connection in workers.items():
            versions[tool] = connection.recv()
            if versions[tool].startswith(MISSING):
                failures[tool] = versions[tool]
        for number in range(rounds + 1):
            say(f"{scenario.name}: {'first run' if number == 0 else f'round {number}'}")
            able = [tool for tool in tools if tool not in failures]
            start = number % max(
                len(able), 1
            )  # rotate, so that no tool always follows the same other one
            for tool in able[start:] + able[:start]:
                outcome = run(workers[tool])
                if isinstance(outcome, Run):
                    runs.setdefault(tool, []).append(outcome)
                else:
                    failures[tool] = outcome
    figures = {tool: _figures(runs[tool]) for tool in tools if tool not in failures}
    return Result(scenario, figures, failures, versions)


def _figures(runs: list[Run]) -> Figures:
    counted = runs[1:] or runs
    return Figures(
        cpu=median(run.cpu for run in counted),
        wall=median(run.wall for run in counted),
        memory=runs[0].memory,
        frames=runs[0].frames,
        rounds=tuple(run.cpu for run in counted),
    )
