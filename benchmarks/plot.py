"""Plot CPU time as multiples of the minimal decode, a row per scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Result


def write_plot(results: Sequence[Result], path: Path) -> None:
    """Plot a dot per tool and scenario. Does nothing without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    shown = [result for result in results if "bare" in result.figures]
    tools = list(dict.fromkeys(tool for result in shown for tool in result.figures))
    figure = Figure(figsize=(9, 0.34 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    for tool in tools:
        points = [
            (result.figures[tool].times(result.figures["bare"]), row)
            for row, result in enumerate(shown)
            if tool in result.figures
        ]
        axes.plot(*zip(*points, strict=True), "o", label=tool, markersize=5, alpha=0.8)
    axes.set_xscale("log")
    axes.set_xticks(ticks := [1, 1.5, 2, 3, 5, 10, 20], [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(shown)), [result.scenario.name for result in shown])
    axes.invert_yaxis()
    axes.grid(visible=True, alpha=0.3)
    axes.set_xlabel("CPU time / bare (minimal packets decoded, nothing converted)")
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def write_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], path: Path, x: str, y: str
) -> None:
    """Plot a line per name over a logarithmic x. Does nothing without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=mpl.colormaps["tab20"](range(20)))
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(path, metadata={"Date": None})
