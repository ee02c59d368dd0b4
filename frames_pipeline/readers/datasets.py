"""Windows of stored frames as torch datasets.

`WindowDataset` is map-style; `iterable_dataset` reads every clip once per epoch. You can pickle
both to spawned workers, let forked ones inherit them, and read from disk or a bucket.

Frames of 16 bits become tensors of `torch.uint16`, which torch can move, index and convert, and
computes little else with: convert them first, as in `frames.to(torch.float32) / 65535`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.readers.stored_frames import ReadableFrames
from frames_pipeline.readers.windows import Sample, Window, WindowDataset, Windows

if TYPE_CHECKING:
    import torch
    from torch.utils.data import IterableDataset

__all__ = ["Sample", "Window", "WindowDataset", "Windows", "iterable_dataset", "split"]

_WINDOWS: Final = 1
"""Seeds the order within clips, beside seed and epoch: it differs from the order of the clips."""


def split(
    count: int, *, part: int, parts: int, seed: int | None, epoch: int = 0
) -> NDArray[np.int64]:
    """Return the clips out of `count` that one of several readers takes in an epoch, in its order.

    Each clip goes to one reader, and readers differ by at most one clip. Without a seed, every
    epoch has the order of the clips.

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
    """Return windows of clips as a torch `IterableDataset`, every sample once per epoch.

    Each epoch deals the clips out anew to ranks and their workers; a reader reads a clip once and
    yields its windows in random order. Call `set_epoch(n)` before an epoch, as for torch's
    `DistributedSampler`; persistent workers see it, too. Samples are never repeated or dropped, so
    ranks can get different numbers of them.

    Args:
        frames: Clips, from `open_frames`.
        windows: Length and stride of the windows; default: whole clips.
        seed: Seed of the random order, beside the epoch; `None`: the order of the clips.
        buffer: Windows that each reader holds to draw the next from, which mixes clips.
        rank: Rank of this process; default: that of `torch.distributed`, or 0 without it.
        world: Number of processes; default: that of `torch.distributed`, or 1 without it.
        transform: Applied to each sample. It must be picklable for spawned workers.

    Raises:
        ConfigError: torch is not installed, or a number is out of range.
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
    """Settings that decide the samples of a reader, together with epoch and worker."""

    dataset: WindowDataset
    seed: int | None
    buffer: int
    rank: int
    world: int

    def samples(self, *, epoch: int, worker: int, workers: int) -> Iterator[object]:
        """Return the samples of one worker."""
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
    """Yield the samples, each drawn at random from `size` held ones."""
    held: list[object] = []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
            continue
        drawn = int(rng.integers(size))
        held[drawn], chosen = sample, held[drawn]
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
    """Return a dataset of a class made here, so that torch is imported only where it is used.

    The epoch is in shared memory, where persistent workers see a new one.
    """
    _check_torch()
    import torch.utils.data

    current = torch.zeros((), dtype=torch.int64).share_memory_() if epoch is None else epoch

    class StoredWindows(torch.utils.data.IterableDataset):  # type: ignore[misc]
        too_short = reading.dataset.too_short

        def set_epoch(self, epoch: int) -> None:
            current.fill_(epoch)

        def __iter__(self) -> Iterator[object]:
            worker = torch.utils.data.get_worker_info()
            number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
            return reading.samples(epoch=int(current), worker=number, workers=count)

        def __reduce__(self) -> tuple[Any, ...]:
            return _iterable, (reading, current)

    return StoredWindows()


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        message = "torch is not installed; install frames-pipeline[torch]"
        raise ConfigError(message)
