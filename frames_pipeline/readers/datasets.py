"""Windows of stored frames as torch datasets.

    clip a   |0 1 2 3 4 5 6 7|        length 4, stride 2
    windows  [0 1 2 3)
                 [2 3 4 5)
                     [4 5 6 7)

`WindowDataset` is map-style, `iterable_dataset` reads every clip once per epoch. Both may be
pickled to spawned workers or inherited by forked ones, and read from disk or bucket alike.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.readers.stored_frames import ReadableFrames

if TYPE_CHECKING:
    import torch
    from torch.utils.data import IterableDataset

_WINDOWS: Final = 1
"""Told to the generator of random numbers beside seed and epoch, so that the order within clips
is no echo of the order of clips."""


class Sample(TypedDict):
    """A window of a clip, or all of it. torch's default collation stacks samples of one shape."""

    frames: NDArray[np.uint8]
    """RGB. Shape (n, height, width, 3)."""
    pts: NDArray[np.int64]
    """Presentation timestamps, in units of the stream's time base. Shape (n,)."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the stream. Shape (n,)."""
    seconds: NDArray[np.float64]
    """Presentation timestamps in seconds. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether damage may have touched the pixels. Shape (n,)."""
    clip_id: str
    """The clip."""
    start: int
    """Number of the first frame among those stored of the clip."""


class Window(NamedTuple):
    """Frames [start, stop) of a clip, as they are numbered where they are stored."""

    clip_id: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Windows:
    """Which windows clips are cut into."""

    length: int | None = None
    """Frames of a window; `None`: one window per clip, whatever its length."""
    stride: int | None = None
    """Frames from the start of one window to that of the next; the length if left out."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if self.length is None and self.stride is not None:
            message = f"stride={self.stride} has no meaning for whole clips; give a length, too"
            raise ConfigError(message)
        for name in ("length", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                message = f"{name}={value} must be above zero"
                raise ConfigError(message)

    def starts(self, num_frames: int) -> range:
        """Where windows of a clip start; none are cut short, so frames at its end may be left out.

        >>> list(Windows(4, 2).starts(9)), list(Windows(4).starts(3)), list(Windows().starts(3))
        ([0, 2, 4], [], [0])
        """
        if self.length is None:
            return range(1)
        return range(0, num_frames - self.length + 1, self.stride or self.length)


class WindowDataset:
    """Windows of clips by number, as torch's samplers and `DataLoader` take them.

    Each sample is read by itself, with the whole shards that it lies in: right for clips, and for
    windows of clips that are one shard of few frames. For many windows of long clips,
    `iterable_dataset` reads each clip once.
    """

    frames: ReadableFrames
    """Where samples come from."""
    windows: Windows
    """How clips are cut."""
    too_short: tuple[str, ...]
    """Clips without a single window."""

    def __init__(
        self,
        frames: ReadableFrames,
        windows: Windows | None = None,
        *,
        transform: Callable[[Sample], object] | None = None,
    ) -> None:
        """Count the windows; nothing is read.

        Args:
            frames: Clips, from `open_frames`.
            windows: How to cut them; whole clips if it is left out.
            transform: What is made of each sample. It must be picklable for spawned workers.
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
        """Which frames a sample is of; nothing is read.

        Raises:
            IndexError: There are not so many.
        """
        if not -len(self) <= index < len(self):
            message = f"no window {index}: there are {len(self)}"
            raise IndexError(message)
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        return self.windows_of(self._clips[number])[index - first]

    def windows_of(self, clip_id: str) -> Sequence[Window]:
        """The windows of a clip."""
        num_frames = self.frames.length(clip_id)
        length = self.windows.length or num_frames
        return [Window(clip_id, start, start + length) for start in self.windows.starts(num_frames)]

    def __getitem__(self, index: int) -> object:
        """A sample.

        Raises:
            IntegrityError: An object is missing, or is not the one committed.
        """
        window = self.window(index)
        frames = self.frames.read(window.clip_id, window.start, window.stop)
        return self.sample(window, frames)

    def sample(self, window: Window, frames: FrameBatch) -> object:
        """The sample that frames of a window are."""
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


def split(
    count: int, *, part: int, parts: int, seed: int | None, epoch: int = 0
) -> NDArray[np.int64]:
    """Which of `count` clips one of several readers takes in an epoch, in its order.

    Each clip is taken by one reader, and no reader takes two more than another. Without a seed the
    order is that of the clips, alike in every epoch.

    >>> [split(5, part=part, parts=2, seed=None).tolist() for part in range(2)]
    [[0, 2, 4], [1, 3]]
    """
    if not 0 <= part < parts:
        message = f"part {part} of {parts}: parts are counted from 0"
        raise ConfigError(message)
    if seed is None:
        order = np.arange(count, dtype=np.int64)
    else:
        order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.int64)
    return order[part::parts]


def iterable_dataset(
    frames: ReadableFrames,
    windows: Windows | None = None,
    *,
    seed: int | None = 0,
    buffer: int = 0,
    rank: int | None = None,
    world: int | None = None,
    transform: Callable[[Sample], object] | None = None,
) -> IterableDataset[object]:
    """Windows of clips as a torch `IterableDataset`, every sample once per epoch.

    Clips are dealt out anew in each epoch to ranks and their workers; a reader reads a clip once
    and gives its windows in random order. Call `set_epoch(n)` before an epoch, as of torch's
    `DistributedSampler`; workers that persist see it, too. Ranks get different numbers of samples
    where these cannot be dealt out evenly: none is repeated or left out.

    Args:
        frames: Clips, from `open_frames`.
        windows: How to cut them; whole clips if it is left out.
        seed: What the order depends on, beside the epoch; `None`: the order of the clips.
        buffer: Windows that each reader holds to choose the next from, which mixes clips.
        rank: Number of this process among those that train together; `torch.distributed`'s, or 0
            where that is not at work.
        world: How many those are; `torch.distributed`'s, or 1.
        transform: What is made of each sample. It must be picklable for spawned workers.

    Raises:
        ConfigError: There is no torch, or the numbers make no sense.
    """
    if (rank is None) != (world is None):
        message = f"rank={rank} and world={world} must be given together, or neither"
        raise ConfigError(message)
    if rank is None or world is None:
        rank, world = _distributed()
    split(0, part=rank, parts=world, seed=seed)
    if buffer < 0:
        message = f"buffer={buffer} must not be below zero"
        raise ConfigError(message)
    dataset = WindowDataset(frames, windows, transform=transform)
    return _iterable(_Reading(dataset, seed, buffer, rank, world), None)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Everything that decides which samples a reader gives, but the epoch and the worker."""

    dataset: WindowDataset
    seed: int | None
    buffer: int
    rank: int
    world: int

    def samples(self, *, epoch: int, worker: int, workers: int) -> Iterator[object]:
        """The samples of one worker."""
        part, parts = self.rank * workers + worker, self.world * workers
        clips = list(self.dataset.frames)
        mine = split(len(clips), part=part, parts=parts, seed=self.seed, epoch=epoch)
        samples = self._by_clip([clips[number] for number in mine], epoch, part)
        if self.seed is None or not self.buffer:
            return samples
        return _mixed(samples, self.buffer, np.random.default_rng([self.seed, epoch, part]))

    def _by_clip(self, clips: Iterable[str], epoch: int, part: int) -> Iterator[object]:
        rng = None
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, epoch, part, _WINDOWS])
        for clip in clips:
            windows = self.dataset.windows_of(clip)
            if not windows:
                continue
            frames = self.dataset.frames.read(clip, 0, windows[-1].stop)
            order = range(len(windows)) if rng is None else rng.permutation(len(windows))
            for number in order:
                window = windows[number]
                yield self.dataset.sample(window, frames.part(window.start, window.stop))


def _mixed(samples: Iterator[object], size: int, rng: np.random.Generator) -> Iterator[object]:
    """The samples, each chosen at random of `size` that are held."""
    held: list[object] = []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
            continue
        place = int(rng.integers(size))
        held[place], chosen = sample, held[place]
        yield chosen
    for number in rng.permutation(len(held)):
        yield held[number]


def _distributed() -> tuple[int, int]:
    _check_torch()
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _iterable(reading: _Reading, epoch: torch.Tensor | None) -> IterableDataset[object]:
    """A dataset of a class that torch knows, made here so that torch is imported where it is used.

    The epoch is in shared memory: workers that persist are told of the next one in this way.
    """
    _check_torch()
    import torch.utils.data

    told = torch.zeros((), dtype=torch.int64).share_memory_() if epoch is None else epoch

    class StoredWindows(torch.utils.data.IterableDataset):  # type: ignore[misc]
        too_short = reading.dataset.too_short

        def set_epoch(self, epoch: int) -> None:
            told.fill_(epoch)

        def __iter__(self) -> Iterator[object]:
            worker = torch.utils.data.get_worker_info()
            number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
            return reading.samples(epoch=int(told), worker=number, workers=count)

        def __reduce__(self) -> tuple[Any, ...]:
            return _iterable, (reading, told)

    return StoredWindows()


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        message = "there is no torch; install frames-pipeline[torch]"
        raise ConfigError(message)
