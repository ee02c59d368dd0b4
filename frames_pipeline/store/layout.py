"""Where everything is: the keys of batches, clips and attempts, and one signature's folder.

```
frames/{batch_key}/{signature_key}/          SignatureFolder
    signature.json                           the canonical document
    clips/{clip_key}/{attempt}/              one immutable Zarr group
        frames/zarr.json  frames/c/…         (time, y, x, channel)
        time/zarr.json    time/c/0           seconds
        zarr.json                            the group, written last
    commits/{clip_key}.json                  which attempt is the clip; after the data
    manifest.json                            which commits are the batch
```
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import HASH_PREFIX, FrameExtractionSignature

ROOT: Final = "frames"
"""The folder of all batches."""
GRACE_SECONDS: Final = 86400.0
"""Age of unreferenced objects from which they are garbage by default: a day."""

_MAX_BATCH_KEY: Final = 128
_MAX_SLUG: Final = 32
_SIGNATURE_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{16}")
_ATTEMPT: Final = re.compile(r"(clips/(?P<clip>[^/]+)/(?P<stamp>[0-9a-f]{12})-[0-9a-f]{8})(/.+)?")


class HasKey(Protocol):
    """What has a batch key."""

    @property
    def key(self) -> str:
        """Name of the batch."""


class HasClipId(Protocol):
    """What has a clip id."""

    @property
    def clip_id(self) -> str:
        """Identity of the clip within its batch."""


@dataclass(frozen=True, slots=True)
class SignatureFolder:
    """The folder of one batch and signature; paths below are keys in the store."""

    batch_key: str
    """The batch."""
    signature_key: str
    """The signature."""

    @property
    def path(self) -> str:
        """The folder itself."""
        return f"{ROOT}/{self.batch_key}/{self.signature_key}"

    @property
    def signature(self) -> str:
        """The signature's document."""
        return f"{self.path}/signature.json"

    @property
    def manifest(self) -> str:
        """The batch's manifest."""
        return f"{self.path}/manifest.json"

    @property
    def commits(self) -> str:
        """The folder of clip commits."""
        return f"{self.path}/commits"

    def commit(self, key: str) -> str:
        """The commit of the clip with that clip key."""
        return f"{self.commits}/{key}.json"


@dataclass(frozen=True, slots=True)
class AttemptPath:
    """An attempt's folder relative to its signature's, taken apart.

    >>> AttemptPath.parse("clips/a-1f/0198c3a4b5c6-89abcdef/frames/zarr.json")
    AttemptPath(path='clips/a-1f/0198c3a4b5c6-89abcdef', clip_key='a-1f', started=1755629008.326)
    """

    path: str
    """The folder."""
    clip_key: str
    """The clip it is of."""
    started: float
    """When it was begun, in seconds since the epoch."""

    @classmethod
    def parse(cls, path: str) -> AttemptPath | None:
        """The attempt that a folder is, or that an object lies in; `None` if it is none."""
        found = _ATTEMPT.fullmatch(path)
        if found is None:
            return None
        return cls(path=found[1], clip_key=found["clip"], started=int(found["stamp"], 16) / 1000)


def signature_folder(
    batch: str | HasKey, signature: FrameExtractionSignature | str
) -> SignatureFolder:
    """The folder of a batch and a signature, either by its key."""
    key = signature if isinstance(signature, str) else signature.key
    if not is_signature_key(key):
        message = f"{key!r} is no signature key; they look like sequence-2fps-224x224-<16 hex>"
        raise ConfigError(message)
    return SignatureFolder(batch_key(batch), key)


def is_signature_key(key: str) -> bool:
    """Whether a folder may be that of a signature."""
    return _SIGNATURE_KEY.fullmatch(key) is not None


def is_document_of(key: str, document: bytes) -> bool:
    """Whether a signature key stands for that document.

    Documents of other revisions have keys too, though no signature can be made of them.
    """
    digest = hashlib.sha256(HASH_PREFIX + document).hexdigest()
    return key.endswith(f"-{digest[:16]}")


def batch_key(batch: str | HasKey) -> str:
    """The key of a batch, if it can be a folder and a Dagster partition everywhere.

    Raises:
        ConfigError: It cannot.
    """
    key = batch if isinstance(batch, str) else batch.key
    if not key or key.startswith(".") or ".." in key or not key.isprintable():
        fault = "it is empty, starts with a dot, has '..' or has control characters"
    elif any(character in key for character in "/\\,"):
        fault = "it has a slash, a backslash or a comma"
    elif len(key.encode()) > _MAX_BATCH_KEY:
        fault = f"it is longer than {_MAX_BATCH_KEY} bytes"
    else:
        return key
    message = f"batch key {key!r} cannot be used: {fault}; choose another"
    raise ConfigError(message)


def clip_id(clip: str | HasClipId) -> str:
    """The id of a clip.

    Raises:
        ConfigError: It is empty.
    """
    found = clip if isinstance(clip, str) else clip.clip_id
    if not found:
        message = "clip id '' is empty; give each clip of a batch an id of its own"
        raise ConfigError(message)
    return found


def clip_key(clip: str) -> str:
    """The name of a clip in the store: a slug for people, and the hash that identifies it.

    >>> clip_key("trips/day 1.mp4#0-96000")
    'trips-day-1-mp4-0-96000-05476b4ca5f7bcbe'
    """
    digest = hashlib.sha256(clip.encode("utf-8", "surrogatepass")).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", clip).strip("-")[:_MAX_SLUG].rstrip("-")
    return f"{slug or 'clip'}-{digest[:16]}"


def new_attempt(clip: str) -> str:
    """A fresh attempt folder of a clip, relative to its signature's; names sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    return f"clips/{clip_key(clip)}/{milliseconds:012x}-{secrets.token_hex(4)}"


def digest_of_clips(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over clip ids and the digests of their frames, in whatever order they come.

    Attempts do not enter: an identical extraction gives the same.

    >>> digest_of_clips([("b", "1"), ("a", "2")]) == digest_of_clips([("a", "2"), ("b", "1")])
    True
    """
    pairs = sorted((clip_key(clip), digest) for clip, digest in digests)
    lines = "".join(f"{key} {digest}\n" for key, digest in pairs)
    return hashlib.sha256(lines.encode()).hexdigest()
