"""Families: videos that are read and planned by the same rules.

A wrong plan is wrong for a kind of video: one encoder at one setting, in one container. A family
describes that kind from headers and packets, without decoding a frame.

Two cuts of one video by the same program belong to one family. So a family leaves out facts that a
stream states only at its start (x264's options). It also leaves out the way packets are read:
whether a sample table suffices depends on the start of the cut.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np

from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media

_FORMAT: Final = b"video-family/1\n"
_LONGEST_NAME: Final = 64
_INTERLACED: Final = 2
"""First of FFmpeg's field orders after unknown and progressive."""


@dataclass(frozen=True, slots=True)
class Family:
    """Common properties of the videos of a family."""

    codec: str
    """FFmpeg's canonical name: h264, hevc, av1, …"""
    profile: str
    """The codec's profile; empty if it has none."""
    tag: str
    """The container's tag of the codec: `avc1`, `hev1`, …; empty if it has none."""
    container: str
    """FFmpeg's first name of the container's format."""
    encoder: str
    """Programs that wrote stream and container, with major versions, as far as they are named."""
    headers: Literal["none", "records", "start codes"]
    """Form of the codec's parameter sets in the container: absent, a record, or start codes."""
    reorders: bool
    """Whether headers declare that frames are shown in another order than they are decoded."""
    leading: bool
    """Whether groups of pictures are open: frames are shown before the entry point they follow."""
    interlaced: bool
    """Whether headers declare interlaced fields."""
    timestamps: str
    """Source of the times, as in `PacketIndex.timestamps`."""

    @property
    def key(self) -> str:
        """A readable slug with the hash that identifies the family; also valid as a file name."""
        document = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(_FORMAT + document.encode()).hexdigest()
        return f"{_slug(self.codec)}-{_slug(self.container)}-{digest[:16]}"


def codec_prefix(codec: str) -> str:
    """Return the common prefix of the keys of a codec's families.

    >>> codec_prefix("h264")
    'h264-'
    """
    return f"{_slug(codec)}-"


def family_of(media: Media) -> Family:
    """Return the family of an open video.

    Raises:
        SourceError: Its packets cannot be read, or cannot be put in order.
    """
    context, container = media.stream.codec_context, media.stream.container
    signed = (media.stream.metadata.get("encoder", ""), container.metadata.get("encoder", ""))
    return Family(
        codec=context.codec.canonical_name,
        profile=context.profile or "",
        tag=_printable(context.codec_tag),
        container=container.format.name.partition(",")[0],
        encoder=" / ".join(name for text in signed if (name := program(text))),
        headers=_headers(context.extradata or b""),
        reorders=bool(context.has_b_frames),
        leading=_has_leading(media.index),
        interlaced=int(context.field_order) >= _INTERLACED,
        timestamps=media.index.timestamps,
    )


def program(text: str) -> str:
    """Return a program's name and major version, without parts that vary by release or file.

    >>> program("Lavc60.31.102 libx264"), program("HandBrake 1.6.1 2023012300")
    ('Lavc60 libx264', 'HandBrake')
    """
    words = (word.partition(".")[0] for word in _printable(text).split())
    return " ".join(word for word in words if not word.isdigit())[:_LONGEST_NAME].strip()


def _headers(extradata: bytes) -> Literal["none", "records", "start codes"]:
    if not extradata:
        return "none"
    return "start codes" if extradata[0] == 0 else "records"


def _has_leading(index: PacketIndex) -> bool:
    entries = np.flatnonzero(index.entry)
    latest = np.searchsorted(entries, np.arange(len(index.order)), side="right") - 1
    follows = (latest >= 0) & (index.order >= 0)
    return bool(np.any(index.order[follows] < index.order[entries[latest[follows]]]))


def _printable(text: str) -> str:
    """Return untrusted text without its unprintable and non-ASCII characters."""
    return "".join(c for c in text if c.isascii() and c.isprintable()).strip()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "", name.lower())[:32] or "unknown"
