"""Run many cases and add up their results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from frames_pipeline import FramesPipelineError, InternalError
from frames_pipeline.workers.local import Workers
from fuzz.cases import Case, Report, differences, extracted


@dataclass
class Totals:
    """Counts of cases, and the findings."""

    results: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    undecided: int = 0
    slowest: tuple[float, int] = (0, -1)
    peak_mb: tuple[int, int] = (0, -1)
    accidental: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {count}" for name, count in self.results.most_common())
        return "\n".join(
            [
                f"{self.results.total()} cases: {outcomes}",
                f"{self.compared} frames without a mark compared with a plain decode; "
                f"{self.undecided} cases in which the plain decode itself failed",
                f"slowest {self.slowest[0]} s of processor time (case {self.slowest[1]}), "
                f"most memory {self.peak_mb[0]} MB (case {self.peak_mb[1]})",
                f"{len(self.accidental)} frames whose pixels the file does not determine",
                *self.accidental,
                f"{len(self.lost)} frames that a plain decode loses",
                *self.lost,
                f"{len(self.findings)} findings",
                *self.findings,
            ]
        )


def run(cases: Iterable[Case], workers: Workers, *, seconds: float = 0) -> Totals:
    """Extract every case in worker processes, then compare each with a plain decode in others.

    Args:
        cases: The cases.
        workers: The processes and their limits.
        seconds: Stop starting cases after this time; 0: never.
    """
    totals, until = Totals(), time.monotonic() + (seconds or 1e9)
    checked = _extracted(_until(cases, until), workers, totals)
    for (case, _), found in workers.map(differences, checked):
        if isinstance(found, InternalError):
            raise found  # a bug of the comparison
        if isinstance(found, FramesPipelineError):
            totals.undecided += 1
            continue
        totals.compared += found.compared
        totals.accidental += [f"{_name(case)}: {frame}" for frame in found.accidental]
        totals.lost += [f"{_name(case)}: {frame}" for frame in found.lost]
        totals.findings += [
            f"{_name(case)}: differs from a plain decode: {frame}" for frame in found.differing
        ]
    return totals


def _extracted(
    cases: Iterable[Case], workers: Workers, totals: Totals
) -> Iterator[tuple[Case, Report]]:
    """Yield cases with frames; count the others."""
    for case, found in workers.map(extracted, cases):
        if isinstance(found, FramesPipelineError):
            totals.results[found.reason] += 1
            totals.findings.append(f"{_name(case)}: {found.reason}: {found}")
            continue
        totals.results[found.result] += 1
        totals.slowest = max(totals.slowest, (found.seconds, case.number))
        totals.peak_mb = max(totals.peak_mb, (found.peak_mb, case.number))
        if found.result == "untyped":
            totals.findings.append(f"{_name(case)}: {found.detail}")
        if found.frames:
            yield case, found


def _until(cases: Iterable[Case], until: float) -> Iterator[Case]:
    for case in cases:
        if time.monotonic() > until:
            return
        yield case


def _name(case: Case) -> str:
    return f"seed {case.seed} case {case.number} ({case.path.name})"
