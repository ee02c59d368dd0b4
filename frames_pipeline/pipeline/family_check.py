"""Check that decoding by plan gives the same frames as a plain decode of the same video.

Frames of one video are taken in two ways, and each is compared with a plain decode of its start:

    stored     some frames from the store
    alone      some frames extracted now, one by one, each by a separate plan and decoder

    plain      0 1 2 3 4 5 6 7 8 9 …          every packet, up to the last compared frame
    stored         x         x
    alone        x       x       x

A frame must have the same position, timestamp and pixels in both.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from frames_pipeline.clips import Clip, Span
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.decoding.assembly import Converted
from frames_pipeline.decoding.backends import PyavDecoder
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.deinterlace import Deinterlacer, neighbours
from frames_pipeline.decoding.device import TOLERANCES, Tolerance
from frames_pipeline.encodings.images import EncodedFrames, encode_frames
from frames_pipeline.errors import IntegrityError, NoFramesError, SourceError
from frames_pipeline.extract import extract_spans
from frames_pipeline.pipeline.families import Family, family_of
from frames_pipeline.pipeline.plain_decode import PlainDecode, PlainFrame
from frames_pipeline.pipeline.tolerances import tolerance_of
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.videos import Video, VideoSource
from frames_pipeline.store import ClipCommit, FrameStore

PIXELS: Final = 1 << 30
"""Maximum pixels of a plain decode: 517 frames of 1920x1080, 18,641 of 320x180."""
_FRAMES: Final = 8
"""Maximum number of frames to take in each way."""
_HELD: Final = 256 << 20
"""Maximum bytes of their pixels to hold, at the size of the video."""
_ALONE: Final = FrameExtractionSignature(policy="first", rotation="ignore")
"""Extracts at the size of the video, so that a difference of one sample shows."""


@dataclass(frozen=True, slots=True)
class FamilyTask:
    """A video that represents its family, with its stored frames."""

    family: str
    """The family recorded with its frames; its codec if there is none."""
    source: VideoSource
    store: FrameStore
    batch: str
    signature: FrameExtractionSignature
    video: Video
    fingerprint: str
    """Fingerprint of the bytes that the frames were made from."""
    clips: tuple[tuple[Clip, ClipCommit], ...]
    """Its clips in the batch."""
    suspects: frozenset[str] = frozenset()
    """Keys of families that are decoded linearly."""
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    """Seed of the choice of frames."""


@dataclass(frozen=True, slots=True)
class FrameDifference:
    """A frame that differs from the plain decode."""

    clip_id: str
    """Id of its stored clip; empty if it was extracted alone."""
    position: int
    """Its position in the video."""
    found: str
    """The difference, and its size."""
    by_plan: bool
    """Whether it was decoded by plan, on the CPU."""

    def __str__(self) -> str:
        """Describe the difference in a line."""
        where = f"stored in {self.clip_id}" if self.clip_id else "asked for alone"
        return f"position {self.position}, {where}: {self.found}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Result of comparing a video's frames with a plain decode."""

    family: Family
    """The video's family."""
    decoded: int
    """Number of frames in the plain decode."""
    compared: int
    """Number of frames compared with it."""
    differences: tuple[FrameDifference, ...]
    """Frames that differ."""


class _Claim(NamedTuple):
    """A frame to compare with a plain decode."""

    clip_id: str
    position: int
    seconds: Fraction | None
    """Presentation time; `None` if the times are not the container's."""
    pixels: NDArray[Any] | None
    """Shape (height, width, channels); `None` if extraction gives no frame."""
    images: EncodedFrames | None
    """The frame as an image, if it is stored as one."""
    spec: PixelSpec
    is_deinterlaced: bool
    tolerance: Tolerance
    by_plan: bool


def judge(task: FamilyTask) -> Judgement:
    """Compare frames of a video with a plain decode; runs in a worker process.

    Raises:
        SourceError: The video has other bytes now, or cannot be read.
    """
    chance = random.Random(task.seed)
    now = task.source.find_same(task.video.key, task.fingerprint)
    with task.source.staged(now, max_bytes=task.limits.max_file_bytes) as path:
        with open_media(path, task.limits) as media:
            family, within = family_of(media), _within(media.index)
            num_frames = media.index.num_frames
            claims = list(_stored(task, media.index, within, chance))
            if family.key not in task.suspects:
                claims += _alone(media, within, chance)
        decoded, compared, differences = _compared(path, task.limits, claims, num_frames)
    return Judgement(family, decoded, compared, tuple(differences))


def _within(index: PacketIndex) -> int:
    """Return the number of positions within the limit of a plain decode."""
    affordable = PIXELS // max(index.width * index.height, 1)
    return min(index.num_frames, max(affordable, 1))


def _stored(
    task: FamilyTask, index: PacketIndex, within: int, chance: random.Random
) -> Iterator[_Claim]:
    """Return some undamaged stored frames of clips that begin within the limit."""
    reached = [
        (clip, commit) for clip, commit in task.clips if index.within(clip.span).start < within
    ]
    frames: list[tuple[ClipCommit, int]] = []
    for _, commit in chance.sample(reached, min(_FRAMES, len(reached))):
        try:
            clip = task.store.open_commit(task.batch, task.signature, commit)
        except IntegrityError:
            continue  # `verify` and the other half of the check find damaged clips
        usable = (clip.positions < within) & ~np.array(clip.attributes["corrupt"], np.bool_)
        frames += [(commit, number) for number in np.flatnonzero(usable).tolist()]
    for commit, number in chance.sample(frames, min(_FRAMES, len(frames))):
        try:
            yield _stored_claim(task, commit, number)
        except IntegrityError:
            continue


def _stored_claim(task: FamilyTask, commit: ClipCommit, number: int) -> _Claim:
    frames = task.store.read_commit(
        task.batch, task.signature, commit, start=number, stop=number + 1
    )
    decode = commit.outcome.decode
    is_counted = commit.outcome.timestamps != "container"
    return _Claim(
        clip_id=commit.clip_id,
        position=int(frames.positions[0]),
        seconds=None if is_counted else int(frames.pts[0]) * frames.time_base,
        pixels=frames.frames[0],
        images=frames.images,
        spec=PixelSpec.of(on_cpu(task.signature)),
        is_deinterlaced=task.signature.deinterlace != "off",
        tolerance=tolerance_of(task.signature, frames.images),
        by_plan=not decode.fallback and decode.decoder == PyavDecoder().name,
    )


def _alone(media: Media, within: int, chance: random.Random) -> Iterator[_Claim]:
    """Extract some frames, mostly early ones, each by a separate plan.

    In total this decodes about as many frames as the plain decode. For a video that is decoded
    linearly anyway, the first frame suffices.
    """
    count = max(1, min(_FRAMES, _HELD // max(3 * media.index.width * media.index.height, 1)))
    drawn = {int(within * chance.random() ** 2) for _ in range(count)} if within else set()
    spent = 0
    for position in sorted(drawn):
        media.renew_decoders()  # without the state of an earlier decode
        pts = int(media.index.shown_pts[position])
        [(_, found)] = extract_spans(media, [Span(pts, pts + 1)], [_ALONE], decoder=PyavDecoder())
        by_plan = True
        pixels = None
        if not isinstance(found, SourceError):
            frames = found[_ALONE]
            by_plan = not frames.outcome.decode.fallback
            spent += frames.outcome.decode.frames_decoded
            if frames.corrupt.any():
                continue
            pixels = frames.frames[0] if len(frames) else None
        elif not isinstance(found, NoFramesError):
            raise found
        yield _Claim(
            clip_id="",
            position=position,
            seconds=pts * media.index.time_base if media.index.timestamps == "container" else None,
            pixels=pixels,
            images=None,
            spec=PixelSpec.of(_ALONE),
            is_deinterlaced=False,
            tolerance=TOLERANCES["swscale"],
            by_plan=by_plan,
        )
        if spent > within or not by_plan:
            return


def _compared(
    path: Path, limits: Limits, claims: list[_Claim], num_frames: int
) -> tuple[int, int, list[FrameDifference]]:
    """Return the counts of decoded frames and of judged claims, and the frames that differ."""
    waiting: dict[tuple[int, bool], list[_Claim]] = {}
    for claim in claims:
        waiting.setdefault((claim.position, claim.is_deinterlaced), []).append(claim)
    decoded, compared, differences = 0, 0, []
    with open_media(path, limits) as media:
        converter = Converter.of(media)
        decode = PlainDecode(media)
        for plain in _deinterlaced(decode, claims, num_frames) if waiting else ():
            decoded += not plain.is_deinterlaced
            for claim in waiting.pop((plain.position, plain.is_deinterlaced), ()):
                if plain.is_corrupt:
                    continue
                compared += 1
                if found := _difference(claim, plain, converter):
                    differences.append(
                        FrameDifference(claim.clip_id, claim.position, found, claim.by_plan)
                    )
            if not waiting:
                break
        beyond = [claim for some in waiting.values() for claim in some if claim.pixels is not None]
        if decode.is_whole and beyond:
            compared += len(beyond)
            found = f"a plain decode ends after {decoded} frames"
            differences += [
                FrameDifference(claim.clip_id, claim.position, found, claim.by_plan)
                for claim in beyond
            ]
    return decoded, compared, differences


class _Reference(NamedTuple):
    """A frame of the plain decode, to compare claims with."""

    position: int
    seconds: Fraction | None
    frame: VideoFrame
    is_deinterlaced: bool
    is_corrupt: bool


def _deinterlaced(
    decode: Iterable[PlainFrame], claims: Iterable[_Claim], num_frames: int
) -> Iterator[_Reference]:
    """Yield each frame as it is, and those that claims have deinterlaced when they are complete."""
    wanted = [claim.position for claim in claims if claim.is_deinterlaced]
    deinterlacer = Deinterlacer(wanted, num_frames=num_frames)
    needed, last = {*wanted, *neighbours(wanted, num_frames)}, deque[PlainFrame](maxlen=3)
    for plain in decode:
        yield _Reference(*plain, is_deinterlaced=False, is_corrupt=plain.frame.is_corrupt)
        if plain.position not in needed:
            continue
        last.append(plain)
        for done in deinterlacer.push(plain.position, plain.frame):
            [own] = (one for one in last if one.position == done.position)
            is_corrupt = done.lacks_neighbour or any(one.frame.is_corrupt for one in last)
            yield _Reference(done.position, own.seconds, done.frame, True, is_corrupt)


def _difference(claim: _Claim, plain: _Reference, converter: Converter) -> str:
    """Describe the difference from the frame of the plain decode; empty if they are equal."""
    if claim.pixels is None:
        return "no frame is given, and a plain decode gives one"
    if None not in (claim.seconds, plain.seconds) and claim.seconds != plain.seconds:
        return f"it is at {claim.seconds} s, and at {plain.seconds} s in a plain decode"
    again = np.empty_like(claim.pixels)
    Converted(plain.frame, converter).write(claim.spec, again)
    if claim.images is not None:
        encoded = encode_frames(again[None], claim.images.encoding)
        if encoded.images == claim.images.images:
            return ""
        again = encoded.decode()[0]
    mean, most = levels_apart(claim.pixels, again)
    if mean <= claim.tolerance.mean and most <= claim.tolerance.maximum:
        return ""
    return f"its pixels differ by {mean:.3f} levels on average and {most} at most"


def on_cpu(signature: FrameExtractionSignature) -> FrameExtractionSignature:
    """Return the signature for the same pixels from the CPU.

    A GPU converts accurately, even without resizing.
    """
    colour = "accurate" if signature.pixels == "cuda" else signature.colour
    return replace(signature, pixels="swscale", colour=colour)


def levels_apart(one: NDArray[Any], other: NDArray[Any]) -> tuple[float, int]:
    """Return the mean and the maximum difference of two frames, in levels of their type."""
    apart = np.abs(one.astype(np.int32) - other.astype(np.int32))
    return float(apart.mean()), int(apart.max())
