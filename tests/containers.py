"""Containers assembled by hand: with crops, and with the layouts of other writers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import av

Aperture = tuple[int, int, int, int, int, int, int, int]
"""Width, height, horizontal and vertical offset, each as a numerator and a denominator."""

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_CROPS = {"top": 0x54BB, "bottom": 0x54AA, "left": 0x54CC, "right": 0x54DD}


def with_aperture(source: Path, path: Path, *apertures: Aperture) -> Path:
    """Copy an MP4 of one track, with its index after the samples, and add `clap` boxes."""
    return with_boxes(source, path, *(box(b"clap", _packed(one)) for one in apertures))


def box(kind: bytes, contents: bytes) -> bytes:
    """Return an MP4 box."""
    return struct.pack(">I4s", 8 + len(contents), kind) + contents


def with_boxes(source: Path, path: Path, *added: bytes) -> Path:
    """Copy an MP4 as above, and add boxes to its sample entry."""
    data, boxes = source.read_bytes(), b"".join(added)
    starts, at = [], 0
    for kind in _PATH:
        at = data.index(kind, at)
        starts.append(at - 4)
    entry = at + 12  # after version, flags and the number of descriptions
    starts.append(entry)
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    grown = bytearray(data[:end] + boxes + data[end:])
    for start in starts:
        size = int.from_bytes(grown[start : start + 4], "big")
        grown[start : start + 4] = (size + len(boxes)).to_bytes(4, "big")
    path.write_bytes(grown)
    return path


def _packed(aperture: Aperture) -> bytes:
    return b"".join((number & 0xFFFFFFFF).to_bytes(4, "big") for number in aperture)


def element(kind: int, contents: bytes, *, size_bytes: int = 0) -> bytes:
    """Return a Matroska element with a size of `size_bytes` bytes, by default the fewest."""
    length = size_bytes or next(n for n in range(1, 9) if len(contents) < (1 << 7 * n) - 1)
    size = (1 << 7 * length) | len(contents)
    return (
        kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size.to_bytes(length, "big") + contents
    )


def number(kind: int, value: int) -> bytes:
    """Return an element that holds a number; zero may be an empty element."""
    return element(kind, value.to_bytes((value.bit_length() + 7) // 8, "big"))


def as_matroska(
    source: Path,
    path: Path,
    crop: Mapping[str, int],
    *,
    tracks_behind: bool = False,
    is_open: bool = False,
    voids: Sequence[int] = (),
    additions: bytes = b"",
) -> Path:
    """Remux the packets of an H.264 MP4 into a Matroska file.

    Args:
        source: The MP4.
        path: The file to write.
        crop: PixelCrop elements, by edge.
        tracks_behind: Put the list of tracks after the frames, at the position in the seek head.
        is_open: Leave the segment's size unknown, as in a live recording.
        voids: Sizes of void elements before the list of tracks and in it.
        additions: More elements of the track.
    """
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [(p.pts, p.is_keyframe, bytes(p)) for p in container.demux(stream) if p.size]
        base, extradata = stream.time_base, context.extradata
        sides = number(0xB0, context.width) + number(0xBA, context.height)
    assert base is not None
    assert extradata is not None
    void = b"".join(element(0xEC, bytes(size)) for size in voids)
    video = sides + void + b"".join(number(_CROPS[edge], crop[edge]) for edge in crop)
    track = number(0xD7, 1) + number(0x73C5, 7) + void + number(0x83, 1)
    track += element(0x86, b"V_MPEG4/ISO/AVC") + element(0x63A2, extradata) + element(0xE0, video)
    track += additions
    tracks = void + element(0x1654AE6B, element(0xAE, track))
    blocks = number(0xE7, 0)
    for pts, is_key, data in packets:
        assert pts is not None
        flags = b"\x80" if is_key else b"\0"
        blocks += element(0xA3, b"\x81" + struct.pack(">h", int(pts * base * 1000)) + flags + data)
    info = element(0x1549A966, number(0x2AD7B1, 1_000_000))
    cluster = element(0x1F43B675, blocks)
    parts = _with_seek_head(info + cluster, tracks) if tracks_behind else info + tracks + cluster
    segment = element(0x18538067, parts, size_bytes=8)
    if is_open:
        segment = segment[:4] + b"\x01" + b"\xff" * 7 + parts
    header = element(0x4282, b"matroska") + number(0x4287, 4) + number(0x4285, 2)
    path.write_bytes(element(0x1A45DFA3, header) + segment)
    return path


def _with_seek_head(before: bytes, tracks: bytes) -> bytes:
    lead = len(tracks) - len(tracks[tracks.index(b"\x16\x54\xae\x6b") :])

    def head(place: int) -> bytes:
        position = element(0x53AC, place.to_bytes(4, "big"))
        return element(0x114D9B74, element(0x4DBB, number(0x53AB, 0x1654AE6B) + position))

    return head(len(head(0)) + len(before) + lead) + before + tracks
