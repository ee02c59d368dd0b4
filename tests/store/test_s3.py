"""The store on S3: which requests it makes, and what it makes of faults."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from frames_pipeline.errors import StoreAccessError, TransientError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore
from tests.s3 import BUCKET, ERRORS, S3

Act = Callable[[Objects], Any]

ACTS: dict[str, Act] = {
    "get": lambda objects: objects.get("some/key"),
    "info": lambda objects: objects.info("some/key"),
    "list": lambda objects: objects.list("some"),
    "folders": lambda objects: objects.folders("some"),
    "put": lambda objects: objects.put("some/key", b"new"),
    "put_new": lambda objects: objects.put_new("some/other", b"new"),
    "delete": lambda objects: objects.delete(["some/key"]),
}
LOOKS_AND_PUTS = [act for act in ACTS if act != "delete"]
"""What is in no bucket is gone: to delete it is no fault."""
TRANSIENT = (
    "SlowDown", "ServiceUnavailable", "InternalError", "BadGateway", "GatewayTimeout",
    "TooManyRequests", "RequestTimeout", "BadDigest",
)  # fmt: skip
FINAL = (
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "NoSuchBucket",
)  # fmt: skip


@pytest.fixture
def s3_store(s3: S3) -> FrameStore:
    """A store in the bucket."""
    return FrameStore(s3.url, s3.options)


def test_requests_per_clip(
    s3: S3,
    s3_store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: Callable[..., FrameBatch],
    assert_same: Callable[[FrameBatch, FrameBatch], None],
) -> None:
    """A clip of one shard is six PUTs; reading it is three GETs, the commit's too, and no HEAD."""
    frames = make_frames()
    s3_store.write_clip("b", "first", {signature: frames})
    s3.count()
    s3_store.write_clip("b", "second", {signature: frames})
    assert [request.key.rpartition("/")[2] for request in s3.requests] == [
        "zarr.json",
        "0",
        "zarr.json",
        "0",
        "zarr.json",
        s3.requests[-1].key.rpartition("/")[2],
    ]
    assert "/commits/second-" in s3.requests[-1].key
    assert s3.count() == {"PUT": 6}
    assert_same(s3_store.read("b", signature, "second"), frames)
    assert s3.count() == {"GET": 3}
    assert s3_store.clips("b", signature).keys() == {"first", "second"}
    assert s3.count() == {"LIST": 1, "GET": 2}
    s3_store.commit_batch("b", signature, ["first", "second"])
    assert s3.count() == {"GET": 5, "PUT": 1}
    assert s3_store.manifest("b", signature).clips.keys() == {"first", "second"}
    assert s3.count() == {"GET": 1}
    assert s3_store.verify("b").ok


def test_open_reads_lazily(
    s3: S3,
    s3_store: FrameStore,
    signature: FrameExtractionSignature,
    make_frames: Callable[..., FrameBatch],
) -> None:
    """Opening is one commit, one listing and one document; a frame is its shard's index and it."""
    frames = make_frames()
    s3_store.write_clip("b", "c", {signature: frames})
    s3.count()
    clip = s3_store.open("b", signature, "c")
    assert s3.count() == {"GET": 2, "LIST": 1}
    np.testing.assert_array_equal(clip.frames[2], frames.frames[2])
    assert s3.count() == {"GET": 2}


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


def test_put_new_is_conditional(s3: S3) -> None:
    """The second writer is told, and the first one's bytes stay."""
    objects = Objects(s3.url, s3.options)
    assert objects.put_new("a", b"first")
    assert not objects.put_new("a", b"second")
    assert objects.get("a") == b"first"


@pytest.fixture
def objects(s3: S3) -> Objects:
    """A place with one object in it, through a client that has connected."""
    objects = Objects(s3.url, s3.options)
    objects.put("some/key", b"0123456789")
    s3.count()
    return objects


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        *product(ACTS, ["reset", "InternalError"]),
        *product(["get", "list", "folders"], ["cut answer"]),
        *product(["put", "list"], TRANSIENT),
    ],
)
def test_a_fault_that_lasts_is_transient(
    s3: S3, objects: Objects, monkeypatch: pytest.MonkeyPatch, act: str, kind: str
) -> None:
    """Whatever the operation, and about which object."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 2)  # five take two seconds
    if kind in ERRORS:
        s3.harm("error", code=kind, times=1000)
    else:
        s3.harm(kind, times=1000)
    with pytest.raises(TransientError, match=f"cannot reach {s3.url}/some.* now"):
        ACTS[act](objects)


@pytest.mark.parametrize(("act", "code"), [*product(LOOKS_AND_PUTS, FINAL)])
def test_a_refusal_is_final(s3: S3, objects: Objects, act: str, code: str) -> None:
    """One request, or two where a HEAD has no words: it is not tried again."""
    s3.harm("error", code=code, times=1000)
    with pytest.raises(StoreAccessError, match=r"some"):
        ACTS[act](objects)
    assert s3.count().total() <= 2


@pytest.mark.parametrize(
    ("kind", "code"), [("error", "SlowDown"), ("error", "InternalError"), ("reset", "")]
)
@pytest.mark.parametrize("act", ["get", "list", "put"])
def test_a_fault_that_passes_is_not_seen(
    s3: S3, objects: Objects, act: str, kind: str, code: str
) -> None:
    """With the options that a user has, who sets none: the client tries again by itself."""
    objects = Objects(s3.url, {n: v for n, v in s3.options.items() if n != "config_kwargs"})
    harm = s3.harm(kind, code=code, times=2)
    ACTS[act](objects)
    assert harm.done == 2
    assert s3.count().total() >= 3


@pytest.mark.parametrize("act", LOOKS_AND_PUTS)
def test_a_missing_bucket_is_not_an_empty_one(s3: S3, act: str) -> None:
    """A real one: nothing is taken for not yet written, and nothing can be."""
    objects = Objects(f"{s3.url.replace(BUCKET, 'none', 1)}", s3.options)
    with pytest.raises(StoreAccessError, match="create it first, or correct"):
        ACTS[act](objects)


def test_what_is_not_there(s3: S3, objects: Objects) -> None:
    """An absent object, folder, or a folder asked for as an object."""
    for key in ("some", "none", "some/key/below"):
        with pytest.raises(FileNotFoundError):
            objects.get(key)
        with pytest.raises(FileNotFoundError):
            objects.info(key)
    assert objects.list("none") == {}
    assert objects.folders("none") == []


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


def test_get_many_leaves_out_what_is_missing(s3: S3) -> None:
    """Many objects are fetched side by side."""
    objects = Objects(s3.url, s3.options)
    for number in range(40):
        objects.put(f"many/{number:02}", str(number).encode())
    found = objects.get_many([f"many/{number:02}" for number in range(50)])
    assert list(found.values()) == [str(number).encode() for number in range(40)]
    assert objects.folders() == ["many"]
    objects.delete(found)
    assert objects.list() == {}
