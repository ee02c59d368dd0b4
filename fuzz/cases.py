"""One case: a damaged file, what the extraction makes of it, and what a plain decode does."""

from __future__ import annotations

import hashlib
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Final

import av
import numpy as np

from frames_pipeline import (
    FrameBatch,
    FrameExtractionSignature,
    FramesPipelineError,
    Limits,
    extract_frames,
)
from fuzz.mutate import mutated
from tests.oracle import plain_frames

LIMITS: Final = Limits(max_pixels=4096 * 2304, max_frames=2000, max_clip_bytes=256 << 20)
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


@dataclass(frozen=True, slots=True)
class Case:
    """What to damage, and how: all of it follows from two numbers."""

    number: int
    """Its place in the run."""
    seed: int
    """The run's."""
    path: Path
    """The file that is damaged."""

    def random(self) -> Random:
        """The numbers that this case is made of."""
        return Random(f"{self.seed}/{self.number}")


@dataclass(frozen=True, slots=True)
class Given:
    """A frame that an extraction gave."""

    pts: int | None
    """Its timestamp; `None` where frames are counted."""
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


@contextmanager
def damaged_file(case: Case) -> Iterator[Path]:
    """The file, with its neighbours out of reach but for what playlists name."""
    with tempfile.TemporaryDirectory(prefix="frames-fuzz-") as name:
        path = Path(name) / case.path.name
        path.write_bytes(mutated(case.path.read_bytes(), case.random()))
        yield path


def extracted(case: Case) -> Report:
    """Extract some frames of a damaged file. Runs in a worker process."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    random, since = Random(case.number), time.process_time()
    signatures = random.sample(_WANTED, 3)
    start = random.choice((None, None, Fraction(random.randrange(20), 10)))
    with damaged_file(case) as path:
        try:
            batches = extract_frames(path, signatures, start=start, limits=LIMITS)
        except FramesPipelineError as error:
            report = Report(error.reason)
        except Exception:
            report = Report("untyped", traceback.format_exc())
        else:
            statuses = {batch.outcome.status for batch in batches.values()}
            given = tuple(f for batch in batches.values() for f in _given(batch))
            report = Report("partial" if "partial" in statuses else "ok", frames=given)
    seconds = round(time.process_time() - since, 2)
    return Report(report.result, report.detail, report.frames, seconds, _peak_mb())


def differences(checked: tuple[Case, Report]) -> tuple[int, list[str]]:
    """How many frames without a mark were compared with a plain decode, and which differ.

    A frame is right if the plain decode has one with its timestamp and its pixels; where frames
    are counted, with its pixels.
    """
    case, report = checked
    av.logging.set_level(None)
    wanted = {frame for frame in report.frames if not frame.corrupt}
    left, timestamps = set(wanted), {frame.pts for frame in wanted}
    sizes = {frame.size for frame in wanted}
    with damaged_file(case) as path:
        for number, plain in enumerate(plain_frames(path)):
            if number >= _MOST_FRAMES or not left:
                break
            if plain.pts not in timestamps and None not in timestamps:
                continue
            digests = {(_digest(plain.rgb(*size)), size) for size in sizes}
            left -= {
                frame
                for frame in left
                if (frame.digest, frame.size) in digests and frame.pts in (plain.pts, None)
            }
        else:
            return len(wanted), [f"pts {frame.pts}, {frame.size}" for frame in left]
    return len(wanted) - len(left), []


def _given(batch: FrameBatch) -> Iterator[Given]:
    counted = batch.outcome.timestamps == "counted"
    for pixels, pts, corrupt in zip(batch.frames, batch.pts, batch.corrupt, strict=True):
        height, width = pixels.shape[:2]
        yield Given(None if counted else int(pts), bool(corrupt), (height, width), _digest(pixels))


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha1(np.ascontiguousarray(pixels), usedforsecurity=False).hexdigest()


def _peak_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10
