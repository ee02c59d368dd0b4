"""One case: a damaged file, what the extraction makes of it, and what a plain decode does."""

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
"""Frames that a plain decode compares: of a bomb, the first."""
_KEPT_BYTES: Final = 400 << 20
"""Bytes of frames that are kept in memory at a time."""


@dataclass(frozen=True, slots=True)
class Case:
    """What to damage, and how: all of it follows from two numbers."""

    number: int
    """Its place in the run."""
    seed: int
    """The run's."""
    path: Path
    """The file that is damaged."""
    in_packets: bool = False
    """Whether the damage is inside packets, where the container allows it."""

    def random(self) -> Random:
        """The numbers that this case is made of."""
        return Random(f"{self.seed}/{self.number}")


@dataclass(frozen=True, slots=True)
class Given:
    """A frame that an extraction gave."""

    pts: int | None
    """Its timestamp; `None` unless the container gives the timestamps of all frames."""
    corrupt: bool
    """Whether damage may have touched it."""
    size: tuple[int, int]
    """(height, width)."""
    digest: str
    """Of its pixels."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a case."""

    result: str
    """`ok`, `partial`, the reason of a typed error, or `untyped`."""
    detail: str = ""
    """The traceback of an error that has no type."""
    frames: tuple[Given, ...] = ()
    """What was given."""
    seconds: float = 0
    """Processor time."""
    peak_mb: int = 0
    """The most memory that the worker process had meanwhile."""


class Comparison(NamedTuple):
    """What became of the frames without a mark."""

    compared: int
    """How many were compared."""
    accidental: tuple[str, ...]
    """Those whose pixels the file does not determine."""
    lost: tuple[str, ...]
    """Those that a plain decode loses, so that there is nothing to compare with."""
    differing: tuple[str, ...]
    """Those that are wrong."""


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
    """The file, with its neighbours out of reach but for what playlists name."""
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
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
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
    """Frames that a plain decode of a file does not give, and how many could be looked for."""
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
    """Frames whose pixels depend on what the decoder's memory held before.

    A frame that is kept leaves its memory to nobody, so the next one gets memory of zeros.
    """
    changed = {
        fresh.pts
        for fresh, used in zip(list(_first_frames(path)), plain_frames(path), strict=False)
        if raw_digest(fresh.frame) != raw_digest(used.frame)
    }
    return {frame for frame in frames if frame.pts in changed or (changed and frame.pts is None)}


def _lost(frames: set[Given], path: Path, intact: Path) -> set[Given]:
    """Frames that were there before the damage, and that a plain decode does not give after it."""
    there = {plain.pts for plain in plain_frames(intact)}
    there -= {plain.pts for plain in plain_frames(path)} | {None}
    return {frame for frame in frames if frame.pts in there}


def _first_frames(path: Path) -> Iterator[PlainFrame]:
    """As many frames as may be kept."""
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
