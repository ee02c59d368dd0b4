"""The commands. Each calls the library, and prints what it says."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.dry_runs import changes
from frames_pipeline.cli.options import Options, Signatures
from frames_pipeline.cli.queries import sql
from frames_pipeline.clipping import Clipping
from frames_pipeline.errors import ConfigError, FramesPipelineError
from frames_pipeline.export.export import (
    Encoding,
    export_images,
    export_lance,
    export_parquet,
    export_webdataset,
)
from frames_pipeline.extract import probe as probe_source
from frames_pipeline.pipeline import (
    DERIVED,
    Amount,
    Damage,
    Prices,
    RepairReport,
    RowOrigin,
    Sizing,
    Uses,
    Workspace,
    estimate_extraction,
    extract_uris,
    origins_of_rows,
    repair_store,
    retire_batch,
    sheet_of_batch,
    uses_of_frame,
    uses_of_video,
)
from frames_pipeline.pipeline.extraction import Progress
from frames_pipeline.pipeline.suspects import Suspects, suspect_clips
from frames_pipeline.readers.packs import PruneReport, pack_frames, prune_pack
from frames_pipeline.readers.stored_frames import open_frames
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.entries import said_of
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.store import GarbageReport
from frames_pipeline.text.keys import as_text, key_of
from frames_pipeline.text.plain import fit_to_show
from frames_pipeline.workers.local import Workers

FOUND = 1
"""Exit code: something is not as it should be."""
CANNOT = 2
"""Exit code: the command cannot be done as it was given."""


class _Commands(click.Group):
    """Errors on purpose are a line that says what to do, not a traceback."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        with _legible_usage():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _legible_usage():
                return super().invoke(ctx)
        except FramesPipelineError as error:
            output.complaint(f"frames-pipeline: {error}")
            ctx.exit(CANNOT if isinstance(error, ConfigError) else FOUND)


@contextlib.contextmanager
def _legible_usage() -> Iterator[None]:
    """Escape control characters of arguments in click's usage errors."""
    try:
        yield
    except click.ClickException as error:
        said = error.format_message()
        if said == fit_to_show(said):
            raise
        raise click.UsageError(fit_to_show(said), getattr(error, "ctx", None)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="frames-pipeline")
def main() -> None:
    """Exact frames of videos: probe, plan, extract, look, verify.

    A ROOT is the folder or bucket that has batches, frames and tables; a BATCH is a key in it.
    """


main.add_command(changes)
main.add_command(sql)


@main.command()
@click.argument("uris", nargs=-1, required=True)
@options.as_json
def probe(*, uris: tuple[str, ...], as_json: bool) -> None:
    """What videos hold, told from their packets."""
    rows = [_probed(uri) for uri in uris]
    if as_json:
        output.document(rows)
    else:
        output.table(map(_on_one_line, rows), *rows[0])
    if any(row["status"] != "ok" for row in rows):
        sys.exit(FOUND)


def _probed(uri: str) -> dict[str, Any]:
    row: dict[str, Any] = {"uri": key_of(uri), "status": "ok", "codec": "", "width": 0, "height": 0}
    row |= {"rotation": 0, "crop": "", "frames": 0, "seconds": 0.0, "rate": "", "key_frames": 0}
    row |= {"timestamps": "", "detail": ""}
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
        "frames": index.num_frames,
        "seconds": round(index.duration_seconds, 3),
        "rate": str(index.average_rate),
        "key_frames": int(index.shown_key.sum()),
        "timestamps": index.timestamps,
        "detail": index.timestamps_detail,
    }


@main.command()
@click.argument("source")
@options.signatures
@options.clipping
@click.option("--sample", default=20, show_default=True, help="Videos to look into.")
@click.option("--seed", default=0, show_default=True, help="Chooses the same videos again.")
@click.option("--processes", default=0, help="Worker processes; 0: one per core.")
@click.option("--batch-size", default=32, show_default=True, help="Videos of a batch.")
@click.option(
    "--gpu-frames-per-second",
    type=float,
    help="Coded frames that one GPU decodes a second; `make bench-gpu` measures it.",
)
@options.prices
@options.source_options
@options.suffixes
@options.follow_links
@options.as_json
def plan(
    *,
    source: str,
    signatures: Signatures,
    clipping: Clipping,
    sample: int,
    seed: int,
    processes: int,
    batch_size: int,
    gpu_frames_per_second: float | None,
    prices: Prices,
    source_options: Options,
    suffixes: tuple[str, ...],
    follow_links: bool,
    as_json: bool,
) -> None:
    """What an extraction will come to, from a sample.

    The sample is extracted and thrown away. SOURCE is a folder or bucket of videos. Two times out
    of three the truth lies within the error. Costs appear only for items with a price.
    docs/operations/sizing.md lists the items.
    """
    found = estimate_extraction(
        VideoSource(source, source_options, suffixes=suffixes, follow_links=follow_links),
        signatures,
        clipping=clipping,
        sample=sample,
        seed=seed,
        batch_size=batch_size,
        workers=Workers(processes),
    )
    costs = found.costs(prices, gpu_frames_per_second=gpu_frames_per_second)
    gpu = None if gpu_frames_per_second is None else found.gpu_seconds(gpu_frames_per_second)
    if as_json:
        output.document({**asdict(found), "gpu_seconds": gpu, "costs": costs})
    else:
        output.facts(_planned(found, gpu, costs))


def _planned(found: Sizing, gpu: Amount | None, costs: Mapping[str, Amount]) -> dict[str, Any]:
    """An estimate in the units that people think in."""
    return {
        "videos": found.videos,
        "video_bytes": output.size(found.video_bytes),
        "sampled": found.sampled,
        "cannot_be_read": len(found.failed),
        "passed_over": said_of(found.passed_over),
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


@main.command()
@click.argument("uris", nargs=-1, required=True)
@click.option("--root", required=True, help="Folder or bucket to keep the frames in.")
@options.signatures
@options.clipping
@click.option("--decoder", default="pyav", show_default=True, help="pyav, nvdec or auto.")
@click.option("--processes", default=0, help="Worker processes; 0: one per core.")
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
    processes: int,
    source_options: Options,
    root_options: Options,
    as_json: bool,
) -> None:
    """Extract frames of videos, and keep them under ROOT/adhoc.

    What was done before is not done again. Exit code 1 says that a clip failed.
    """
    with _progress(quiet=as_json) as progress:
        reports = extract_uris(
            uris,
            signatures,
            root,
            clipping=clipping,
            source_options=source_options,
            root_options=root_options,
            decoder=decoder,
            workers=Workers(processes),
            progress=progress,
        )
    rows = [
        {name: row[name] for name in ("clip_id", "status", "frames", "bytes", "detail")}
        | {"signature": signature.key, "batch": report.manifest.batch_key}
        for found in reports
        for signature, report in found.frames.items()
        for row in report.outcomes.to_pylist()
    ]
    if as_json:
        output.document(rows)
    else:
        columns = ("batch", "clip_id", "signature", "status", "frames", "bytes", "detail")
        output.table(map(_on_one_line, rows), *columns)
    if any(row["status"] == "failed" for row in rows):
        sys.exit(FOUND)


def _on_one_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the traceback that its detail may have; JSON has it."""
    return {**row, "detail": row["detail"].partition("\n")[0]}


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A bar on the error output, where that is a terminal."""
    with click.progressbar(
        length=1, label="clips", file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield tell


@main.command()
@options.root
@click.argument("batch", required=False)
@options.as_json
def ls(*, root: str, batch: str | None, root_options: Options, as_json: bool) -> None:
    """Batches and what is stored of them; or the clips of one BATCH."""
    here = options.workspace(root, root_options)
    rows = list(_batches(here) if batch is None else _clips(here, batch))
    if as_json:
        output.document(rows)
    elif rows:
        output.table(rows, *rows[0])
    else:
        output.complaint("nothing")


def _batches(here: Workspace) -> Iterator[dict[str, Any]]:
    retired, suspects = set(here.batches.retired()), Suspects(here.store.objects).keys()
    stored = set(here.store.batches())
    for batch in sorted(stored | set(here.batches.keys()) | retired):
        for signature in here.store.signatures(batch) if batch in stored else [""]:
            state = here.store.inspect(batch, signature) if signature else None
            commits = state.commits.values() if state else ()
            marks = ["retired"] * (batch in retired) + ["damaged"] * bool(state and state.damage)
            yield {
                "batch": batch,
                "state": " ".join(marks),
                "signature": signature,
                "clips": len(commits),
                "frames": sum(commit.num_frames for commit in commits),
                "bytes": sum(commit.bytes for commit in commits),
                "suspect": len(suspect_clips(batch, commits, here, suspects)),
            }


def _clips(here: Workspace, batch: str) -> Iterator[dict[str, Any]]:
    suspects = Suspects(here.store.objects).keys()
    for signature in here.store.signatures(batch):
        state = here.store.inspect(batch, signature)
        for key, found in state.damage.items():
            output.complaint(f"{key} {found}; run `frames-pipeline repair`")
        commits = state.commits.values()
        wrong = suspect_clips(batch, commits, here, suspects)
        for commit in commits:
            yield {
                "clip": commit.clip_id,
                "signature": signature,
                "status": commit.outcome.status,
                "suspect": "yes" if commit.clip_id in wrong else "",
                "frames": commit.num_frames,
                "size": f"{commit.height}x{commit.width}",
                "bytes": commit.bytes,
                "path": f"frames/{batch}/{signature}/{commit.path}",
            }


@main.command()
@options.root
@click.argument("batch")
@click.argument("signature")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="A JPEG file to write.")
@click.option("--tiles", default=24, show_default=True, help="The most frames to show.")
@click.option("--columns", default=100, show_default=True, help="Width in the terminal.")
def show(
    *,
    root: str,
    batch: str,
    signature: str,
    root_options: Options,
    out: Path | None,
    tiles: int,
    columns: int,
) -> None:
    """A contact sheet of a batch's frames.

    It goes to the terminal, or to a file. SIGNATURE is a key, as `ls` prints it.
    """
    here = options.workspace(root, root_options)
    manifest = here.store.manifest(batch, signature)
    sheet = sheet_of_batch(
        manifest, FrameExtractionSignature.from_mapping(manifest.signature), here, max_tiles=tiles
    )
    if out is None:
        output.picture(sheet, columns=columns)
    else:
        out.write_bytes(sheet)
        output.line(f"{out}: {output.size(len(sheet))}")


@main.command()
@options.root
@click.argument("signature")
@click.argument("target")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["webdataset", "images", "parquet", "lance"]),
    required=True,
    help="Tar shards, a picture per frame, rows with pixels, or a Lance dataset.",
)
@click.option("--batch", "batches", multiple=True, help="Of these batches alone.")
@click.option("--png", "is_png", is_flag=True, help="Exact pixels; otherwise JPEG.")
@click.option("--quality", default=90, show_default=True, help="Of JPEG, 1 to 95.")
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
    """Write frames in a form that others read.

    The frames of SIGNATURE go to TARGET. SIGNATURE is a key, as `ls` prints it. A TARGET that is
    taken is refused.
    """
    frames = open_frames(
        root, signature=signature, batches=batches or None, storage_options=root_options
    )
    encoding = Encoding("png") if is_png else Encoding("jpeg", quality)
    writers: dict[str, Callable[..., object]] = {
        "webdataset": export_webdataset,
        "images": export_images,
        "parquet": export_parquet,
        "lance": export_lance,
    }
    with _progress(quiet=False) as progress:
        writers[kind](
            frames, target, encoding=encoding, storage_options=target_options, progress=progress
        )
    output.line(f"{target}: {len(frames)} clips")


@main.command()
@options.root
@click.argument("signature")
@click.argument("target")
@click.option("--batch", "batches", multiple=True, help="Of these batches alone.")
@click.option("--codec", default="zstd", show_default=True, help="zstd, or none.")
@click.option("--part-bytes", default=2**30, show_default=True, help="Raw bytes of a part.")
@click.option("--repair", "repairs", is_flag=True, help="Read the pack, and mend any damage.")
@options.target_options
@options.as_json
def pack(
    *,
    root: str,
    signature: str,
    target: str,
    batches: tuple[str, ...],
    codec: str,
    part_bytes: int,
    repairs: bool,
    root_options: Options,
    target_options: Options,
    as_json: bool,
) -> None:
    """Copy frames into few large objects, for training.

    The frames of SIGNATURE go to TARGET. SIGNATURE is a key, as `ls` prints it. What TARGET has
    already is not copied again.
    """
    frames = open_frames(
        root, signature=signature, batches=batches or None, storage_options=root_options
    )
    with _progress(quiet=as_json) as progress:
        report = pack_frames(
            frames,
            target,
            codec=codec,
            part_bytes=part_bytes,
            repair=repairs,
            storage_options=target_options,
            progress=progress,
        )
    if as_json:
        output.document(report)
    else:
        output.facts(asdict(report) | {"bytes": output.size(report.bytes)})


@main.command()
@click.argument("target")
@options.delete
@options.grace_hours
@options.target_options
@options.as_json
def prune(
    *, target: str, delete: bool, grace_hours: float, target_options: Options, as_json: bool
) -> None:
    """Parts that a pack does not name: how much they are; delete them.

    TARGET is a pack. They are of a writer that was killed, or of what the pack was before.
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
        output.facts({"parts": len(report.parts), **_freed(report)})


@main.command()
@options.root
@click.argument("batch", required=False)
@click.option("--deep", is_flag=True, help="Read every object, not only the listing.")
@options.as_json
def verify(
    *, root: str, batch: str | None, root_options: Options, deep: bool, as_json: bool
) -> None:
    """Compare stored objects with their commits. Exit code 1 means that they differ.

    With --deep, also compare tables, batches and notes with their checksums.
    """
    here = options.workspace(root, root_options)
    rows, faults = [], []
    for one in [batch] if batch is not None else here.store.batches():
        report = here.store.verify(one, deep=deep)
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
        faults += list(_besides(here, batch, {fault["key"] for fault in faults}))
    if as_json:
        output.document({"batches": rows, "faults": faults})
    else:
        output.table(rows, "batch", "clips", "objects", "bytes", "faults")
        for fault in faults:
            output.complaint(fault["fault"])
    if faults:
        sys.exit(FOUND)


def _besides(here: Workspace, batch: str | None, known: set[str]) -> Iterator[dict[str, str]]:
    """Yield damage of documents, tables and notes that is not known yet."""
    for one in repair_store(here, [batch] if batch else []).damages:
        if one.key not in known:
            fault = f"{one.key}: {one.found}"
            yield {"batch": batch or "", "clip": "", "key": one.key, "fault": fault}


@main.command()
@options.root
@click.argument("batches", metavar="BATCH...", nargs=-1)
@click.option("--apply", is_flag=True, help="Mend them. Without this flag, only report.")
@options.as_json
def repair(
    *, root: str, batches: tuple[str, ...], root_options: Options, apply: bool, as_json: bool
) -> None:
    """Find damaged documents, tables and notes, and mend them from the rest.

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
        sys.exit(FOUND)


def _mended(one: Damage, report: RepairReport) -> str:
    if not one.can_mend:
        return "no"
    return "no: give --apply" if report.dry_run else "yes"


@main.command()
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
    """What nobody names: how much it is; delete it.

    That is what no commit and no manifest names. It is deleted if that is asked for.
    """
    report = options.workspace(root, root_options).store.collect_garbage(
        batch, grace_seconds=3600 * grace_hours, dry_run=not delete
    )
    if as_json:
        output.document(report)
    else:
        counts = {"attempts": len(report.attempts), "unfinished_writes": len(report.temporary)}
        output.facts({**counts, **_freed(report), "stamped_in_the_future": len(report.ahead)})
        for key in report.unreadable:
            message = f"{key} is damaged: all objects that it may refer to were kept; run repair"
            output.complaint(message)
    if report.unreadable:
        sys.exit(FOUND)


@main.command()
@options.root
@click.argument("batch")
@click.option("--withdraw", is_flag=True, help="Take its frames and tables back, too.")
@click.option("--undo", is_flag=True, help="Bring it back into use.")
def retire(*, root: str, batch: str, root_options: Options, withdraw: bool, undo: bool) -> None:
    """Take a BATCH out of use. Its videos stay sealed in it."""
    here = options.workspace(root, root_options)
    if undo:
        here.batches.restore(batch)
        output.line(f"{batch} is in use")
        return
    clips = retire_batch(batch, here, withdraw=withdraw)
    kept = f"{clips} stored clips withdrawn: run gc" if withdraw else "its frames are kept"
    output.line(f"{batch} is retired; {kept}")


@main.command()
@options.root
@click.option("--clear", metavar="FAMILY", help="Put a family back to plans, after an upgrade.")
@options.as_json
def suspects(*, root: str, root_options: Options, clear: str | None, as_json: bool) -> None:
    """List families of videos that a plan was wrong for, with the findings.

    Their videos are decoded linearly, and the next run of a batch makes their frames again.
    """
    here = Suspects(options.workspace(root, root_options).store.objects)
    if clear is not None:
        here.clear(clear)
        output.line(f"{clear} is decoded by plan again")
        return
    found = here.read()
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
        output.complaint("nothing")


def _freed(report: GarbageReport | PruneReport) -> dict[str, Any]:
    return {
        "objects": report.objects,
        "bytes": output.size(report.bytes),
        "deleted": "no: give --delete" if report.dry_run else "yes",
    }


@main.group()
def lineage() -> None:
    """What came from what, down to the frame."""


@lineage.command("video")
@options.root
@click.argument("video")
@options.as_json
def lineage_of_video(*, root: str, video: str, root_options: Options, as_json: bool) -> None:
    """What was made from a VIDEO, named relative to its source."""
    _print_uses(
        uses_of_video(as_text(video), options.workspace(root, root_options)), as_json=as_json
    )


@lineage.command("frame")
@options.root
@click.argument("batch")
@click.argument("clip")
@click.argument("position", type=int)
@options.as_json
def lineage_of_frame(
    *, root: str, batch: str, clip: str, position: int, root_options: Options, as_json: bool
) -> None:
    """What was made from one frame: POSITION counts the stream's shown frames."""
    found = uses_of_frame(batch, clip, position, options.workspace(root, root_options))
    _print_uses(found, as_json=as_json)


@lineage.command("rows")
@options.root
@click.argument("table", type=click.Choice(DERIVED))
@click.argument("batch")
@click.option("--clip", help="Of this clip alone.")
@options.as_json
def lineage_of_rows(
    *, root: str, table: str, batch: str, clip: str | None, root_options: Options, as_json: bool
) -> None:
    """What made the rows of a TABLE: frames, video, provider."""
    rows = tuple(origins_of_rows(table, batch, options.workspace(root, root_options), clip_id=clip))
    _print_uses(Uses((), rows), as_json=as_json)


def _print_uses(found: Uses, *, as_json: bool) -> None:
    if as_json:
        output.document(found)
        return
    frames = [
        {
            "clip": one.clip_id,
            "signature": one.signature,
            "video": one.uri,
            "current": "yes" if one.is_current else "no",
            "path": one.path,
        }
        for one in found.frames
    ]
    if frames:
        output.table(frames, *frames[0])
        output.line()
    rows = [_row(one) for one in found.rows]
    if rows:
        output.table(rows, *rows[0])
    if not frames and not rows:
        output.complaint("nothing")


def _row(one: RowOrigin) -> dict[str, str]:
    return {
        "table": f"{one.table}/{one.name}" if one.name else one.table,
        "clip": one.frames.clip_id,
        "positions": " ".join(map(str, one.positions)),
        "seconds": " ".join(f"{seconds:.3f}" for seconds in one.seconds),
        "video": one.frames.uri,
        "provider": one.provider,
        "up_to_date": "yes" if one.made_from_them else "no",
        "says": str(one.says.get("text", "")),
    }
