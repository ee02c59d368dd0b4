"""FrameBatch: the frames of one clip, with their positions, timestamps and outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Timestamps = Literal["container", "repaired", "counted"]
"""Origin of timestamps. `container`: all from the container. `repaired`: most from the container,
the rest interpolated between neighbours. `counted`: from positions and the average rate."""


class Crop(NamedTuple):
    """Pixels that the container crops at each edge of the coded picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """Decoding work of one clip.

    Clips of one video share one decoding pass. Work that serves several clips is counted for the
    first, so sums over clips are totals.
    """

    decoder: str
    """Name of the decoder that ran, which may differ from the requested one."""
    device: str = "cpu"
    """Device of the decoder: `cpu`, a GPU by name, or `none` if nothing had to be decoded."""
    packets_planned: int = 0
    """Packets that the plan selected."""
    packets_fed: int = 0
    """Packets that the decoder was fed, including a second pass."""
    frames_decoded: int = 0
    """Frames that the decoder returned, selected or not."""
    choice: str = ""
    """Reason for the choice of decoder; empty if it was requested by name."""
    fallback: str = ""
    """Reason for decoding everything from the start; empty if the plan was followed."""
    family: str = ""
    """Key of the video's family (see `pipeline.families`); empty if unknown."""
    copied_from: str = ""
    """Batch and clip that the frames were copied from, so that nothing was decoded; empty if they
    were decoded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one clip for one signature."""

    decode: DecodeReport
    """Decoding work."""
    candidates: int
    """Number of shown frames in the clip."""
    missing: tuple[int, ...] = ()
    """Selected positions that did not decode, ascending. They stay empty: no neighbour replaces
    them."""
    corrupt: tuple[int, ...] = ()
    """Delivered positions with possibly damaged pixels, ascending."""
    timestamps: Timestamps = "container"
    """`repaired` if some of the container's pts are missing or out of order and were interpolated;
    `counted` if most are, so that position / average rate is used."""
    detail: str = ""
    """The first problem, as text for people."""
    timestamps_detail: str = ""
    """Reason for repairing or replacing the container's pts; empty for `container`."""

    @property
    def status(self) -> Literal["ok", "partial"]:
        """`ok` if every selected frame is present and undamaged."""
        return "partial" if self.missing or self.corrupt else "ok"


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """The frames of one clip for one signature, in presentation order.

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
    """Whether the pixels may be damaged: an error in this frame, or an error in or the lack of a
    frame that it may be predicted from. Shape (n,)."""
    outcome: Outcome = field(repr=False)
    """Outcome of the clip: ok, or partial with the missing frames and the reason."""
    container_crop: Crop | None = None
    """Crop of the coded picture in the container; `None` if there is none. It was applied if the
    signature's `crop` is `container`."""

    def __post_init__(self) -> None:
        """Check that all arrays have n entries."""
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
        """Return the number of frames, with repeats."""
        return len(self.frames)

    def __repr__(self) -> str:
        """Return a summary without pixels."""
        n, height, width, _ = self.frames.shape
        return f"FrameBatch({n} frames, {height}x{width}, {self.outcome.status})"

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """Presentation timestamps in seconds, for people. Shape (n,)."""
        return in_seconds(self.pts, self.time_base)

    def part(self, start: int, stop: int) -> FrameBatch:
        """Return frames [start, stop) as views. The outcome stays that of the whole clip."""
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
        """Return the SHA-256 of the pixels, timestamps, positions and flags.

        Equal digests mean equal frames. The decoder and the decoding work are left out.
        """
        sha = hashlib.sha256(f"{self.frames.shape} {self.time_base}".encode())
        for array in (self.frames, self.pts, self.positions, self.key_frame, self.corrupt):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def in_seconds(pts: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    """Return timestamps in seconds, for people. Shape as `pts`."""
    return pts * time_base.numerator / np.float64(time_base.denominator)
