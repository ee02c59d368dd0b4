"""Pictures of what is stored for a batch: only the frames that they show are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frames_pipeline.contact_sheet import sheet_of
from frames_pipeline.frames import FrameBatch
from frames_pipeline.pipeline.places import Places
from frames_pipeline.sampling import spread
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import Manifest, StoredClip
from frames_pipeline.timeline import Lane, timeline


def sheet_of_batch(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    places: Places,
    *,
    max_tiles: int = 24,
    max_bytes: int = 200_000,
) -> bytes:
    """A JPEG of frames spread evenly over the clips of a published batch."""
    names = list(manifest.clips)
    shown = [names[i] for i in spread(len(names), min(len(names), max_tiles))]
    per_clip = max(1, max_tiles // max(len(shown), 1))
    clips = {
        name: _some(
            places.store.open_commit(manifest.batch_key, signature, manifest.clips[name]), per_clip
        )
        for name in shown
    }
    title = f"{manifest.batch_key} · {signature.key}"
    return sheet_of(clips, title=title, max_tiles=max_tiles, max_bytes=max_bytes)


def timeline_of_batch(manifest: Manifest, places: Places, *, max_lanes: int = 24) -> bytes:
    """A PNG of when the frames are, for clips spread evenly over a published batch."""
    names = list(manifest.clips)
    shown = [names[i] for i in spread(len(names), min(len(names), max_lanes))]
    part = replace(manifest, clips={name: manifest.clips[name] for name in shown})
    described = places.store.describe(part)
    clips = {row["clip_id"]: row for row in places.rows("clips", manifest.batch_key)}
    lanes = [
        Lane(
            name.rpartition("#")[0] or name,
            start=clips[name]["start_seconds"],
            duration=clips[name]["duration_seconds"],
            times=described[name].seconds.tolist(),
            corrupt=described[name].corrupt.tolist(),
            missing=len(part.clips[name].outcome.missing),
        )
        for name in shown
        if name in clips
    ]
    note = f"{len(lanes)} of {len(names)} clips"
    return timeline(lanes, title=f"{manifest.batch_key} · {manifest.signature_key}", note=note)


def _some(clip: StoredClip, count: int) -> FrameBatch:
    """A few frames of a clip, spread evenly."""
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
