"""Pictures of a batch's stored frames. Only the frames in the picture are read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import IntegrityError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.pictures.contact_sheet import sheet_of
from frames_pipeline.pictures.timeline import Lane, timeline
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sampling import spread
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, ClipDescription, Manifest, StoredClip
from frames_pipeline.tables import ClipRow, present


@old_parameters(places="workspace")
def sheet_of_batch(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    max_tiles: int = 24,
    max_bytes: int = 200_000,
) -> bytes:
    """Return a JPEG of frames spread evenly over the clips of a published batch.

    A clip that is damaged in the store becomes an empty tile with a note, so that a picture never
    fails a step. Checks report the damage.
    """
    names = list(manifest.clips)
    shown = [names[i] for i in spread(len(names), min(len(names), max_tiles))]
    per_clip = max(1, max_tiles // max(len(shown), 1))
    clips = {name: _some_of(manifest, name, workspace, per_clip) for name in shown}
    title = f"{manifest.batch_key} · {signature.key}"
    return sheet_of(clips, title=title, max_tiles=max_tiles, max_bytes=max_bytes)


@old_parameters(places="workspace")
def timeline_of_batch(manifest: Manifest, workspace: Workspace, *, max_lanes: int = 24) -> bytes:
    """Return a PNG timeline of the frames, for clips spread evenly over a published batch.

    A clip that is damaged in the store has a line without frames.
    """
    names = list(manifest.clips)
    shown = [names[i] for i in spread(len(names), min(len(names), max_lanes))]
    described = _described(manifest, shown, workspace)
    clips = {row.clip_id: row for row in workspace.read(ClipRow, manifest.batch_key)}
    lanes = [
        Lane(
            name.rpartition("#")[0] or name,
            start=present(clips[name].start_seconds, "start_seconds"),
            duration=present(clips[name].duration_seconds, "duration_seconds"),
            times=described[name].seconds.tolist() if name in described else [],
            corrupt=described[name].corrupt.tolist() if name in described else [],
            missing=_missing(manifest.clips[name], described.get(name)),
        )
        for name in shown
        if name in clips
    ]
    note = f"{len(lanes)} of {len(names)} clips"
    if unreadable := len(set(shown) - set(described)):
        note += f", {unreadable} damaged in the store"
    return timeline(lanes, title=f"{manifest.batch_key} · {manifest.signature_key}", note=note)


def _described(
    manifest: Manifest, shown: Sequence[str], workspace: Workspace
) -> dict[str, ClipDescription]:
    """Return the descriptions of clips by id; damaged clips are left out."""
    part = replace(manifest, clips={name: manifest.clips[name] for name in shown})
    try:
        return workspace.store.describe(part)
    except IntegrityError:
        described: dict[str, ClipDescription] = {}
        for name in shown:
            alone = replace(manifest, clips={name: manifest.clips[name]})
            with contextlib.suppress(IntegrityError):
                described |= workspace.store.describe(alone)
        return described


def _missing(commit: ClipCommit, described: ClipDescription | None) -> int:
    """Return the number of frames missing from a row: undecodable ones, or all if damaged."""
    return commit.num_frames if described is None else len(commit.outcome.missing)


def _some_of(manifest: Manifest, name: str, workspace: Workspace, count: int) -> FrameBatch | None:
    """Return a few frames of a clip; `None` if it is damaged in the store."""
    commit = manifest.clips[name]
    try:
        return _some(
            workspace.store.open_commit(manifest.batch_key, manifest.signature_key, commit), count
        )
    except IntegrityError:
        return None


def _some(clip: StoredClip, count: int) -> FrameBatch:
    """Return a few frames of a clip, spread evenly."""
    chosen = spread(len(clip.pts), min(len(clip.pts), count))
    flags = {name: np.asarray(clip.attributes[name], np.bool_) for name in ("key_frame", "corrupt")}
    return FrameBatch(
        frames=np.stack([np.asarray(clip.frames[i]) for i in chosen]),
        pts=clip.pts[chosen],
        time_base=clip.time_base,
        positions=clip.positions[chosen],
        key_frame=flags["key_frame"][chosen],
        corrupt=flags["corrupt"][chosen],
        outcome=clip.commit.outcome,
    )
