"""Notes with the location of frames by content, so that renamed files are not decoded again.

    {root}/origins/{first two digits}/{SHA-256 of the fingerprint}.json     batch and video

The first commit of frames of some bytes leaves a note. A run that meets the same bytes under
another name follows the note and copies the frames. A note is only a hint: the commit that it leads
to names its bytes, and copies are checked against its digests. A damaged note is ignored, and
written again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from frames_pipeline.clips import Clip
from frames_pipeline.errors import CommitNotFoundError, ConfigError, IntegrityError
from frames_pipeline.frames import DecodeReport, FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE, check_members, checked_document, with_sum
from frames_pipeline.pipeline.suspects import is_suspect
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore

_OF_BYTES: Final = re.compile(r"sha256:[0-9a-f]{64}|etag:[0-9a-f]{32}(-\d+)?-\d+")
"""Fingerprints that are equal only for equal bytes: hashes, and ETags made from hashes. Some stores
make ETags from sizes and times."""
_NOTE: Final = {"batch": str, "video_key": str}
"""Members of a note, and their types."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Location of the first commit of frames from some bytes."""

    batch: str
    """Key of the batch."""
    video_key: str
    """Key of the video in that batch."""


class ContentIndex:
    """The notes under a store's root."""

    def __init__(self, objects: Objects) -> None:
        """Keep the root's objects."""
        self._objects = objects

    def find(self, fingerprint: str) -> Origin | None:
        """Return the location of frames of these bytes; `None` without a note."""
        if not _OF_BYTES.fullmatch(fingerprint):
            return None
        try:
            return parse_note(self._objects.get(_key(fingerprint)))
        except (FileNotFoundError, *UNREADABLE):
            return None

    def note(self, fingerprint: str, origin: Origin) -> None:
        """Write the location of frames of these bytes, replacing an earlier note."""
        if _OF_BYTES.fullmatch(fingerprint):
            document = {"batch": origin.batch, "video_key": origin.video_key}
            data = json.dumps(document, separators=(",", ":")).encode()
            self._objects.put(_key(fingerprint), with_sum(data))


def parse_note(data: bytes) -> Origin:
    """Return the origin in a note.

    Raises:
        ValueError: The note is damaged. Other errors of `UNREADABLE` mean the same.
    """
    found = checked_document(data, before={"": _NOTE})
    check_members(found, _NOTE)
    return Origin(found["batch"], found["video_key"])


def copied_frames(
    store: FrameStore,
    origin: Origin,
    clip: Clip,
    signature: FrameExtractionSignature,
    *,
    fingerprint: str,
    suspects: Collection[str] = (),
) -> FrameBatch | None:
    """Return the stored frames of the same clip of the same bytes; `None` if any are missing.

    Frames of a suspect family are not copied.
    """
    there = replace(clip, video_key=origin.video_key).clip_id
    try:
        commit = store.commit(origin.batch, signature, there)
        if commit.fingerprint != fingerprint:
            return None
        if is_suspect(commit.outcome.decode, suspects, codec=None):
            return None
        frames = store.read_commit(origin.batch, signature, commit, decode=False)
    except (CommitNotFoundError, ConfigError, IntegrityError):
        return None
    done, copied_from = frames.outcome.decode, f"{origin.batch}, {there}"
    report = DecodeReport(
        done.decoder,
        done.device,
        choice=f"copied from {copied_from}",
        fallback=done.fallback,
        family=done.family,
        copied_from=copied_from,
    )
    return frames.with_outcome(replace(frames.outcome, decode=report))


def _key(fingerprint: str) -> str:
    digest = hashlib.sha256(fingerprint.encode()).hexdigest()
    return f"origins/{digest[:2]}/{digest}.json"
