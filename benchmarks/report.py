"""Write the figures as a page: machine, versions, tables, a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.cores import Spent
from benchmarks.measure import Figures, Result
from benchmarks.plot import write_plot

OURS: Final = "frames-pipeline"
FLOOR: Final = "bare"

_HEAD: Final = """\
# Benchmarks

How fast is extraction compared with decoding alone, and with other tools? Each scenario asks for
some frames of a video. The tables give you the time and memory that each tool takes for them.

`{command}` made this page on {date}.
The next run replaces it, so edit `benchmarks/report.py` instead.

- Machine: {machine}
- Versions: {versions}
- Every tool runs in a process of its own with one thread, in turn with the others. CPU is the
  processor time of the process in milliseconds, over all its threads. Figures are medians over the
  rounds.
- `bare` opens the file, reads it and decodes the packets that the wanted frames need. It is given
  the list of these packets, and converts nothing. `one pass` also converts each wanted frame once
  per size.
- torchcodec and decord are given the wanted frames beforehand, and return each once. OpenCV and
  PyAV decode from the start, so the longest scenarios leave them out.

![CPU time as multiples of bare](../images/benchmarks.svg)
"""

_RATIOS: Final = """\
Medians of ratios within a round. In the first column, 1 means as fast as decoding alone. In the
others, 2 means that the tool takes twice as long as frames-pipeline.
"""

_CORES: Final = """\
Two minutes of 720p HEVC, at 2 fps to 224x224, as 12 clips or as one. Compare these to choose
`processes` and `threads`. H.264 is always decoded by one thread.
"""

_NEXT: Final = """\
## Where to go next

- [scaling.md](../operations/scaling.md): the cost of a batch and of a million videos.
- [configuration.md](../reference/configuration.md#resource-extraction): choose processes and
  threads.
- [corpus.md](../design/corpus.md): how exactness is measured.
"""


def write_report(
    results: Sequence[Result], cores: Sequence[Spent], *, docs: Path, command: str
) -> str:
    """Write the page and its plot; return the page."""
    tools = list(dict.fromkeys(tool for result in results for tool in result.versions))
    versions = {tool: text for result in results for tool, text in result.versions.items()}
    head = _HEAD.format(
        command=command,
        date=datetime.now(UTC).date(),
        machine=_machine(),
        versions=", ".join(f"{tool} {text}" for tool, text in versions.items()),
    )
    sections = [
        _section("CPU time, ms", results, tools, lambda figures: f"{1e3 * figures.cpu:.1f}"),
        _ratios(results, tools),
        _section("Wall time, ms", results, tools, lambda figures: f"{1e3 * figures.wall:.1f}"),
        _section(
            "Memory at most, MiB over the process before the run",
            results,
            tools,
            lambda figures: f"{figures.memory / 2**20:.0f}",
        ),
    ]
    if cores:
        sections.append(_cores(cores))
    page = "\n".join([head, *sections, _NEXT])
    for folder in ("images", "measurements"):
        (docs / folder).mkdir(parents=True, exist_ok=True)
    (docs / "measurements" / "benchmarks.md").write_text(page)
    write_plot(results, docs / "images" / "benchmarks.svg")
    return page


def _section(
    title: str, results: Sequence[Result], tools: list[str], cell: Callable[[Figures], str]
) -> str:
    rows = [
        [f"{result.scenario.name} ({_frames(result)})"]
        + [
            cell(result.figures[tool]) if tool in result.figures else _absence(result, tool)
            for tool in tools
        ]
        for result in results
    ]
    return f"## {title}\n\n{_table(['scenario (frames)', *tools], rows)}"


def _ratios(results: Sequence[Result], tools: list[str]) -> str:
    peers = [tool for tool in tools if tool != OURS]
    rows = []
    for result in results:
        ours = result.figures.get(OURS)
        if ours is None:
            continue
        row = [result.scenario.name]
        floor = result.figures.get(FLOOR)
        row.append(f"{ours.times(floor):.2f}" if floor else "-")
        row += [
            f"{result.figures[tool].times(ours):.2f}"
            if tool in result.figures
            else _absence(result, tool)
            for tool in peers
            if tool != FLOOR
        ]
        rows.append(row)
    names = [f"{tool} / ours" for tool in peers if tool != FLOOR]
    table = _table(["scenario", "ours / bare", *names], rows)
    return f"## CPU ratios\n\n{_RATIOS}\n{table}"


def _cores(cores: Sequence[Spent]) -> str:
    rows = [[spent.way.name, f"{spent.wall:.2f}", f"{spent.cpu:.2f}"] for spent in cores]
    return f"## Cores\n\n{_CORES}\n{_table(['way', 'wall, s', 'CPU, s'], rows)}"


def _absence(result: Result, tool: str) -> str:
    return result.failures.get(tool, "-").partition(":")[0]


def _frames(result: Result) -> int:
    return max((figures.frames for figures in result.figures.values()), default=0)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"
