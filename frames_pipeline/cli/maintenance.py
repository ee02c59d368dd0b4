"""Commands that check, repair, recompress and clean a root, and take batches out of use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.app import EXIT_FAULT
from frames_pipeline.cli.options import Options
from frames_pipeline.pipeline import (
    Damage,
    RepairReport,
    Workspace,
    recompress_store,
    repair_store,
    retire_batch,
)
from frames_pipeline.pipeline.suspects import Suspects
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from frames_pipeline.workers.local import Workers

_SIZES = ("bytes_before", "bytes_after")


@click.command()
@options.root
@click.argument("batch", required=False)
@click.option("--deep", is_flag=True, help="Read every object. Default: read only listings.")
@options.as_json
def verify(
    *, root: str, batch: str | None, root_options: Options, deep: bool, as_json: bool
) -> None:
    """Compare stored objects with their commits. Exit code 1 means that they differ.

    With --deep, also compare tables, batches and notes with their checksums.
    """
    workspace = options.workspace(root, root_options)
    rows, faults = [], []
    for one in [batch] if batch is not None else workspace.store.batches():
        report = workspace.store.verify(one, deep=deep)
        faults += [
            {"batch": one, "clip": fault.clip_id, "key": fault.key, "fault": str(fault)}
            for fault in report.faults
        ]
        rows.append(
            {
                "batch": one,
                "clips": report.attempts,
                "objects": report.objects,
                "bytes": report.bytes,
                "faults": len(report.faults),
            }
        )
    if deep:
        faults += list(_other_damage(workspace, batch, {fault["key"] for fault in faults}))
    if as_json:
        output.document({"batches": rows, "faults": faults})
    else:
        output.table(rows, "batch", "clips", "objects", "bytes", "faults")
        for fault in faults:
            output.complaint(fault["fault"])
    if faults:
        sys.exit(EXIT_FAULT)


def _other_damage(
    workspace: Workspace, batch: str | None, known: set[str]
) -> Iterator[dict[str, str]]:
    """Yield damage of documents, tables and notes that is not known yet."""
    for one in repair_store(workspace, [batch] if batch else []).damages:
        if one.key not in known:
            fault = f"{one.key}: {one.found}"
            yield {"batch": batch or "", "clip": "", "key": one.key, "fault": fault}


@click.command()
@options.root
@click.argument("batches", metavar="[BATCH]...", nargs=-1)
@click.option("--apply", is_flag=True, help="Mend the damage. Without this flag, only report.")
@options.as_json
def repair(
    *, root: str, batches: tuple[str, ...], root_options: Options, apply: bool, as_json: bool
) -> None:
    """Report, or with --apply mend, damaged documents, tables and notes.

    Checks every batch unless you name some. To mend frames, run a batch with `extraction.repair`.
    Exit code 1 means that damage is left.
    """
    report = repair_store(options.workspace(root, root_options), batches, dry_run=not apply)
    if as_json:
        output.document(report)
    else:
        output.table(
            [{**asdict(one), "mended": _mended(one, report)} for one in report.damages],
            "key", "found", "remedy", "mended",
        )  # fmt: skip
    if report.left:
        sys.exit(EXIT_FAULT)


def _mended(one: Damage, report: RepairReport) -> str:
    if not one.can_mend:
        return "no"
    return "no: give --apply" if report.dry_run else "yes"


@click.command()
@options.root
@click.option(
    "--to",
    type=click.Choice(list(COMPRESSIONS)),
    required=True,
    help="Compression to move to. "
    + " ".join(f"{one.name}: {one.summary}." for one in COMPRESSIONS.values()),
)
@options.batches
@click.option(
    "--signature",
    "signatures",
    multiple=True,
    help="Take this signature only, by its key. Repeat it for several. Default: every signature.",
)
@options.processes
@options.as_json
def recompress(
    *,
    root: str,
    to: str,
    batches: tuple[str, ...],
    signatures: tuple[str, ...],
    processes: int,
    root_options: Options,
    as_json: bool,
) -> None:
    """Move stored frames to another lossless compression. Pixels and data versions stay the same.

    Opens no video. Run it again after an interruption: clips that have the compression already are
    passed over. `gc` frees the former bytes after its grace period. Exit code 1 means that a clip
    is damaged.
    """
    with output.progress("clips", quiet=as_json) as progress:
        report = recompress_store(
            options.workspace(root, root_options),
            batches,
            to=to,
            signatures=signatures,
            workers=Workers(processes),
            progress=progress,
        )
    if as_json:
        output.document(report)
    else:
        sizes = {name: output.size(getattr(report, name)) for name in _SIZES}
        output.facts({**asdict(report), **sizes, "faults": len(report.faults)})
        for fault in report.faults:
            output.complaint(str(fault))
    if report.faults:
        sys.exit(EXIT_FAULT)


@click.command()
@options.root
@click.argument("batch", required=False)
@options.delete
@options.grace_hours
@options.as_json
def gc(
    *,
    root: str,
    batch: str | None,
    root_options: Options,
    delete: bool,
    grace_hours: float,
    as_json: bool,
) -> None:
    """Report, or with --delete remove, objects that no commit or manifest references.

    Exit code 1 means that a commit or manifest is damaged. Its objects are kept.
    """
    report = options.workspace(root, root_options).store.collect_garbage(
        batch, grace_seconds=3600 * grace_hours, dry_run=not delete
    )
    if as_json:
        output.document(report)
    else:
        counts = {"attempts": len(report.attempts), "unfinished_writes": len(report.temporary)}
        freed = output.freed(report.objects, report.bytes, dry_run=report.dry_run)
        output.facts({**counts, **freed, "stamped_in_the_future": len(report.ahead)})
        for key in report.unreadable:
            message = f"{key} is damaged: all objects that it may refer to were kept; run repair"
            output.complaint(message)
    if report.unreadable:
        sys.exit(EXIT_FAULT)


@click.command()
@options.root
@click.argument("batch")
@click.option("--withdraw", is_flag=True, help="Also withdraw its frames and tables.")
@click.option("--undo", is_flag=True, help="Bring the batch back into use.")
def retire(*, root: str, batch: str, root_options: Options, withdraw: bool, undo: bool) -> None:
    """Take BATCH out of use. Its videos stay in it, and join no other batch."""
    workspace = options.workspace(root, root_options)
    if undo:
        workspace.batches.restore(batch)
        output.line(f"{batch} is in use")
        return
    clips = retire_batch(batch, workspace, withdraw=withdraw)
    kept = f"{clips} stored clips withdrawn: run gc" if withdraw else "its frames are kept"
    output.line(f"{batch} is retired; {kept}")


@click.command()
@options.root
@click.option("--clear", metavar="FAMILY", help="Decode a family by plan again, after an upgrade.")
@options.as_json
def suspects(*, root: str, root_options: Options, clear: str | None, as_json: bool) -> None:
    """List families of videos with a wrong decode plan, and the findings.

    Videos of such a family are decoded from their start, and the next run of a batch extracts their
    frames again.
    """
    known = Suspects(options.workspace(root, root_options).store.objects)
    if clear is not None:
        known.clear(clear)
        output.line(f"{clear} is decoded by plan again")
        return
    found = known.read()
    if as_json:
        output.document(found)
        return
    rows = [
        asdict(one) | {"family": one.key, "videos": one.description, "found": "; ".join(one.found)}
        for one in found
    ]
    columns = ("family", "videos", "batch", "signature", "video", "version", "created", "found")
    if rows:
        output.table(rows, *columns)
    else:
        output.complaint("no suspect families")
