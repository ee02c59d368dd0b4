"""Layout of the store: the keys of batches, clips and attempts, and the folder of a signature.

```
frames/{batch_key}/{signature_key}/          SignatureFolder
    signature.json                           the canonical document
    clips/{clip_key}/{attempt}/              one immutable Zarr group
        frames/zarr.json  frames/c/…         (time, y, x, channel)
        time/zarr.json    time/c/0           seconds
        zarr.json                            the group, written last
    commits/{clip_key}.json                  the current attempt of a clip; after the data
    manifest.json                            the commits of the batch
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
    """An object with a batch key."""

    @property
    def key(self) -> str:
        """Name of the batch."""


class HasClipId(Protocol):
    """An object with a clip id."""

    @property
    def clip_id(self) -> str:
        """Identity of the clip within its batch."""


@dataclass(frozen=True, slots=True)
class SignatureFolder:
    """The folder of one batch and signature. Its paths are keys in the store."""

    batch_key: str
    """Key of the batch."""
    signature_key: str
    """Key of the signature."""

    @property
    def path(self) -> str:
        """The folder itself."""
        return f"{ROOT}/{self.batch_key}/{self.signature_key}"

    @property
    def signature(self) -> str:
        """Key of the signature's document."""
        return f"{self.path}/signature.json"

    @property
    def manifest(self) -> str:
        """Key of the manifest."""
        return f"{self.path}/manifest.json"

    @property
    def commits(self) -> str:
        """The folder of clip commits."""
        return f"{self.path}/commits"

    def commit(self, key: str) -> str:
        """Return the key of a clip's commit, by clip key."""
        return f"{self.commits}/{key}.json"


@dataclass(frozen=True, slots=True)
class AttemptPath:
    """The parts of an attempt's folder, relative to its signature's.

    >>> AttemptPath.parse("clips/a-1f/0198c3a4b5c6-89abcdef/frames/zarr.json")
    AttemptPath(path='clips/a-1f/0198c3a4b5c6-89abcdef', clip_key='a-1f', started=1755629008.326)
    """

    path: str
    """The folder."""
    clip_key: str
    """Key of the clip."""
    started: float
    """Time at which the attempt began, in seconds since the epoch."""

    @classmethod
    def parse(cls, path: str) -> AttemptPath | None:
        """Parse the path of an attempt or of an object in it; return `None` if it is neither."""
        found = _ATTEMPT.fullmatch(path)
        if found is None:
            return None
        return cls(path=found[1], clip_key=found["clip"], started=int(found["stamp"], 16) / 1000)


def signature_folder(
    batch: str | HasKey, signature: FrameExtractionSignature | str
) -> SignatureFolder:
    """Return the folder of a batch and a signature, each given as itself or by its key."""
    key = signature if isinstance(signature, str) else signature.key
    if not is_signature_key(key):
        message = (
            f"{key!r} is not a signature key; it should look like sequence-2fps-224x224-<16 hex>"
        )
        raise ConfigError(message)
    return SignatureFolder(batch_key(batch), key)


def is_signature_key(key: str) -> bool:
    """Return whether a folder's name has the form of a signature key."""
    return _SIGNATURE_KEY.fullmatch(key) is not None


def is_document_of(key: str, document: bytes) -> bool:
    """Return whether a document has this signature key.

    Documents of other revisions have keys too, although this version cannot make their signatures.
    """
    digest = hashlib.sha256(HASH_PREFIX + document).hexdigest()
    return key.endswith(f"-{digest[:16]}")


def batch_key(batch: str | HasKey) -> str:
    """Return the key of a batch after checking that it can be a folder and a Dagster partition.

    Raises:
        ConfigError: The key cannot be used.
    """
    key = batch if isinstance(batch, str) else batch.key
    if not key or key.startswith(".") or ".." in key or not key.isprintable():
        fault = "it is empty, starts with a dot, or contains '..' or a control character"
    elif any(character in key for character in "/\\,"):
        fault = "it contains a slash, a backslash or a comma"
    elif len(key.encode()) > _MAX_BATCH_KEY:
        fault = f"it is longer than {_MAX_BATCH_KEY} bytes"
    else:
        return key
    message = f"batch key {key!r} cannot be used: {fault}; choose another"
    raise ConfigError(message)


def clip_id(clip: str | HasClipId) -> str:
    """Return the id of a clip after checking it.

    Raises:
        ConfigError: The id is empty.
    """
    found = clip if isinstance(clip, str) else clip.clip_id
    if not found:
        message = "clip id '' is empty; give each clip of a batch a unique id"
        raise ConfigError(message)
    return found


def clip_key(clip: str) -> str:
    """Return the name of a clip in the store: a readable slug and the hash that identifies it.

    >>> clip_key("trips/day 1.mp4#0-96000")
    'trips-day-1-mp4-0-96000-05476b4ca5f7bcbe'
    """
    digest = hashlib.sha256(clip.encode("utf-8", "surrogatepass")).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", clip).strip("-")[:_MAX_SLUG].rstrip("-")
    return f"{slug or 'clip'}-{digest[:16]}"


def new_attempt(clip: str) -> str:
    """Return a new attempt folder of a clip, relative to its signature's; names sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    return f"clips/{clip_key(clip)}/{milliseconds:012x}-{secrets.token_hex(4)}"


def digest_of_clips(digests: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of clip ids and frame digests, independent of their order.

    Attempts are left out, so an identical extraction gives the same digest.

    >>> digest_of_clips([("b", "1"), ("a", "2")]) == digest_of_clips([("a", "2"), ("b", "1")])
    True
    """
    pairs = sorted((clip_key(clip), digest) for clip, digest in digests)
    lines = "".join(f"{key} {digest}\n" for key, digest in pairs)
    return hashlib.sha256(lines.encode()).hexdigest()
