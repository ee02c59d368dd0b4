"""`frames-pipeline dry-run`: the frames and rows that a run would make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options, Signatures
from frames_pipeline.frames import FrameBatch
from frames_pipeline.models import Provider
from frames_pipeline.models.captioning import open_caption_provider
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.models.quality import open_quality_provider
from frames_pipeline.pipeline import Estimate, Workspace, estimate_changes, estimate_rows


class _Step(NamedTuple):
    """A table made from frames, with its provider."""

    table: str
    name: str
    """Name of the definition; empty for the default one."""
    provider: Provider
    ask: Callable[[FrameBatch], object]
    """Run the provider on a clip."""


Steps = tuple[_Step, ...]


def _embeddings(name: str, parameters: dict[str, Any], called: str) -> _Step:
    provider = open_embedding_provider(name, **parameters)
    return _Step("embeddings", called, provider, lambda clip: provider.embed(clip.frames))


def _quality(name: str, parameters: dict[str, Any], called: str) -> _Step:
    provider = open_quality_provider(name, **parameters)
    return _Step("quality", called, provider, lambda clip: provider.measure(clip.frames))


def _captions(name: str, parameters: dict[str, Any], called: str) -> _Step:
    provider = open_caption_provider(name, **parameters)
    return _Step("captions", called, provider, provider.caption)


_MAKE: Final = {"embeddings": _embeddings, "quality": _quality, "captions": _captions}


def _steps(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...], *, table: str
) -> Steps:
    """Parse providers, each as `provider=transformers,model=…` or as a JSON document."""
    found = []
    for text in texts:
        if text.lstrip().startswith("{"):
            try:
                fields = json.loads(text)
            except ValueError as error:
                raise click.BadParameter(f"{text!r} is not valid JSON: {error}") from error
        else:
            fields = options.pairs(context, option, tuple(text.split(",")))
        name, called = fields.pop("provider", None), fields.pop("name", "")
        if not isinstance(name, str):
            raise click.BadParameter(f"{text!r} has no provider; give provider=NAME,…")
        found.append(_MAKE[table](name, fields, str(called)))
    return tuple(found)


def _step_option(table: str) -> Callable[[options.F], options.F]:
    return click.option(
        f"--{table}",
        callback=partial(_steps, table=table),
        multiple=True,
        metavar="PROVIDER",
        help=f"Include rows of {table} by this provider: provider=NAME and its parameters, or a "
        "JSON document. Add name=NAME for a named definition. Repeat it for several.",
    )


@click.command("dry-run")
@options.root
@click.argument("batches", metavar="BATCH...", nargs=-1)
@options.signatures
@_step_option("embeddings")
@_step_option("quality")
@_step_option("captions")
@click.option(
    "--measure",
    "measures",
    is_flag=True,
    help="Run each provider on one clip to estimate the time. Loads models and calls endpoints.",
)
@options.as_json
def dry_run(
    *,
    root: str,
    batches: tuple[str, ...],
    signatures: Signatures,
    embeddings: Steps,
    quality: Steps,
    captions: Steps,
    measures: bool,
    root_options: Options,
    as_json: bool,
) -> None:
    """Show the frames and rows that a run with these settings would make.

    Reads only stored tables; opens no video. Checks every batch unless you name some. Frames count
    as done if they were extracted from the bytes that the video had at the last scan. Rows count as
    done if they were made from the same frames by the same provider with the same parameters.
    """
    here = options.workspace(root, root_options)
    found = [
        estimate
        for batch in batches or here.batches.keys()
        for estimate in _estimates(
            batch, signatures, here, (*embeddings, *quality, *captions), measures=measures
        )
    ]
    if as_json:
        output.document(found)
        return
    rows = [_row(estimate) for estimate in found]
    columns = ("batch", "step", "signature", "clips", "to_do", "frames", "bytes", "cpu_seconds")
    output.table([*rows, *_totals(found)], *columns)


def _estimates(
    batch: str, signatures: Signatures, here: Workspace, steps: Steps, *, measures: bool
) -> Iterator[Estimate]:
    yield from estimate_changes(batch, signatures, here)
    for signature in signatures:
        for step in steps:
            yield estimate_rows(
                batch,
                signature,
                here,
                step=step.table,
                provider=step.provider,
                name=step.name,
                ask=step.ask if measures else None,
            )


def _row(estimate: Estimate) -> dict[str, Any]:
    return {
        "batch": estimate.batch,
        "step": " ".join(filter(None, (estimate.step, estimate.name))),
        "signature": estimate.signature,
        "clips": estimate.clips,
        "to_do": len(estimate.to_do),
        "frames": estimate.frames,
        "bytes": estimate.bytes,
        "cpu_seconds": _seconds([estimate]),
    }


def _totals(found: list[Estimate]) -> Iterator[dict[str, Any]]:
    """Yield a row with the total of each step, if there are several batches."""
    steps: dict[tuple[str, str, str], list[Estimate]] = {}
    for one in found:
        steps.setdefault((one.step, one.name, one.signature), []).append(one)
    for estimates in steps.values():
        if len(estimates) > 1:
            row = _row(estimates[0])
            for name in ("clips", "frames", "bytes"):
                row[name] = sum(getattr(one, name) for one in estimates)
            to_do = sum(len(one.to_do) for one in estimates)
            yield row | {"batch": "all", "to_do": to_do, "cpu_seconds": _seconds(estimates)}


def _seconds(estimates: list[Estimate]) -> str:
    """Return the sum of the known estimates; `+` marks that others are unknown."""
    known = [one.cpu_seconds for one in estimates if one.cpu_seconds is not None]
    if not known:
        return "unknown"
    return f"{sum(known):.1f}{'+' if len(known) < len(estimates) else ''}"
