"""Damage inside packets. The container stays intact, so the damage reaches the decoder.

The video of a file is remuxed twice, with its packets as they are and with damaged ones. The two
files differ only in the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from fuzz.mutate import delete_run, duplicate_run, flip_bits, noise_run, truncate, zero_run

_MOST_PACKETS: Final = 60
_HEAD: Final = 24
"""Bytes of a packet that are likely headers."""
_FORMATS: Final = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".3gp": "3gp", ".mkv": "matroska", ".flv": "flv",
    ".webm": "webm", ".avi": "avi", ".ts": "mpegts", ".mts": "mpegts", ".m2ts": "mpegts",
    ".h264": "h264", ".264": "h264", ".hevc": "hevc", ".h265": "hevc", ".ivf": "ivf",
    ".ogv": "ogg", ".mpg": "mpeg", ".obu": "obu", ".avif": "mp4", ".mxf": "mxf", ".asf": "asf",
    ".wmv": "asf", ".gif": "gif", ".m2v": "mpeg2video", ".mpeg": "mpeg",
}  # fmt: skip
_MOVFLAGS: Final = ("", "faststart", "frag_keyframe+empty_moov")


@dataclass(frozen=True, slots=True)
class Coded:
    """A packet outside its container."""

    data: bytes
    pts: int | None
    dts: int | None
    duration: int
    key: bool


Change = Callable[[list[Coded], Random], None]


def rewrite_damaged(path: Path, damaged: Path, intact: Path, random: Random) -> bool:
    """Remux the video of a file with and without damage; return whether its container allows it."""
    fmt = _FORMATS.get(path.suffix.lower())
    if fmt is None:
        return False
    flags = random.choice(_MOVFLAGS)
    try:
        with av.open(str(path), metadata_errors="replace") as source:
            stream = source.streams.video[0]
            coded = _read(stream)
            changed = list(coded)
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                random.choice(_CHANGES)(changed, random)
            _write(intact, fmt, flags, stream, coded)
            _write(damaged, fmt, flags, stream, changed)
            _change_extradata(damaged, stream.codec_context.extradata or b"", random)
    except (av.FFmpegError, ValueError, IndexError, OverflowError, RuntimeError):
        return False
    return bool(coded)


def _read(stream: VideoStream) -> list[Coded]:
    container = stream.container
    assert isinstance(container, InputContainer)
    packets = container.demux(stream)
    return [
        Coded(bytes(p), p.pts, p.dts, p.duration or 0, p.is_keyframe)
        for p, _ in zip(packets, range(_MOST_PACKETS), strict=False)
        if p.size
    ]


def _write(path: Path, fmt: str, flags: str, stream: VideoStream, packets: list[Coded]) -> None:
    """Write packets; skip packets that the muxer refuses."""
    options = {"fflags": "+bitexact"}
    if flags and fmt in ("mp4", "mov", "3gp"):
        options["movflags"] = flags
    assert stream.time_base is not None
    with av.open(str(path), "w", format=fmt, container_options=options) as container:
        out = container.add_stream_from_template(stream)
        for number, coded in enumerate(packets):
            packet = Packet(coded.data)
            packet.stream, packet.time_base = out, stream.time_base
            packet.dts = number if coded.dts is None else coded.dts
            packet.pts = packet.dts if coded.pts is None else coded.pts
            packet.duration, packet.is_keyframe = coded.duration, coded.key
            try:
                container.mux(packet)
            except (av.FFmpegError, ValueError):
                continue


def _change_extradata(path: Path, extradata: bytes, random: Random) -> None:
    """Flip bits of the container's parameter sets in one case of ten."""
    if len(extradata) < _HEAD or random.random() > 0.1:
        return
    data = bytearray(path.read_bytes())
    at = data.find(extradata)
    if at >= 0:
        sets = data[at : at + len(extradata)]
        flip_bits(sets, random)
        data[at : at + len(extradata)] = sets
        path.write_bytes(data)


def _some(packets: list[Coded], random: Random) -> int:
    """Choose a packet to damage; now and then a key frame, which many frames depend on."""
    keys = [n for n, packet in enumerate(packets) if packet.key]
    return random.choice(keys) if keys and random.random() < 0.3 else random.randrange(len(packets))


def _damage_payload(packets: list[Coded], random: Random) -> None:
    at = _some(packets, random)
    data = bytearray(packets[at].data)
    head = b"" if random.random() < 0.3 else bytes(data[:_HEAD])
    body = data[len(head) :]
    if body:
        random.choice(_PAYLOAD)(body, random)
        packets[at] = replace(packets[at], data=head + bytes(body) or b"\0")


def _drop(packets: list[Coded], random: Random) -> None:
    if len(packets) > 2:
        del packets[random.randrange(1, len(packets))]


def _repeat(packets: list[Coded], random: Random) -> None:
    at = _some(packets, random)
    packets.insert(random.randrange(at, len(packets)) + 1, packets[at])


def _swap_contents(packets: list[Coded], random: Random) -> None:
    """Swap the contents of two packets; the timestamps stay in place."""
    one, two = _some(packets, random), random.randrange(len(packets))
    first, second = packets[one], packets[two]
    packets[one] = replace(first, data=second.data)
    packets[two] = replace(second, data=first.data)


def _join(packets: list[Coded], random: Random) -> None:
    at = random.randrange(len(packets))
    packets[at] = replace(packets[at], data=packets[at].data + random.choice(packets).data)


def _change_times(packets: list[Coded], random: Random) -> None:
    at = random.randrange(len(packets))
    coded, other = packets[at], random.choice(packets)
    pts = random.choice((other.pts, None, (coded.pts or 0) + random.choice((1, 1000, 90000))))
    packets[at] = replace(coded, pts=pts)


def _change_key(packets: list[Coded], random: Random) -> None:
    at = _some(packets, random)
    packets[at] = replace(packets[at], key=not packets[at].key)


_PAYLOAD: Final = (
    flip_bits, flip_bits, flip_bits, noise_run, zero_run, delete_run, duplicate_run, truncate,
)  # fmt: skip
_CHANGES: Final[tuple[Change, ...]] = (
    _damage_payload, _damage_payload, _damage_payload, _damage_payload, _damage_payload, _drop,
    _repeat, _swap_contents, _join, _change_times, _change_key,
)  # fmt: skip
