"""Inspect stored frames: find frames that do not fit their signature, and blank pictures.

This reads sizes, numbers and timestamps of every clip, and pixels of a sample.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from frames_pipeline._renamed import old_parameters
from frames_pipeline.decoding.convert import PixelSpec, geometry
from frames_pipeline.frames import as_uint8
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline.ingest import is_size_known, shown_size
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sampling import policy_of
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, ClipDescription, Manifest
from frames_pipeline.tables import ClipRow


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a clip."""

    clip_id: str
    """Id of the clip."""
    found: str
    """Description of the fault."""


@dataclass(frozen=True, slots=True)
class SignatureFit:
    """Result of comparing frames with their signature."""

    clips: int
    """Number of clips compared."""
    wrong: tuple[Finding, ...]
    """Clips with a number or size of frames that the signature cannot give."""
    unlike_video: tuple[Finding, ...]
    """Clips with a size that depends on the video's and differs from its header: the stream changes
    its size, or the header is wrong."""


@dataclass(frozen=True, slots=True)
class BlankReport:
    """Black and motionless clips in a sample of a batch."""

    clips: int
    """Number of clips in the sample."""
    blank: tuple[Finding, ...]
    """Clips that are black or motionless."""

    @property
    def blank_share(self) -> float:
        """Share of blank clips in the sample, 0 to 1."""
        return len(self.blank) / self.clips if self.clips else 0.0


@old_parameters(places="workspace")
def compare_with_signature(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    described: Mapping[str, ClipDescription] | None = None,
) -> SignatureFit:
    """Compare the number and the size of a published batch's frames with the signature.

    Args:
        manifest: A batch's published frames.
        signature: Their signature.
        workspace: Workspace of the batch.
        described: Result of `FrameStore.describe` if you have it: it takes a request per clip.

    Raises:
        IntegrityError: The store is damaged.
    """
    if described is None:
        described = workspace.store.describe(manifest)
    clips = {row.clip_id: row for row in workspace.read(ClipRow, manifest.batch_key)}
    spec = PixelSpec.of(signature)
    is_fixed = None not in signature.resolution and signature.resize_mode != "fit"
    wrong: list[Finding] = []
    unlike_video: list[Finding] = []
    for clip_id, commit in manifest.clips.items():
        wrong += [
            Finding(clip_id, text) for text in _misfits(commit, described[clip_id], signature)
        ]
        clip = clips.get(clip_id)
        expected = None
        if clip is not None and is_size_known(signature, clip):
            expected = geometry(spec, shown_size(signature, clip)).output
        if expected is not None and expected != (commit.height, commit.width):
            text = f"{commit.height}x{commit.width} pixels, not {expected.height}x{expected.width}"
            (wrong if is_fixed else unlike_video).append(Finding(clip_id, text))
    return SignatureFit(len(manifest.clips), tuple(wrong), tuple(unlike_video))


@old_parameters(places="workspace")
def find_disorder(
    manifest: Manifest,
    workspace: Workspace,
    *,
    described: Mapping[str, ClipDescription] | None = None,
) -> tuple[Finding, ...]:
    """Return clips of a published batch with decreasing timestamps, or equal ones of two frames.

    Args:
        manifest: A batch's published frames.
        workspace: Workspace of the batch.
        described: Result of `FrameStore.describe`, if you have it.

    Raises:
        IntegrityError: The store is damaged.
    """
    if described is None:
        described = workspace.store.describe(manifest)
    return tuple(
        Finding(clip_id, f"pts {clip.pts.tolist()} of positions {clip.positions.tolist()}")
        for clip_id, clip in described.items()
        if not _is_in_order(clip)
    )


def find_repeated(manifest: Manifest) -> tuple[tuple[str, ...], ...]:
    """Return groups of clips of a batch with identical frames."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip_id, commit in sorted(manifest.clips.items()):
        groups[commit.digest].append(clip_id)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


@old_parameters(places="workspace")
def look_at_clips(
    manifest: Manifest,
    workspace: Workspace,
    *,
    clips: int = 32,
    seed: int | None = None,
) -> BlankReport:
    """Find black and motionless clips by the first, middle and last frame of some clips.

    The thresholds are those of `TechnicalQuality`. Frames of 16 bits are measured in 8.

    Args:
        manifest: A batch's published frames.
        workspace: Workspace of the batch.
        clips: Number of clips to choose at random.
        seed: Seed of the choice; the same seed chooses the same clips.

    Raises:
        IntegrityError: The store is damaged.
    """
    chosen = random.Random(seed).sample(sorted(manifest.clips), min(clips, len(manifest.clips)))
    blank = []
    for clip_id in sorted(chosen):
        commit = manifest.clips[clip_id]
        stored = workspace.store.open_commit(manifest.batch_key, manifest.signature_key, commit)
        indexes = sorted({0, (len(stored.pts) - 1) // 2, len(stored.pts) - 1})
        frames = np.stack([np.asarray(stored.frames[index]) for index in indexes])
        measured = TechnicalQuality().measure(as_uint8(frames))
        moves = len(set(stored.positions[indexes])) < 2 or not measured.duplicate[1:].all()
        if measured.black.all():
            blank.append(Finding(clip_id, "black"))
        elif not moves:
            blank.append(Finding(clip_id, "frozen"))
    return BlankReport(len(chosen), tuple(blank))


def _misfits(
    commit: ClipCommit, described: ClipDescription, signature: FrameExtractionSignature
) -> Iterator[str]:
    committed = (commit.num_frames, commit.height, commit.width, signature.channels)
    if described.shape != committed:
        yield f"frames of shape {described.shape}, not {committed} as committed"
    expected = _expected_frames(signature)
    if expected is not None and not commit.outcome.missing and commit.num_frames != expected:
        yield f"{commit.num_frames} frames, not {expected}"


def _expected_frames(signature: FrameExtractionSignature) -> int | None:
    """Return the number of frames of every clip; `None` if it depends on the clip."""
    policy = policy_of(signature)
    return policy.estimate(Fraction(0), signature) if policy.is_estimate_exact else None


def _is_in_order(clip: ClipDescription) -> bool:
    """Return whether timestamps never decrease, and increase wherever the position does."""
    steps = np.diff(clip.positions)
    return bool(np.all(steps >= 0) and np.all((np.diff(clip.pts) > 0) == (steps > 0)))
