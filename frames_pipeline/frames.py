"""FrameBatch: pixels, the positions they belong to, and how it came out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Timestamps = Literal["container", "repaired", "counted"]
"""Where times come from. `container`: all from the container. `repaired`: most of them, the others
from their neighbours. `counted`: from positions and the average rate."""


class Crop(NamedTuple):
    """Pixels that a container says to cut off each edge of the coded picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """What was decoded for one clip.

    Clips of one video are decoded in one pass, and what serves several is counted for the first:
    sums over clips are sums over the work.
    """

    decoder: str
    """Name of the decoder that ran, whatever was asked for."""
    device: str = "cpu"
    """Where it ran: `cpu`, a GPU by name, or `none` where nothing had to be decoded."""
    packets_planned: int = 0
    """Packets that the plan meant to feed."""
    packets_fed: int = 0
    """Packets that were fed, a second pass included."""
    frames_decoded: int = 0
    """Frames that came out of the decoder, wanted or not."""
    choice: str = ""
    """Why this decoder; empty if it was asked for by name."""
    fallback: str = ""
    """Why everything from the start was decoded; empty if it was decoded by plan."""
    family: str = ""
    """Key of the video's family (see `pipeline.families`); empty if unknown."""
    copied_from: str = ""
    """Batch and clip that the frames were copied from, so that nothing was decoded; empty if they
    were decoded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one clip came out for one signature."""

    decode: DecodeReport
    """What was decoded for it."""
    candidates: int
    """Shown frames that the clip holds."""
    missing: tuple[int, ...] = ()
    """Wanted positions that did not decode, ascending. No neighbour stands in for them."""
    corrupt: tuple[int, ...] = ()
    """Delivered positions whose pixels damage may have touched, ascending."""
    timestamps: Timestamps = "container"
    """`repaired` where some of the container's pts are missing or not increasing, and lie between
    their neighbours'; `counted` where most are, so that position / average rate stands in."""
    detail: str = ""
    """What went wrong first, for a person."""
    timestamps_detail: str = ""
    """Why the container's pts were repaired or replaced; empty for `container`."""

    @property
    def status(self) -> Literal["ok", "partial"]:
        """`ok` if every wanted frame is there and undamaged."""
        return "partial" if self.missing or self.corrupt else "ok"


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """The frames that one signature asks of one clip, in presentation order.

    A rate above the source's repeats frames, so `positions` may repeat.
    """

    frames: NDArray[np.uint8]
    """RGB pixels. Shape (n, height, width, 3)."""
    pts: NDArray[np.int64]
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the whole stream, in presentation order. Shape (n,)."""
    key_frame: NDArray[np.bool_]
    """Whether the frame is a key frame. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether damage may have touched the pixels: something is wrong with this frame, or with one
    that it may have been predicted from, or such a one is not there at all. Shape (n,)."""
    outcome: Outcome = field(repr=False)
    """How the clip came out: ok, or partial with what is missing and why."""
    container_crop: Crop | None = None
    """Crop of the coded picture, as the container has it; `None` if it has none. It was applied if
    the signature's `crop` is `container`."""

    def __post_init__(self) -> None:
        """Check that every array speaks of the same n frames."""
        n = len(self.frames)
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            message = f"frames must be uint8 (n, height, width, 3), not {self.frames.dtype} "
            raise ValueError(message + str(self.frames.shape))
        for name in ("pts", "positions", "key_frame", "corrupt"):
            shape = getattr(self, name).shape
            if shape != (n,):
                message = f"{name} must have shape ({n},), one per frame, not {shape}"
                raise ValueError(message)

    def __len__(self) -> int:
        """Number of frames, repeats included."""
        return len(self.frames)

    def __repr__(self) -> str:
        """Say what is in it without printing pixels."""
        n, height, width, _ = self.frames.shape
        return f"FrameBatch({n} frames, {height}x{width}, {self.outcome.status})"

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """Presentation timestamps in seconds, for people. Shape (n,)."""
        return self.pts * self.time_base.numerator / np.float64(self.time_base.denominator)

    def part(self, start: int, stop: int) -> FrameBatch:
        """The frames [start, stop) of these, as views. The outcome is that of the whole clip."""
        part = slice(start, stop)
        return replace(
            self,
            frames=self.frames[part],
            pts=self.pts[part],
            positions=self.positions[part],
            key_frame=self.key_frame[part],
            corrupt=self.corrupt[part],
        )

    def digest(self) -> str:
        """SHA-256 over the pixels and what they belong to: equal if and only if those are equal.

        What the decode cost, and which decoder ran, do not enter.
        """
        sha = hashlib.sha256(f"{self.frames.shape} {self.time_base}".encode())
        for array in (self.frames, self.pts, self.positions, self.key_frame, self.corrupt):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()
