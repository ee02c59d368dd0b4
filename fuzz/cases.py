"""One case: a damaged file, its extraction, and a plain decode to compare with."""

from __future__ import annotations

import hashlib
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import av
import numpy as np

from frames_pipeline import (
    FrameBatch,
    FrameExtractionSignature,
    FramesPipelineError,
    InternalError,
    Limits,
    extract_frames,
)
from fuzz.mutate import mutated
from fuzz.packets import rewrite_damaged
from fuzz.seeds import Seeds
from tests.oracle import PlainFrame, plain_frames, raw_digest

LIMITS: Final = Limits(max_pixels=4096 * 2304, max_frames=2000, max_clip_bytes=256 << 20)
_IN_PACKETS: Final = 0.8
"""Share of cases with damage inside packets."""
_READABLE: Final = 0.95
"""Share of cases that start from a readable video: other files are refused early."""
_WANTED: Final = (
    FrameExtractionSignature(policy="first", rotation="ignore"),
    FrameExtractionSignature(policy="middle", rotation="ignore"),
    FrameExtractionSignature(policy="last", rotation="ignore"),
    FrameExtractionSignature(policy="keyframes", rotation="ignore"),
    FrameExtractionSignature(policy="uniform", num_frames=5, rotation="ignore"),
    FrameExtractionSignature(target_fps=3, rotation="ignore"),
    FrameExtractionSignature(target_fps=30, rotation="ignore"),
)
_MOST_FRAMES: Final = 400
"""Maximum frames to compare with a plain decode; of a decompression bomb, the first ones."""
_KEPT_BYTES: Final = 400 << 20
"""Maximum bytes of frames to keep in memory."""


@dataclass(frozen=True, slots=True)
class Case:
    """The file and the damage, determined by two numbers."""

    number: int
    """Number of the case in the run."""
    seed: int
    """Seed of the run."""
    path: Path
    """The file to damage."""
    in_packets: bool = False
    """Whether the damage is inside packets, if the container allows it."""

    def random(self) -> Random:
        """Return the random numbers of this case."""
        return Random(f"{self.seed}/{self.number}")


@dataclass(frozen=True, slots=True)
class Given:
    """A frame of an extraction."""

    pts: int | None
    """Its timestamp; `None` unless the container gives the timestamps of all frames."""
    corrupt: bool
    """Whether the frame may be damaged."""
    size: tuple[int, int]
    """(height, width)."""
    digest: str
    """Digest of the pixels."""


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a case."""

    result: str
    """`ok`, `partial`, the reason of a typed error, or `untyped`."""
    detail: str = ""
    """Traceback of an untyped error."""
    frames: tuple[Given, ...] = ()
    """The extracted frames."""
    seconds: float = 0
    """CPU seconds."""
    peak_mb: int = 0
    """Peak memory of the worker process during the case."""


class Comparison(NamedTuple):
    """Result of comparing unmarked frames."""

    compared: int
    """Number of compared frames."""
    accidental: tuple[str, ...]
    """Frames with pixels that the file does not determine."""
    lost: tuple[str, ...]
    """Frames that a plain decode loses, so that a comparison is impossible."""
    differing: tuple[str, ...]
    """Wrong frames."""


def make_cases(seeds: Seeds, seed: int, numbers: Iterable[int]) -> Iterator[Case]:
    """Yield the cases of a run by their numbers. Most have their damage inside packets."""
    for number in numbers:
        random = Random(f"{seed}/{number}/file")
        files = seeds.readable if random.random() < _READABLE else seeds.others
        yield Case(number, seed, random.choice(files), random.random() < _IN_PACKETS)


class Damaged(NamedTuple):
    """A damaged file and its undamaged original."""

    path: Path
    intact: Path


@contextmanager
def damaged_file(case: Case) -> Iterator[Damaged]:
    """Provide the damaged file alone in a folder, with only the files that playlists name."""
    with tempfile.TemporaryDirectory(prefix="frames-fuzz-") as name:
        path, intact = Path(name) / case.path.name, Path(name) / "intact" / case.path.name
        intact.parent.mkdir()
        random = case.random()
        if not (case.in_packets and rewrite_damaged(case.path, path, intact, random)):
            path.write_bytes(mutated(case.path.read_bytes(), random))
            intact = case.path
        yield Damaged(path, intact)


def extracted(case: Case) -> Report:
    """Extract some frames of a damaged file. Runs in a worker process."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    random, since = Random(case.number), time.process_time()
    signatures = random.sample(_WANTED, 3)
    start = random.choice((None, None, Fraction(random.randrange(20), 10)))
    with damaged_file(case) as file:
        try:
            batches = extract_frames(file.path, signatures, start=start, limits=LIMITS)
        except FramesPipelineError as error:
            report = _refused(error)
        except Exception:
            report = Report("untyped", traceback.format_exc())
        else:
            statuses = {batch.outcome.status for batch in batches.values()}
            given = tuple(f for batch in batches.values() for f in _given(batch))
            report = Report("partial" if "partial" in statuses else "ok", frames=given)
    seconds = round(time.process_time() - since, 2)
    return Report(report.result, report.detail, report.frames, seconds, _peak_mb())


def _refused(error: FramesPipelineError) -> Report:
    """Return the result of a refused case. A bug, which has a type as well, is a finding."""
    if isinstance(error, InternalError):
        return Report("untyped", str(error))
    return Report(error.reason)


def differences(checked: tuple[Case, Report]) -> Comparison:
    """Compare frames without a mark with plain decodes.

    A frame is right if a plain decode of the damaged or of the original file gives its pixels at
    its timestamp: damage in packets that no wanted frame needs is harmless. If the container does
    not give all timestamps, a plain decode may have the pixels at any position.

    Two kinds of difference are reported, but are not findings. A decoder may leave part of a
    picture uninitialized: two plain decodes that use memory differently then give different
    pixels. And a plain decode may lose frames to damage that an extraction keeps, because an
    extraction feeds fewer packets.
    """
    case, report = checked
    av.logging.set_level(None)
    wanted = {frame for frame in report.frames if not frame.corrupt}
    with damaged_file(case) as file:
        left, compared = _unmatched(wanted, file.path)
        if left:
            left = _unmatched(left, file.intact)[0]
        accidental = _accidental(left, file.path) if left else set()
        left -= accidental
        lost = _lost(left, file.path, file.intact) if left else set()
    return Comparison(compared, _named(accidental), _named(lost), _named(left - lost))


def _unmatched(wanted: set[Given], path: Path) -> tuple[set[Given], int]:
    """Return the frames that a plain decode of a file lacks, and the number of comparable ones."""
    left, timestamps = set(wanted), {frame.pts for frame in wanted}
    sizes = {frame.size for frame in wanted}
    for number, plain in enumerate(plain_frames(path)):
        if not left:
            break
        if number >= _MOST_FRAMES:
            return set(), len(wanted) - len(left)
        if plain.pts in timestamps or None in timestamps:
            digests = {(_digest(plain.rgb(*size)), size) for size in sizes}
            left -= {
                frame
                for frame in left
                if (frame.digest, frame.size) in digests and frame.pts in (plain.pts, None)
            }
    return left, len(wanted)


def _accidental(frames: set[Given], path: Path) -> set[Given]:
    """Return the frames with pixels that depend on earlier contents of the decoder's memory.

    A kept frame never releases its memory, so the next one gets zeroed memory.
    """
    changed = {
        fresh.pts
        for fresh, used in zip(list(_first_frames(path)), plain_frames(path), strict=False)
        if raw_digest(fresh.frame) != raw_digest(used.frame)
    }
    return {frame for frame in frames if frame.pts in changed or (changed and frame.pts is None)}


def _lost(frames: set[Given], path: Path, intact: Path) -> set[Given]:
    """Return the frames that a plain decode gives before the damage and not after it."""
    there = {plain.pts for plain in plain_frames(intact)}
    there -= {plain.pts for plain in plain_frames(path)} | {None}
    return {frame for frame in frames if frame.pts in there}


def _first_frames(path: Path) -> Iterator[PlainFrame]:
    """Yield frames up to the memory limit."""
    size = 0
    for plain in plain_frames(path):
        size += sum(plane.buffer_size for plane in plain.frame.planes)
        if size > _KEPT_BYTES:
            return
        yield plain


def _named(frames: set[Given]) -> tuple[str, ...]:
    return tuple(f"pts {frame.pts}, {frame.size}" for frame in frames)


def _given(batch: FrameBatch) -> Iterator[Given]:
    is_timed = batch.outcome.timestamps == "container"
    for pixels, pts, corrupt in zip(batch.frames, batch.pts, batch.corrupt, strict=True):
        height, width = pixels.shape[:2]
        yield Given(int(pts) if is_timed else None, bool(corrupt), (height, width), _digest(pixels))


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha1(pixels.tobytes(), usedforsecurity=False).hexdigest()


def _peak_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10
