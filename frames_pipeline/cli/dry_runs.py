"""`frames-pipeline dry-run`: the frames and rows that a run would make."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options, Signatures
from frames_pipeline.frames import FrameBatch
from frames_pipeline.pipeline import (
    KINDS,
    DerivedKind,
    Estimate,
    Workspace,
    compare_formats,
    estimate_changes,
    estimate_rows,
)
from frames_pipeline.tables import ClipRow


class _Step(NamedTuple):
    """Rows that a provider would make from frames."""

    kind: DerivedKind[Any, Any]
    name: str
    """Name of the definition; empty for the default one."""
    provider: Any
    """A provider of the kind."""

    def ask(self, clip: FrameBatch) -> object:
        """Run the provider on a clip."""
        return self.kind.ask(self.provider, clip)


Steps = tuple[_Step, ...]


def _steps(
    context: click.Context,
    option: click.Parameter,
    texts: tuple[str, ...],
    *,
    kind: DerivedKind[Any, Any],
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
        provider, name = fields.pop("provider", None), fields.pop("name", "")
        if not isinstance(provider, str):
            raise click.BadParameter(f"{text!r} has no provider; give provider=NAME,…")
        found.append(_Step(kind, str(name), kind.open(provider, **fields)))
    return tuple(found)


def _kind_options(kinds: Iterable[DerivedKind[Any, Any]]) -> Callable[[options.F], options.F]:
    """Add an option per kind, in their order."""

    def decorate(command: options.F) -> options.F:
        for kind in reversed(list(kinds)):
            command = click.option(
                f"--{kind.name}",
                callback=partial(_steps, kind=kind),
                multiple=True,
                metavar="PROVIDER",
                help=f"Include rows of {kind.name} by this provider: provider=NAME and its "
                "parameters, or a JSON document. Add name=NAME for a named definition. Repeat "
                "it for several.",
            )(command)
        return command

    return decorate


def dry_run_command(kinds: Iterable[DerivedKind[Any, Any]]) -> click.Command:
    """Return the command, with an option for each of these kinds of derived tables."""

    @click.command("dry-run")
    @options.root
    @click.argument("batches", metavar="[BATCH]...", nargs=-1)
    @options.signatures
    @_kind_options(kinds)
    @click.option(
        "--measure",
        "measures",
        is_flag=True,
        help="Run each provider on one clip to estimate the time. Loads models and calls "
        "endpoints.",
    )
    @options.as_json
    def dry_run(
        *,
        root: str,
        batches: tuple[str, ...],
        signatures: Signatures,
        measures: bool,
        root_options: Options,
        as_json: bool,
        **steps: Steps,
    ) -> None:
        """Show the frames and rows that a run with these settings would make.

        Reads only stored tables; opens no video. Checks every batch unless you name some. Frames
        count as done if they were extracted from the bytes that the video had at the last scan.
        Rows count as done if they were made from the same frames by the same provider with the same
        parameters.
        """
        here = options.workspace(root, root_options)
        asked = [step for some in steps.values() for step in some]
        for step, signature in itertools.product(asked, signatures):
            step.kind.check_samples(step.provider, signature, name=step.name)
        found = [
            estimate
            for batch in batches or here.batches.keys()
            for estimate in _estimates(batch, signatures, here, asked, measures=measures)
        ]
        if as_json:
            output.document(found)
            return
        rows = [_row(estimate) for estimate in found]
        columns = ("batch", "step", "signature", "clips", "to_do", "frames", "bytes", "cpu_seconds")
        output.table([*rows, *_totals(found)], *columns)
        for text in _remarks(batches or here.batches.keys(), signatures, here):
            output.line(text)

    return dry_run


dry_run = dry_run_command(KINDS.values())


def _estimates(
    batch: str, signatures: Signatures, here: Workspace, steps: Iterable[_Step], *, measures: bool
) -> Iterator[Estimate]:
    yield from estimate_changes(batch, signatures, here)
    for signature in signatures:
        for step in steps:
            yield estimate_rows(
                batch,
                signature,
                here,
                step=step.kind.name,
                provider=step.provider,
                name=step.name,
                ask=step.ask if measures else None,
            )


def _remarks(batches: Iterable[str], signatures: Signatures, here: Workspace) -> Iterator[str]:
    """Yield lines about clips that a signature leaves as they are coded."""
    for batch in batches:
        clips = here.read(ClipRow, batch)
        for signature in signatures:
            report = compare_formats(clips, signature)
            for found in report.remarked:
                count = f"{len(found.clip_ids)} of {report.clips} clips"
                yield f"{batch} {signature.key}: {count}: {found.meaning}"


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
