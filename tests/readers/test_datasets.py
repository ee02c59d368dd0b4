"""Stored frames as torch datasets."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError, IntegrityError, StoredFrames, open_frames
from frames_pipeline.frames import FrameBatch
from frames_pipeline.readers.datasets import Sample, WindowDataset, Windows, iterable_dataset, split
from tests.libraries import need
from tests.s3 import S3
from tests.stored import EVERY_SAMPLES, SIGNATURE, fill, with_samples


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("store"))
    fill(root)
    return root


@pytest.fixture
def frames(root: str) -> StoredFrames:
    return open_frames(root, signature=SIGNATURE)


def every_window(frames: StoredFrames, windows: Windows) -> list[tuple[str, int]]:
    """All that an epoch has, spelled out."""
    return [
        (clip, start)
        for clip in frames
        for start in range(0, 100, windows.stride or windows.length or 100)
        if start + (windows.length or 1) <= int(clip.rpartition("-")[2])
    ]


def ids(samples: Any) -> list[tuple[str, int]]:
    return [(sample["clip_id"], int(sample["start"])) for sample in samples]


def brightness(sample: Sample) -> tuple[str, int, float]:
    """A transform that spawned workers can be told of."""
    return sample["clip_id"], sample["start"], float(sample["frames"].mean())


@given(
    st.integers(0, 60),
    st.integers(1, 9),
    st.one_of(st.none(), st.integers(0, 5)),
    st.integers(0, 3),
)
def test_readers_share_the_clips(count: int, parts: int, seed: int | None, epoch: int) -> None:
    taken = [split(count, part=part, parts=parts, seed=seed, epoch=epoch) for part in range(parts)]
    assert sorted(np.concatenate(taken).tolist()) == list(range(count))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(split(50, part=0, parts=1, seed=seed, epoch=epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
    again = split(50, part=0, parts=1, seed=2, epoch=1)
    assert again.tolist() == split(50, part=0, parts=1, seed=2, epoch=1).tolist()


@pytest.mark.parametrize("windows", [Windows(), Windows(3), Windows(3, 1), Windows(2, 3)])
def test_samples_by_number(frames: StoredFrames, windows: Windows) -> None:
    dataset = WindowDataset(frames, windows)
    expected = every_window(frames, windows)
    assert [tuple(dataset.window(n))[:2] for n in range(len(dataset))] == expected
    for number, (clip, start) in enumerate(expected):
        sample: Any = dataset[number]
        length = windows.length or len(frames[clip])
        whole = frames.read(clip)
        assert (sample["clip_id"], sample["start"]) == (clip, start)
        for name in ("frames", "pts", "positions", "corrupt"):
            assert np.array_equal(sample[name], getattr(whole, name)[start : start + length])
        assert np.array_equal(sample["seconds"], whole.pts_seconds[start : start + length])
    with pytest.raises(IndexError, match=f"there are {len(expected)}"):
        dataset[len(expected)]


def test_clips_that_are_too_short_are_told(frames: StoredFrames) -> None:
    dataset = WindowDataset(frames, Windows(5))
    assert dataset.too_short == ("b1/v1.mp4#0-3", "b2/v0.mp4#0-1", "b2/v2.mp4#0-4")
    assert len(WindowDataset(frames, Windows(100))) == 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"length": 0}, "length=0 must be above zero"),
        ({"length": 2, "stride": 0}, "stride=0 must be above zero"),
        ({"stride": 2}, "stride=2 has no effect with whole clips"),
    ],
)
def test_windows_that_cannot_be_cut(wrong: dict[str, int], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Windows(**wrong)


@pytest.mark.parametrize("buffer", [0, 3, 100])
@pytest.mark.parametrize("windows", [Windows(), Windows(2, 1)])
def test_an_epoch_has_each_sample_once(frames: StoredFrames, windows: Windows, buffer: int) -> None:
    """Over three ranks; the next epoch in another order, the same epoch in the same."""
    need("torch")
    epochs = []
    for epoch in (0, 1, 0):
        given: list[tuple[str, int]] = []
        for rank in range(3):
            dataset: Any = iterable_dataset(frames, windows, buffer=buffer, rank=rank, world=3)
            dataset.set_epoch(epoch)
            given += ids(dataset)
        assert Counter(given) == Counter(every_window(frames, windows))
        epochs.append(given)
    assert epochs[0] == epochs[2] != epochs[1]


def test_without_a_seed_the_order_is_the_stores(frames: StoredFrames) -> None:
    need("torch")
    dataset: Any = iterable_dataset(frames, Windows(2), seed=None, buffer=4)
    assert ids(dataset) == every_window(frames, Windows(2))


@pytest.mark.live
def test_spawned_workers_read_what_there_is(root: str) -> None:
    """They persist, and are told of the next epoch; the main process has read before."""
    need("torch")
    from torch.utils.data import DataLoader

    frames = open_frames(root, signature=SIGNATURE)
    expected = {
        (clip, start): frames.read(clip).frames[start : start + 2].mean()
        for clip, start in every_window(frames, Windows(2))
    }
    dataset: Any = iterable_dataset(frames, Windows(2), transform=brightness)
    loader: Any = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    orders = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        samples = list(loader)
        assert {(clip, start): mean for clip, start, mean in samples} == pytest.approx(expected)
        assert len(samples) == len(expected)
        orders.append([sample[:2] for sample in samples])
    assert orders[0] != orders[1]


def test_forked_workers_collate(frames: StoredFrames) -> None:
    need("torch")
    from torch.utils.data import DataLoader

    dataset: Any = WindowDataset(frames, Windows(2))
    loader: Any = DataLoader(dataset, batch_size=4, num_workers=1, multiprocessing_context="fork")
    batches = list(loader)
    assert sum(len(batch["clip_id"]) for batch in batches) == len(dataset)
    assert batches[0]["frames"].shape == (4, 2, 6, 8, 3)
    assert np.array_equal(batches[0]["frames"][0].numpy(), dataset[0]["frames"])


@pytest.mark.parametrize("samples", EVERY_SAMPLES)
@pytest.mark.parametrize("workers", [0, 1])
def test_tensors_have_the_type_of_the_samples(tmp_path: Path, samples: str, workers: int) -> None:
    need("torch")
    import torch
    from torch.utils.data import DataLoader

    written = fill(str(tmp_path), samples=samples)
    frames = open_frames(tmp_path, signature=with_samples(samples))
    kind = {"uint8": torch.uint8, "uint16": torch.uint16}[str(frames.dtype)]
    context = "fork" if workers else None
    for dataset in (WindowDataset(frames, Windows(2)), iterable_dataset(frames, Windows(2))):
        loader: Any = DataLoader(
            dataset,
            batch_size=3,
            num_workers=workers,
            multiprocessing_context=context,
        )
        seen = 0
        for batch in loader:
            assert batch["frames"].dtype == kind
            assert batch["frames"].shape[1:] == (2, 6, 8, frames.channels)
            for clip, start, found in zip(
                batch["clip_id"], batch["start"], batch["frames"], strict=True
            ):
                whole = written[clip].frames
                assert np.array_equal(found.numpy(), whole[int(start) : int(start) + 2])
                seen += 1
        assert seen == len(WindowDataset(frames, Windows(2)))


def test_pickled_datasets_give_the_same(frames: StoredFrames) -> None:
    need("torch")
    dataset: Any = iterable_dataset(frames, Windows(2), seed=3, buffer=2)
    dataset.set_epoch(5)
    assert ids(pickle.loads(pickle.dumps(dataset))) == ids(dataset)
    assert dataset.too_short == ("b2/v0.mp4#0-1",)


def test_from_a_bucket_in_a_forked_worker(s3: S3) -> None:
    """The connection that the main process made is not taken along.

    Past the proxy: a fork would hold on to the proxy's sockets, too, which are of this process.
    """
    need("torch")
    from torch.utils.data import DataLoader

    options = s3.options | {"endpoint_url": s3.direct}
    batches: dict[str, FrameBatch] = fill(s3.url, options)
    frames = open_frames(s3.url, signature=SIGNATURE, storage_options=options)
    loader: Any = DataLoader(
        iterable_dataset(frames), batch_size=None, num_workers=1, multiprocessing_context="fork"
    )
    for sample in loader:
        assert np.array_equal(sample["frames"], batches[sample["clip_id"]].frames)
    dataset = WindowDataset(frames)
    assert len([dataset[number] for number in range(len(dataset))]) == len(batches)


def test_damage_is_not_trained_on(tmp_path: Path) -> None:
    need("torch")
    fill(str(tmp_path))
    frames = open_frames(tmp_path, signature=SIGNATURE)
    shard = next(tmp_path.glob("frames/b2/*/clips/*/*/frames/c/0/0/0/0"))
    shard.write_bytes(shard.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match="has other bytes than those committed"):
        list(iterable_dataset(frames))


def test_numbers_that_make_no_sense(frames: StoredFrames) -> None:
    need("torch")
    with pytest.raises(ConfigError, match="rank=1 and world=None must be given together"):
        iterable_dataset(frames, rank=1)
    with pytest.raises(ConfigError, match="part 2 of 2: parts are counted from 0"):
        iterable_dataset(frames, rank=2, world=2)
    with pytest.raises(ConfigError, match="buffer=-1 must not be below zero"):
        iterable_dataset(frames, buffer=-1)
