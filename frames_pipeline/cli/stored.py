"""Commands that show stored batches and frames: `ls`, `show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from frames_pipeline.cli import options, output
from frames_pipeline.cli.options import Options
from frames_pipeline.pipeline import Workspace, sheet_of_batch
from frames_pipeline.pipeline.suspects import Suspects, suspect_clips
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store.layout import SignatureFolder


@click.command()
@options.root
@click.argument("batch", required=False)
@options.as_json
def ls(*, root: str, batch: str | None, root_options: Options, as_json: bool) -> None:
    """List batches with their stored frames, or the clips of one BATCH."""
    workspace = options.workspace(root, root_options)
    rows = list(_batches(workspace) if batch is None else _clips(workspace, batch))
    if as_json:
        output.document(rows)
    elif rows:
        output.table(rows, *rows[0])
    else:
        output.complaint("no batches" if batch is None else f"no stored clips of {batch}")


def _batches(workspace: Workspace) -> Iterator[dict[str, Any]]:
    retired, suspects = set(workspace.batches.retired()), Suspects(workspace.store.objects).keys()
    stored = set(workspace.store.batches())
    for batch in sorted(stored | set(workspace.batches.keys()) | retired):
        for signature in workspace.store.signatures(batch) if batch in stored else [""]:
            state = workspace.store.inspect(batch, signature) if signature else None
            commits = state.commits.values() if state else ()
            marks = ["retired"] * (batch in retired) + ["damaged"] * bool(state and state.damage)
            yield {
                "batch": batch,
                "state": " ".join(marks),
                "signature": signature,
                "clips": len(commits),
                "frames": sum(commit.num_frames for commit in commits),
                "bytes": sum(commit.bytes for commit in commits),
                "suspect": len(suspect_clips(batch, commits, workspace, suspects)),
            }


def _clips(workspace: Workspace, batch: str) -> Iterator[dict[str, Any]]:
    suspects = Suspects(workspace.store.objects).keys()
    for signature in workspace.store.signatures(batch):
        folder = SignatureFolder(batch, signature).path
        state = workspace.store.inspect(batch, signature)
        for key, found in state.damage.items():
            output.complaint(f"{key} {found}; run `frames-pipeline repair`")
        commits = state.commits.values()
        wrong = suspect_clips(batch, commits, workspace, suspects)
        for commit in commits:
            yield {
                "clip": commit.clip_id,
                "signature": signature,
                "status": commit.outcome.status,
                "suspect": "yes" if commit.clip_id in wrong else "",
                "frames": commit.num_frames,
                "size": f"{commit.height}x{commit.width}",
                "bytes": commit.bytes,
                "path": f"{folder}/{commit.path}",
            }


@click.command()
@options.root
@click.argument("batch")
@click.argument("signature")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="JPEG file to write.")
@click.option("--tiles", default=24, show_default=True, help="Maximum number of frames.")
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
    """Show a contact sheet of a batch's frames, in the terminal or in a file.

    SIGNATURE is a key from `frames-pipeline ls`.
    """
    workspace = options.workspace(root, root_options)
    manifest = workspace.store.manifest(batch, signature)
    sheet = sheet_of_batch(
        manifest,
        FrameExtractionSignature.from_mapping(manifest.signature),
        workspace,
        max_tiles=tiles,
    )
    if out is None:
        output.picture(sheet, columns=columns)
    else:
        out.write_bytes(sheet)
        output.line(f"{out}: {output.size(len(sheet))}")
