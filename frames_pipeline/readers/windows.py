"""Windows of clips, and a map-style dataset of them.

clip a   |0 1 2 3 4 5 6 7|        length 4, stride 2
windows  [0 1 2 3)
             [2 3 4 5)
                 [4 5 6 7)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.readers.stored_frames import ReadableFrames


class Sample(TypedDict):
    """A window of a clip, or a whole clip. torch's default collation stacks equal shapes."""

    frames: NDArray[Any]
    """RGB or gray, uint8 or uint16. Shape (n, height, width, channels)."""
    pts: NDArray[np.int64]
    """Presentation timestamps, in units of the stream's time base. Shape (n,)."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the stream. Shape (n,)."""
    seconds: NDArray[np.float64]
    """Presentation timestamps in seconds. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether the pixels may be damaged. Shape (n,)."""
    clip_id: str
    """Clip of the frames."""
    start: int
    """Number of the first frame among the stored frames of the clip."""


class Window(NamedTuple):
    """Frames [start, stop) of a clip, numbered as they are stored."""

    clip_id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Windows:
    """Length and stride of the windows of a clip."""

    length: int | None = None
    """Frames of a window; `None`: one window per clip, of all its frames."""
    stride: int | None = None
    """Frames from the start of one window to the start of the next; default: the length."""

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.length is None and self.stride is not None:
            message = f"stride={self.stride} has no effect with whole clips; give a length, too"
            raise ConfigError(message)
        for name in ("length", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                message = f"{name}={value} must be above zero"
                raise ConfigError(message)

    def starts(self, num_frames: int) -> range:
        """Return the starts of a clip's windows; frames after the last whole window are left out.

        >>> list(Windows(4, 2).starts(9)), list(Windows(4).starts(3)), list(Windows().starts(3))
        ([0, 2, 4], [], [0])
        """
        if self.length is None:
            return range(1)
        return range(0, num_frames - self.length + 1, self.stride or self.length)


class WindowDataset:
    """Windows of clips by number, for torch's samplers and `DataLoader`.

    Each sample is read by itself, with the whole shards that contain it. Use this for clips, and
    for windows of short clips. For many windows of long clips, `iterable_dataset` reads each clip
    once.
    """

    frames: ReadableFrames
    """Source of the samples."""
    windows: Windows
    """Length and stride of the windows."""
    too_short: tuple[str, ...]
    """Clips without a single window."""

    def __init__(
        self,
        frames: ReadableFrames,
        windows: Windows | None = None,
        *,
        transform: Callable[[Sample], object] | None = None,
    ) -> None:
        """Count the windows; read nothing.

        Args:
            frames: Clips, from `open_frames`.
            windows: Length and stride of the windows; default: whole clips.
            transform: Applied to each sample. It must be picklable for spawned workers.
        """
        self.frames = frames
        self.windows = windows or Windows()
        self._transform = transform
        self._clips = list(frames)
        counts = [len(self.windows.starts(frames.length(clip))) for clip in self._clips]
        self.too_short = tuple(
            clip for clip, count in zip(self._clips, counts, strict=True) if not count
        )
        self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def window(self, index: int) -> Window:
        """Return the window of a sample; read nothing.

        Raises:
            IndexError: The index is out of range.
        """
        if not -len(self) <= index < len(self):
            message = f"no window {index}: there are {len(self)}"
            raise IndexError(message)
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        return self.windows_of(self._clips[number])[index - first]

    def windows_of(self, clip_id: str) -> Sequence[Window]:
        """Return the windows of a clip."""
        num_frames = self.frames.length(clip_id)
        length = self.windows.length or num_frames
        return [Window(clip_id, start, start + length) for start in self.windows.starts(num_frames)]

    def __getitem__(self, index: int) -> object:
        """Read a sample.

        Raises:
            IntegrityError: An object is missing, or differs from the commit.
        """
        window = self.window(index)
        frames = self.frames.read(window.clip_id, window.start, window.stop)
        return self.sample(window, frames)

    def sample(self, window: Window, frames: FrameBatch) -> object:
        """Return the sample of a window's frames."""
        sample: Sample = {
            "frames": frames.frames,
            "pts": frames.pts,
            "positions": frames.positions,
            "seconds": frames.pts_seconds,
            "corrupt": frames.corrupt,
            "clip_id": window.clip_id,
            "start": window.start,
        }
        return sample if self._transform is None else self._transform(sample)
