"""Look at stored frames: whether they fit their signature, and whether there is anything to see.

Sizes, numbers and timestamps are read of every clip, pixels of a sample.
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
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline.ingest import is_size_known, shown_size
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sampling import policy_of
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import ClipCommit, ClipDescription, Manifest
from frames_pipeline.tables import ClipRow


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a clip that should not be."""

    clip_id: str
    """The clip."""
    found: str
    """What is odd about it."""


@dataclass(frozen=True, slots=True)
class SignatureFit:
    """Whether frames are what their signature asks for."""

    clips: int
    """Clips that were compared."""
    wrong: tuple[Finding, ...]
    """Those whose frames have another number or size than the signature can give."""
    unlike_video: tuple[Finding, ...]
    """Those whose size follows from the video's, and is another than its header says: the stream
    changes its size, or the header is wrong."""


@dataclass(frozen=True, slots=True)
class BlankReport:
    """What is to be seen in a sample of a batch's clips."""

    clips: int
    """Clips that were looked at."""
    blank: tuple[Finding, ...]
    """Those that are black, or in which nothing moves."""

    @property
    def blank_share(self) -> float:
        """Share of the clips that were looked at, 0 to 1."""
        return len(self.blank) / self.clips if self.clips else 0.0


@old_parameters(places="workspace")
def compare_with_signature(
    manifest: Manifest,
    signature: FrameExtractionSignature,
    workspace: Workspace,
    *,
    described: Mapping[str, ClipDescription] | None = None,
) -> SignatureFit:
    """Compare the number and the size of a published batch's frames with what was asked for.

    Args:
        manifest: A batch's published frames.
        signature: What was asked for.
        workspace: Where they are.
        described: What `FrameStore.describe` says of them, if the caller has it: it is a request
            per clip.

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
    """Clips of a published batch whose timestamps go back, or stand still without a repeat.

    Args:
        manifest: A batch's published frames.
        workspace: Where they are.
        described: What `FrameStore.describe` says of them, if the caller has it.

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
    """Clips of a batch that have the very same frames, in groups."""
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
    """Look at the first, middle and last frame of some clips: are they black, do they differ?

    What counts as black, and what as the same, is as `TechnicalQuality` has it.

    Args:
        manifest: A batch's published frames.
        workspace: Where they are.
        clips: How many clips, chosen at random.
        seed: Chooses the same clips again.

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
        measured = TechnicalQuality().measure(frames)
        moves = len(set(stored.positions[indexes])) < 2 or not measured.duplicate[1:].all()
        if measured.black.all():
            blank.append(Finding(clip_id, "black"))
        elif not moves:
            blank.append(Finding(clip_id, "frozen"))
    return BlankReport(len(chosen), tuple(blank))


def _misfits(
    commit: ClipCommit, described: ClipDescription, signature: FrameExtractionSignature
) -> Iterator[str]:
    committed = (commit.num_frames, commit.height, commit.width, 3)
    if described.shape != committed:
        yield f"frames of shape {described.shape}, not {committed} as committed"
    expected = _expected_frames(signature)
    if expected is not None and not commit.outcome.missing and commit.num_frames != expected:
        yield f"{commit.num_frames} frames, not {expected}"


def _expected_frames(signature: FrameExtractionSignature) -> int | None:
    """Return the number of frames of every clip, where the policy alone fixes it."""
    policy = policy_of(signature)
    return policy.estimate(Fraction(0), signature) if policy.is_estimate_exact else None


def _is_in_order(clip: ClipDescription) -> bool:
    """Whether time goes on wherever the position does, and never back."""
    steps = np.diff(clip.positions)
    return bool(np.all(steps >= 0) and np.all((np.diff(clip.pts) > 0) == (steps > 0)))
