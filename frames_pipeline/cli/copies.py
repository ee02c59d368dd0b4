"""Commands that copy stored frames elsewhere: `export`, `pack`, `prune`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options
from frames_pipeline.export import FORMATS, Encoding
from frames_pipeline.readers.packs import pack_frames, prune_pack
from frames_pipeline.readers.stored_frames import open_frames

_FORMATS_HELP: Final = ", ".join(f"{one.name} ({one.summary})" for one in FORMATS.values())


@click.command()
@options.root
@click.argument("signature")
@click.argument("target")
@click.option(
    "--as",
    "kind",
    type=click.Choice(list(FORMATS)),
    required=True,
    help=f"Format: {_FORMATS_HELP}.",
)
@options.batches
@click.option("--png", "is_png", is_flag=True, help="Write exact pixels as PNG. Default: JPEG.")
@click.option("--quality", default=90, show_default=True, help="JPEG quality, 1 to 95.")
@options.target_options
def export(
    *,
    root: str,
    signature: str,
    target: str,
    kind: str,
    batches: tuple[str, ...],
    is_png: bool,
    quality: int,
    root_options: Options,
    target_options: Options,
) -> None:
    """Export the frames of SIGNATURE to TARGET, in a format that other tools read.

    SIGNATURE is a key from `frames-pipeline ls`. TARGET must be empty.
    """
    frames = open_frames(
        root, signature=signature, batches=batches or None, storage_options=root_options
    )
    encoding = Encoding("png") if is_png else Encoding("jpeg", quality)
    with output.progress("clips", quiet=False) as progress:
        FORMATS[kind].write(
            frames, target, encoding=encoding, storage_options=target_options, progress=progress
        )
    output.line(f"{target}: {len(frames)} clips")


@click.command()
@options.root
@click.argument("signature")
@click.argument("target")
@options.batches
@options.compression
@click.option(
    "--codec",
    hidden=True,
    callback=options.renamed_to("--compression"),
    help="Deprecated: use --compression.",
)
@click.option("--part-bytes", default=2**30, show_default=True, help="Raw bytes per part.")
@click.option(
    "--repair", "repairs", is_flag=True, help="Read the whole pack, and write damaged parts again."
)
@options.target_options
@options.as_json
def pack(
    *,
    root: str,
    signature: str,
    target: str,
    batches: tuple[str, ...],
    compression: str,
    codec: str | None,
    part_bytes: int,
    repairs: bool,
    root_options: Options,
    target_options: Options,
    as_json: bool,
) -> None:
    """Copy the frames of SIGNATURE into few large objects at TARGET, for training.

    SIGNATURE is a key from `frames-pipeline ls`. Run this again to add new frames: parts that
    TARGET has already stay as they are.
    """
    frames = open_frames(
        root, signature=signature, batches=batches or None, storage_options=root_options
    )
    with output.progress("clips", quiet=as_json) as progress:
        report = pack_frames(
            frames,
            target,
            compression=codec or compression,
            part_bytes=part_bytes,
            repair=repairs,
            storage_options=target_options,
            progress=progress,
        )
    if as_json:
        output.document(report)
    else:
        output.facts(asdict(report) | {"bytes": output.size(report.bytes)})


@click.command()
@click.argument("target")
@options.delete
@options.grace_hours
@options.target_options
@options.as_json
def prune(
    *, target: str, delete: bool, grace_hours: float, target_options: Options, as_json: bool
) -> None:
    """Report, or with --delete remove, parts that a pack no longer references.

    TARGET is a pack. Such parts remain from killed writers and from earlier states of the pack.
    """
    report = prune_pack(
        target,
        grace_seconds=3600 * grace_hours,
        dry_run=not delete,
        storage_options=target_options,
    )
    if as_json:
        output.document(report)
    else:
        freed = output.freed(report.objects, report.bytes, dry_run=report.dry_run)
        output.facts({"parts": len(report.parts), **freed})
