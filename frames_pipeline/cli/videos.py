"""Commands that open videos: `probe`, `estimate`, `extract`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.app import EXIT_FAULT
from frames_pipeline.cli.options import Options, Signatures
from frames_pipeline.clipping import Clipping
from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.extract import probe as probe_source
from frames_pipeline.frames import PictureFormat
from frames_pipeline.pipeline import (
    Amount,
    FramesReport,
    Prices,
    Sizing,
    describe_format,
    estimate_extraction,
    extract_uris,
    format_columns,
)
from frames_pipeline.sources.entries import describe_passed_over
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.text.keys import key_of
from frames_pipeline.workers.local import Workers

_FORMAT: Final = tuple(field.name for field in fields(PictureFormat))
"""Facts for programs; for people, `picture` sums them up."""


@click.command()
@click.argument("uris", nargs=-1, required=True)
@options.as_json
def probe(*, uris: tuple[str, ...], as_json: bool) -> None:
    """Show codec, size, picture format, frames, length and timestamps of videos.

    Reads packets and headers, and decodes one frame. Exit code 1 means that a video cannot be read.
    """
    rows = [_probed(uri) for uri in uris]
    if as_json:
        output.document(rows)
    else:
        shown = [name for name in rows[0] if name not in _FORMAT]
        output.table(map(_on_one_line, rows), *shown)
    if any(row["status"] != "ok" for row in rows):
        sys.exit(EXIT_FAULT)


def _probed(uri: str) -> dict[str, Any]:
    row: dict[str, Any] = {"uri": key_of(uri), "status": "ok", "codec": "", "width": 0, "height": 0}
    row |= {"rotation": 0, "crop": "", "picture": "", **dict.fromkeys(_FORMAT)}
    row |= {"frames": 0, "seconds": 0.0, "rate": "", "key_frames": 0, "timestamps": ""}
    row |= {"detail": ""}
    try:
        index = probe_source(uri)
    except FramesPipelineError as error:
        return row | {"status": error.reason, "detail": key_of(str(error))}
    return row | {
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "rotation": index.rotation,
        "crop": "" if index.container_crop is None else "/".join(map(str, index.container_crop)),
        "picture": describe_format(index.picture),
        **format_columns(index.picture),
        "frames": index.num_frames,
        "seconds": round(index.duration_seconds, 3),
        "rate": str(index.average_rate),
        "key_frames": int(index.shown_key.sum()),
        "timestamps": index.timestamps,
        "detail": index.timestamps_detail,
    }


@click.command()
@click.argument("source")
@options.signatures
@options.clipping
@click.option("--sample", default=20, show_default=True, help="Number of videos to open.")
@click.option("--seed", default=0, show_default=True, help="Seed that picks the sample.")
@options.processes
@click.option("--batch-size", default=32, show_default=True, help="Videos per batch.")
@click.option(
    "--gpu-frames-per-second",
    type=float,
    help="Coded frames that one GPU decodes per second. Measure it with `make bench-gpu`.",
)
@options.compression
@options.prices
@options.source_options
@options.suffixes
@options.follow_links
@options.as_json
def estimate(
    *,
    source: str,
    signatures: Signatures,
    clipping: Clipping,
    sample: int,
    seed: int,
    processes: int,
    batch_size: int,
    compression: str,
    gpu_frames_per_second: float | None,
    prices: Prices,
    source_options: Options,
    suffixes: tuple[str, ...],
    follow_links: bool,
    as_json: bool,
) -> None:
    """Estimate the size, time and cost of an extraction from a sample.

    SOURCE is a folder or bucket of videos. Extracts the sample and discards the frames. Each amount
    has a standard error: two times out of three, the true amount lies within it. Costs appear only
    for items given with --price. docs/operations/sizing.md lists the items.
    """
    found = estimate_extraction(
        VideoSource(source, source_options, suffixes=suffixes, follow_links=follow_links),
        signatures,
        clipping=clipping,
        sample=sample,
        seed=seed,
        batch_size=batch_size,
        compression=compression,
        workers=Workers(processes),
    )
    costs = found.costs(prices, gpu_frames_per_second=gpu_frames_per_second)
    gpu = None if gpu_frames_per_second is None else found.gpu_seconds(gpu_frames_per_second)
    if as_json:
        output.document({**asdict(found), "gpu_seconds": gpu, "costs": costs})
    else:
        output.facts(_in_everyday_units(found, gpu, costs))


def _in_everyday_units(
    found: Sizing, gpu: Amount | None, costs: Mapping[str, Amount]
) -> dict[str, Any]:
    """Return an estimate in hours, gigabytes and money."""
    return {
        "videos": found.videos,
        "video_bytes": output.size(found.video_bytes),
        "sampled": found.sampled,
        "cannot_be_read": len(found.failed),
        "passed_over": describe_passed_over(found.passed_over),
        "hours_of_video": _with_error(found.video_seconds, 3600),
        "clips": _with_error(found.clips),
        "frames": _with_error(found.frames),
        "stored_gigabytes": _with_error(found.frame_bytes, 1e9),
        "stored_objects": _with_error(found.objects),
        "cpu_hours": _with_error(found.cpu_seconds, 3600),
        "gpu_hours": "not measured" if gpu is None else _with_error(gpu, 3600),
        "requests_that_write": _with_error(found.puts),
        "requests_that_read": _with_error(found.gets),
        **{f"cost_of_{name}": _with_error(amount) for name, amount in costs.items()},
    }


def _with_error(amount: Amount, unit: float = 1) -> str:
    return f"{amount.total / unit:,.3g} ± {amount.error / unit:,.2g}"


@click.command()
@click.argument("uris", nargs=-1, required=True)
@click.option("--root", required=True, help="Folder or bucket to store the frames in.")
@options.signatures
@options.clipping
@options.decoder
@options.compression
@options.processes
@options.source_options
@options.root_options
@options.as_json
def extract(
    *,
    uris: tuple[str, ...],
    root: str,
    signatures: Signatures,
    clipping: Clipping,
    decoder: str,
    compression: str,
    processes: int,
    source_options: Options,
    root_options: Options,
    as_json: bool,
) -> None:
    """Extract frames of videos, and store them under ROOT/adhoc.

    Skips frames that are stored already. Exit code 1 means that a clip failed.
    """
    with output.progress("clips", quiet=as_json) as progress:
        reports = extract_uris(
            uris,
            signatures,
            root,
            clipping=clipping,
            source_options=source_options,
            root_options=root_options,
            compression=compression,
            decoder=decoder,
            workers=Workers(processes),
            progress=progress,
        )
    rows = [
        row for found in reports for report in found.frames.values() for row in _outcomes(report)
    ]
    if as_json:
        output.document(rows)
    else:
        columns = ("batch", "clip_id", "signature", "status", "frames", "bytes", "detail")
        output.table(map(_on_one_line, rows), *columns)
    if any(row["status"] == "failed" for row in rows):
        sys.exit(EXIT_FAULT)


def _outcomes(report: FramesReport) -> Iterator[dict[str, Any]]:
    for row in report.rows():
        yield {
            "clip_id": row.clip_id,
            "status": row.status,
            "frames": row.frames,
            "bytes": row.bytes,
            "detail": row.detail,
            "signature": report.signature.key,
            "batch": report.manifest.batch_key,
        }


def _on_one_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without the traceback of its detail, which JSON output keeps."""
    return {**row, "detail": row["detail"].partition("\n")[0]}
