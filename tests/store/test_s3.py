"""The store on S3: which requests it makes, and what it makes of faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from frames_pipeline.errors import StoreError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore


@pytest.fixture
def s3_store(s3: Any) -> FrameStore:
    """A store in the bucket."""
    return FrameStore(s3.url, s3.options)


def methods(s3: Any) -> Counter[str]:
    """How often each method was used; the count starts again."""
    counted = Counter(request.partition(" ")[0] for request in s3.requests)
    s3.requests.clear()
    return counted


def test_requests_per_clip(
    s3: Any,
    s3_store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: Callable[..., FrameBatch],
    assert_same: Callable[[FrameBatch, FrameBatch], None],
) -> None:
    """A clip of one shard is six PUTs and one GET; reading it is six GETs, and no HEAD."""
    frames = make_frames()
    s3_store.write_clip("b", "first", {signature: frames})
    methods(s3)
    s3_store.write_clip("b", "second", {signature: frames})
    assert [re.sub(r".*/", "", request) for request in s3.requests] == [
        "signature.json",
        "zarr.json",
        "0",
        "zarr.json",
        "0",
        "zarr.json",
        s3.requests[-1].rpartition("/")[2],
    ]
    assert "/commits/second-" in s3.requests[-1]
    assert methods(s3) == {"PUT": 6, "GET": 1}
    assert_same(s3_store.read("b", signature, "second"), frames)
    assert methods(s3) == {"GET": 6}
    assert s3_store.clips("b", signature).keys() == {"first", "second"}
    assert methods(s3) == {"LIST": 1, "GET": 2}
    s3_store.commit_batch("b", signature, ["first", "second"])
    assert methods(s3) == {"GET": 4, "PUT": 1}
    assert s3_store.manifest("b", signature).clips.keys() == {"first", "second"}
    assert methods(s3) == {"GET": 1}
    assert s3_store.verify("b").ok


def test_open_reads_lazily(
    s3: Any,
    s3_store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: Callable[..., FrameBatch],
) -> None:
    """Opening is one commit, one listing and one document; a frame is its shard's index and it."""
    frames = make_frames()
    s3_store.write_clip("b", "c", {signature: frames})
    methods(s3)
    clip = s3_store.open("b", signature, "c")
    assert methods(s3) == {"GET": 2, "LIST": 1}
    np.testing.assert_array_equal(clip.frames[2], frames.frames[2])
    assert methods(s3) == {"GET": 2}


def test_collect_garbage(
    s3_store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: Callable[..., FrameBatch],
) -> None:
    """A replaced attempt goes, the current one stays."""
    for seed in range(2):
        s3_store.write_clip("b", "c", {signature: make_frames(seed=seed)})
    report = s3_store.collect_garbage(grace_seconds=0, dry_run=False)
    assert (len(report.attempts), report.objects) == (1, 5)
    assert s3_store.verify("b", deep=True).ok


def test_put_new_is_conditional(s3: Any) -> None:
    """The second writer is told, and the first one's bytes stay."""
    objects = Objects(s3.url, s3.options)
    assert objects.put_new("a", b"first")
    assert not objects.put_new("a", b"second")
    assert objects.get("a") == b"first"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_transient(s3: Any, status: int) -> None:
    """Throttling and server faults say that trying again may help, and about which object."""
    objects = Objects(s3.url, s3.options)
    s3.answer = status
    for act in (objects.get, objects.list, objects.folders, lambda key: objects.put(key, b"")):
        with pytest.raises(TransientError, match=f"cannot reach {s3.url}/some/key now"):
            act("some/key")


def test_unreachable_server_is_transient() -> None:
    """Nobody listens at the endpoint."""
    options = {
        "key": "none",
        "secret": "none",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    with pytest.raises(TransientError, match="cannot reach s3://bucket/a/key now"):
        Objects("s3://bucket/a", options).get("key")


def test_refusal_is_no_transient_fault(s3: Any) -> None:
    """Trying again does not help who has no right, and the message says what would."""
    objects = Objects(s3.url, s3.options)
    s3.answer = 403
    with pytest.raises(StoreError, match=r"not allowed to reach .*; check credentials and policy"):
        objects.get("key")


def test_missing_bucket(s3: Any) -> None:
    """What is not there cannot be read, and not be written to."""
    objects = Objects(s3.url, s3.options)
    s3.answer = 404
    with pytest.raises(FileNotFoundError):
        objects.get("key")
    with pytest.raises(StoreError, match="create the bucket or folder first"):
        objects.put("key", b"")


def test_get_many_leaves_out_what_is_missing(s3: Any) -> None:
    """Many objects are fetched side by side."""
    objects = Objects(s3.url, s3.options)
    for number in range(40):
        objects.put(f"many/{number:02}", str(number).encode())
    found = objects.get_many([f"many/{number:02}" for number in range(50)])
    assert list(found.values()) == [str(number).encode() for number in range(40)]
    assert objects.folders() == ["many"]
    objects.delete(found)
    assert objects.list() == {}
