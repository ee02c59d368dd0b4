"""`frames-pipeline lineage`: from a video or frame to its rows, and back."""

from __future__ import annotations

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options
from frames_pipeline.pipeline import (
    DERIVED,
    RowOrigin,
    Uses,
    origins_of_rows,
    uses_of_frame,
    uses_of_video,
)
from frames_pipeline.text.keys import as_text


@click.group()
def lineage() -> None:
    """Trace rows to frames and videos, and videos and frames to rows."""


@lineage.command("video")
@options.root
@click.argument("video")
@options.as_json
def lineage_of_video(*, root: str, video: str, root_options: Options, as_json: bool) -> None:
    """List the frames and rows made from VIDEO, a path relative to its source."""
    found = uses_of_video(as_text(video), options.workspace(root, root_options))
    _print_uses(found, as_json=as_json)


@lineage.command("frame")
@options.root
@click.argument("batch")
@click.argument("clip")
@click.argument("position", type=int)
@options.as_json
def lineage_of_frame(
    *, root: str, batch: str, clip: str, position: int, root_options: Options, as_json: bool
) -> None:
    """List the rows made from one frame. POSITION counts the stream's shown frames from 0."""
    found = uses_of_frame(batch, clip, position, options.workspace(root, root_options))
    _print_uses(found, as_json=as_json)


@lineage.command("rows")
@options.root
@click.argument("table", type=click.Choice(DERIVED))
@click.argument("batch")
@click.option("--clip", help="List the rows of this clip only.")
@options.as_json
def lineage_of_rows(
    *, root: str, table: str, batch: str, clip: str | None, root_options: Options, as_json: bool
) -> None:
    """List frames, video and provider behind each row of a TABLE."""
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
        output.complaint("no frames or rows")


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
