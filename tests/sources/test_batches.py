"""Batches are sealed once and never change."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frames_pipeline import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.sources.batches import Batching, BatchRegistry
from frames_pipeline.sources.videos import Video


def videos(count: int, modified: float = 0.0) -> list[Video]:
    return [Video(f"v{number:03d}.mp4", 1, modified) for number in range(count)]


def test_full_batches_are_sealed_at_once_and_the_rest_when_it_has_waited() -> None:
    batching = Batching(batch_size=4, min_batch_size=2, max_wait_s=60)
    assert [len(group) for group in batching.groups(videos(9), now=10)] == [4, 4]
    assert [len(group) for group in batching.groups(videos(10), now=59)] == [4, 4]
    assert [len(group) for group in batching.groups(videos(10), now=60)] == [4, 4, 2]
    assert [len(group) for group in batching.groups(videos(9), now=1000)] == [4, 4]


def test_a_sealed_batch_is_read_back(tmp_path: Path) -> None:
    registry = BatchRegistry(str(tmp_path))
    sealed = registry.seal(["b.mp4", "a.mp4"], source="somewhere")

    assert sealed is not None
    assert sealed.key == "batch-000001"
    assert sealed.videos == ("a.mp4", "b.mp4")
    assert registry.read(sealed.key) == sealed
    assert registry.keys() == ["batch-000001"]
    assert registry.sealed_videos() == dict.fromkeys(["a.mp4", "b.mp4"], sealed.key)


def test_of_sealers_at_once_no_video_gets_into_two_batches(tmp_path: Path) -> None:
    registry = BatchRegistry(str(tmp_path))
    wanted = [[f"{n}.mp4" for n in range(start, start + 5)] for start in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.seal, wanted))

    keys = registry.keys()
    members = [video for key in keys for video in registry.read(key).videos]
    assert sorted(members) == sorted({video for group in wanted for video in group})


def test_many_batches_are_read_from_one_object(tmp_path: Path) -> None:
    registry = BatchRegistry(str(tmp_path))
    odd = os.fsdecode(b"/caf\xe9")  # a folder with a name that is not Unicode, and the object in it
    registry.seal_all(([f"{n}.mp4"] for n in range(600)), source=odd)
    members = dict(registry.sealed_videos())
    index = tmp_path / "batches" / "index.parquet"
    assert index.exists()

    fresh = BatchRegistry(str(tmp_path))
    assert fresh.seal(["599.mp4", "new.mp4"]) == BatchRegistry(str(tmp_path)).read("batch-000601")
    assert fresh.sealed_videos() == members | {"new.mp4": "batch-000601"}

    index.write_bytes(b"damaged")
    assert BatchRegistry(str(tmp_path)).sealed_videos() == fresh.sealed_videos()


def test_an_index_with_a_flipped_bit_is_not_believed(tmp_path: Path) -> None:
    """Each batch is then read individually, and the index is rewritten."""
    registry = BatchRegistry(str(tmp_path))
    sealed = registry.seal_all([[f"{number}.mp4"] for number in range(502)])
    index = tmp_path / "batches" / "index.parquet"
    whole = index.read_bytes()
    for place in range(40, len(whole), len(whole) // 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        index.write_bytes(flipped)
        damaged = BatchRegistry(str(tmp_path))
        assert damaged.index_damage()
        assert damaged.indexed() == {}
    known = BatchRegistry(str(tmp_path))
    assert known.sealed_videos() == {one.videos[0]: one.key for one in sealed}
    assert known.index_damage() == ""
    assert len(known.indexed()) == 502


def test_nothing_left_over_seals_nothing(tmp_path: Path) -> None:
    assert BatchRegistry(str(tmp_path)).seal([]) is None
    assert BatchRegistry(str(tmp_path)).keys() == []


def test_a_batch_that_is_not_there_or_not_readable_is_named(tmp_path: Path) -> None:
    registry = BatchRegistry(str(tmp_path))
    with pytest.raises(CommitNotFoundError, match="no batch 'batch-7'"):
        registry.read("batch-7")
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "x.json").write_text("{")
    with pytest.raises(IntegrityError, match="batch x cannot be read"):
        registry.read("x")
    (tmp_path / "batches" / "x.json").write_text(
        '{"format": "video-batch/9", "key": "x", "videos": []}'
    )
    with pytest.raises(IntegrityError, match="batch x is in format 'video-batch/9'"):
        registry.read("x")


def test_batching_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_batch_size=5 must be between 1 and batch_size=4"):
        Batching(batch_size=4, min_batch_size=5)
    with pytest.raises(ConfigError, match="max_wait_s=-1 must not be below zero"):
        Batching(max_wait_s=-1)


def test_a_retired_batch_keeps_its_videos(tmp_path: Path) -> None:
    registry = BatchRegistry(str(tmp_path))
    registry.seal_all([["a.mp4"], ["b.mp4"]])
    registry.retire("batch-000001")
    registry.retire("batch-000001")

    fresh = BatchRegistry(str(tmp_path))
    assert (fresh.keys(), fresh.retired()) == (["batch-000002"], ["batch-000001"])
    assert fresh.seal(["a.mp4", "b.mp4"]) is None
    assert fresh.read("batch-000001").videos == ("a.mp4",)

    registry.restore("batch-000001")
    assert (fresh.keys(), fresh.retired()) == (["batch-000001", "batch-000002"], [])


def test_two_that_know_of_nothing_new_seal_no_video_twice(tmp_path: Path) -> None:
    """Neither looks again before it seals; the number that is taken tells the second."""
    one, other = (BatchRegistry(str(tmp_path)) for _ in range(2))
    one.seal(["a.mp4"])
    assert dict(other.sealed_videos()) == {"a.mp4": "batch-000001"}
    one.seal_all([["b.mp4", "c.mp4"], ["d.mp4"]])
    (batch,) = other.seal_all([["b.mp4", "e.mp4"], ["c.mp4", "d.mp4"]])
    assert (batch.key, batch.videos) == ("batch-000004", ("e.mp4",))
    assert other.seen() == other.keys() == BatchRegistry(str(tmp_path)).keys()


def test_only_what_was_sealed_is_retired(tmp_path: Path) -> None:
    with pytest.raises(CommitNotFoundError, match="batch-000007"):
        BatchRegistry(str(tmp_path)).retire("batch-000007")
