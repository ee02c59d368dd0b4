"""Random streams: encoder settings, joins and cuts are random, and every frame is unique.

segment 0           segment 1            segment 2
SPS PPS I P B …     SPS' PPS' I P B …    PPS'' I P B …      joined in one stream,
          cut: packets are taken out at the start, or anywhere
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

RATE: Final = 25
CONTAINERS: Final = {
    "libx264": ("mp4", "matroska", "mpegts", "h264", "flv", "mov", "avi"),
    "libx265": ("mp4", "matroska", "mpegts", "hevc"),
    "mpeg1video": ("mpegts", "matroska", "mpeg"),
    "mpeg2video": ("mpegts", "matroska", "mpeg", "mp4"),
    "mpeg4": ("mp4", "avi", "matroska", "mpegts"),
    "h263": ("avi", "3gp"),
    "h263p": ("avi",),
    "flv": ("flv",),
    "libvpx": ("webm", "ivf"),
    "libvpx-vp9": ("webm", "ivf", "mp4"),
    "libsvtav1": ("mp4", "matroska", "ivf", "obu"),
    "mjpeg": ("avi", "matroska", "mov"),
    "ffv1": ("matroska", "avi"),
    "msmpeg4": ("avi",),
    "wmv2": ("asf",),
    "prores_ks": ("mov",),
    "huffyuv": ("avi",),
    "gif": ("gif",),
}
SUFFIXES: Final = {"matroska": "mkv", "mpegts": "ts", "mpeg": "mpg", "asf": "wmv"}
JOINABLE: Final = ("libx264", "libx265", "mpeg1video", "mpeg2video", "mpeg4")
_START: Final = b"\0\0\1"


@dataclass(frozen=True)
class MadeStream:
    """A file and how it was made."""

    path: Path
    codec: str
    container: str
    settings: list[dict[str, Any]] = field(default_factory=list)
    cut: str = ""
    """`start`: it begins in the middle; `loss`: packets are missing anywhere."""


def make_stream(folder: Path, seed: int, *, codec: str = "", cut: str = "") -> MadeStream:
    """Draw a stream, encode it, and write it into a folder.

    Args:
        folder: Where to write it.
        seed: The same number makes the same stream.
        codec: One of `CONTAINERS`; random if empty.
        cut: Packets to remove: none, the packets at the `start`, or `loss` of some anywhere.
    """
    random = Random(seed)
    codec = codec or random.choice(list(CONTAINERS))
    container = random.choice(CONTAINERS[codec])
    joins = random.choice((1, 1, 2, 3)) if codec in JOINABLE else 1
    settings = [_settings(codec, random) for _ in range(joins)]
    if codec == "mpeg4":  # where B-frames begin or end, FFmpeg shows a frame twice or drops one
        settings = [one for one in settings if bool(one["bf"]) == bool(settings[0]["bf"])]
    path = folder / f"{seed}-{codec}.{SUFFIXES.get(container, container)}"
    try:
        _write(path, codec, container, settings, random, cut=cut)
    except av.error.ArgumentError:  # x265 sometimes gives times that no muxer accepts
        return make_stream(folder, seed + 1_000_003, codec=codec, cut=cut)
    return MadeStream(path, codec, container, settings, cut)


def _no_options(random: Random, g: int) -> dict[str, Any]:
    return {}


def _settings(codec: str, random: Random) -> dict[str, Any]:
    """Return random encoder options, and the number of frames under `frames`."""
    g = random.choice((3, 6, 10, 50))
    options: dict[str, Any] = {"frames": random.randint(8, 30), "g": g}
    return options | _OPTIONS.get(codec, _no_options)(random, g)


def _x264(random: Random, g: int) -> dict[str, Any]:
    pick = random.choice
    parameters = {
        "open-gop": pick((0, 1)),
        "cabac": pick((0, 1)),
        "8x8dct": pick((0, 1)),
        "chroma-qp-offset": pick((-6, 0, 6)),
        "b-pyramid": pick(("none", "strict", "normal")),
        "slices": pick((1, 1, 3)),
        "aud": pick((0, 1)),
        "weightp": pick((0, 2)),
        "scenecut": 0,
        "intra-refresh": int(random.random() < 0.15),
        "bluray-compat": int(random.random() < 0.1),
        "sps-id": pick((0, 0, 1)),
    }
    if random.random() < 0.2:
        parameters |= {pick(("tff", "bff")): 1}
    return {
        "bf": pick((0, 1, 2, 3)),
        "refs": pick((1, 2, 4)),
        "preset": "veryfast",
        "qp": pick((20, 30, 40)),
        "pixel_format": pick(("yuv420p", "yuv420p", "yuv420p", "yuv444p")),
        "x264-params": _joined(parameters),
    }


def _x265(random: Random, g: int) -> dict[str, Any]:
    pick = random.choice
    parameters = {
        "open-gop": pick((0, 1)),
        "bframes": pick((0, 1, 3)),
        "b-pyramid": pick((0, 1)),
        "keyint": g,
        "min-keyint": g,
        "scenecut": 0,
        "cbqpoffs": pick((-6, 0, 6)),
        "aud": pick((0, 1)),
        "temporal-layers": pick((0, 0, 3)),
        "qp": pick((20, 32, 40)),
        "log-level": "none",
        "pools": 1,
        "frame-threads": 1,
        "repeat-headers": 1,
    }
    parameters |= {"radl": parameters["bframes"]} if random.random() < 0.3 else {}
    return {"preset": "ultrafast", "x265-params": _joined(parameters)}


def _mpeg(random: Random, g: int) -> dict[str, Any]:
    options = {
        "bf": random.choice((0, 1, 2)),
        "qscale": random.choice((2, 10, 20)),
        "flags": random.choice(("", "", "+cgop")),
        "sc_threshold": 1_000_000_000,
    }
    if random.random() < 0.3:
        options["intra_matrix"] = ",".join(str(random.randint(8, 40)) for _ in range(64))
    return options


def _mpeg2(random: Random, g: int) -> dict[str, Any]:
    options = _mpeg(random, g)
    return options | ({"flags": options["flags"] + "+ildct+ilme"} if random.random() < 0.3 else {})


def _mpeg4(random: Random, g: int) -> dict[str, Any]:
    options = {"bf": random.choice((0, 1, 2))} | _quantised(random, g)
    if random.random() < 0.3:
        options |= {"flags": "+mv4+qpel", "mpeg_quant": random.choice(("0", "1"))}
    return options


def _quantised(random: Random, g: int) -> dict[str, Any]:
    return {"qscale": random.choice((2, 10, 20))}


def _vpx(random: Random, g: int) -> dict[str, Any]:
    return {
        "auto-alt-ref": random.choice((0, 1)),
        "lag-in-frames": random.choice((0, 10)),
        "deadline": "realtime",
        "cpu-used": 8,
        "error-resilient": random.choice((0, 0, 1)),
    }


def _av1(random: Random, g: int) -> dict[str, Any]:
    return {"preset": 12, "svtav1-params": f"lp=1:pred-struct={random.choice((1, 2))}"}


def _jpeg(random: Random, g: int) -> dict[str, Any]:
    return _quantised(random, g) | {"huffman": random.choice(("default", "optimal"))}


_OPTIONS: Final[dict[str, Callable[[Random, int], dict[str, Any]]]] = {
    "libx264": _x264,
    "libx265": _x265,
    "mpeg1video": _mpeg,
    "mpeg2video": _mpeg2,
    "mpeg4": _mpeg4,
    "msmpeg4": _quantised,
    "wmv2": _quantised,
    "h263": _quantised,
    "h263p": _quantised,
    "flv": _quantised,
    "libvpx": _vpx,
    "libvpx-vp9": _vpx,
    "libsvtav1": _av1,
    "mjpeg": _jpeg,
}


def _joined(parameters: dict[str, Any]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())


def _size(codec: str) -> tuple[int, int]:
    return (128, 96) if codec in {"h263", "h263p", "flv"} else (96, 64)


def _pictures(codec: str, count: int, seed: int, pixel_format: str) -> Iterator[VideoFrame]:
    """Return moving shapes on noise that moves differently: no two frames are equal."""
    width, height = _size(codec)
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    for number in range(count):
        picture = np.roll(noise // 3, (number, 2 * number), (0, 1))
        at = 3 * number % (width - 24)
        picture[10:40, at : at + 24] = (number * 9 % 256, number * 249 % 256, number * 37 % 256)
        yield VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)


def _context(codec: str, options: dict[str, Any]) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = _size(codec)
    context.pix_fmt = _pixel_format(codec, options)
    context.time_base, context.framerate = Fraction(1, RATE), Fraction(RATE)
    if "qscale" in options:
        context.flags |= 2  # AV_CODEC_FLAG_QSCALE
        context.global_quality = options["qscale"] * 118
    own = {"frames", "pixel_format", "qscale"}
    context.options = {n: str(v) for n, v in options.items() if n not in own and v != ""}
    context.thread_count = 1
    return context


def _pixel_format(codec: str, options: dict[str, Any]) -> str:
    formats = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le", "huffyuv": "yuv422p", "gif": "rgb8"}
    return str(options.get("pixel_format", formats.get(codec, "yuv420p")))


def _packets(
    codec: str, settings: list[dict[str, Any]], random: Random, contexts: list[VideoCodecContext]
) -> Iterator[Packet[Any]]:
    """Return the packets of all segments, joined in time."""
    first = 0
    for number, (options, context) in enumerate(zip(settings, contexts, strict=True)):
        keeps_sets = random.random() < 0.5
        pixel_format = _pixel_format(codec, options)
        made: list[Packet[Any]] = []
        pictures = _pictures(codec, options["frames"], random.randrange(1 << 30), pixel_format)
        for pts, picture in enumerate(pictures):
            picture.pts, picture.time_base = first + pts, Fraction(1, RATE)
            made += context.encode(picture)
        made += context.encode(None)
        for packet in made if number else ():
            assert packet.dts is not None
            packet.dts -= 4  # x265 gives some that are above the pts
        for place, packet in enumerate(made):
            if place and number and not keeps_sets and codec in {"libx264", "libx265"}:
                yield _without_sets(packet, codec)
            else:
                yield packet
        first += options["frames"] + 12  # so that decode times do not go back


def _with_ends_of_sequence(packets: list[Packet[Any]], codec: str) -> list[Packet[Any]]:
    """Append an end of sequence to the last packet before each key frame."""
    marked = list(packets)
    for place, (packet, following) in enumerate(pairwise(packets)):
        if following.is_keyframe:
            end = b"\0\0\0\1" + (b"\x0a" if codec == "libx264" else b"\x48\x01")
            marked[place] = _copied(packet, bytes(packet) + end)
    return marked


def _copied(packet: Packet[Any], data: bytes) -> Packet[Any]:
    copy = Packet(data)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy


def _without_sets(packet: Packet[Any], codec: str) -> Packet[Any]:
    """Return a packet without its parameter sets: the earlier ones stay active."""
    data = bytes(packet)
    kept = [unit for unit in _units(data) if not _is_set(unit, codec)]
    return _copied(packet, b"".join(b"\0" + _START + unit for unit in kept))


def _units(data: bytes) -> list[bytes]:
    return [unit.rstrip(b"\0") for unit in data.split(_START)[1:]]


def _is_set(unit: bytes, codec: str) -> bool:
    kind = unit[0] & 31 if codec == "libx264" else unit[0] >> 1 & 63
    return kind in ((7, 8) if codec == "libx264" else (32, 33, 34))


def _write(
    path: Path,
    codec: str,
    container: str,
    settings: list[dict[str, Any]],
    random: Random,
    *,
    cut: str,
) -> None:
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = _size(codec)
        stream.pix_fmt = _pixel_format(codec, settings[0])
        stream.codec_context.options = _context(codec, settings[0]).options
        if "qscale" in settings[0]:
            stream.codec_context.flags |= 2
            stream.codec_context.global_quality = settings[0]["qscale"] * 118
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.thread_count = 1
        contexts = [stream.codec_context] + [_context(codec, options) for options in settings[1:]]
        packets = list(_packets(codec, settings, random, contexts))
        if codec in {"libx264", "libx265"} and random.random() < 0.2:
            packets = _with_ends_of_sequence(packets, codec)
        for packet in _cut(packets, random, cut):
            packet.stream = stream
            output.mux(packet)


def _cut(packets: list[Packet[Any]], random: Random, cut: str) -> list[Packet[Any]]:
    if cut == "start":
        return packets[random.randint(1, max(1, len(packets) // 2)) :]
    count = min(len(packets) - 1, random.choice((1, 2))) if cut else 0
    gone = set(random.sample(range(len(packets)), k=count))
    return [packet for number, packet in enumerate(packets) if number not in gone]


def write_raw_h264(path: Path, options: dict[str, str], *, frames: int) -> None:
    """Write a raw stream of x264."""
    with av.open(str(path), "w", format="h264") as output:
        stream = output.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = _size("libx264")
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(_pictures("libx264", frames, 1, "yuv420p")):
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def with_numbers_reset(stream: bytes, *, at: int) -> bytes:
    """Rewrite a stream of x264 without B-frames so that a picture resets the frame numbers.

    Args:
        stream: Annex B, one slice per picture, one reference, CAVLC, no weighted prediction.
        at: The picture that gets memory management control operation 5.
    """
    written, picture, numbers = [], -1, 0
    for unit in _units(stream):
        if unit[0] & 31 == 7:
            numbers = _frame_num_bits(_Bits(unit))
        if unit[0] & 31 not in (1, 5):
            written.append(unit)
            continue
        picture += 1
        written.append(_renumbered(unit, picture, at, numbers) if picture >= at else unit)
    return b"".join(b"\0" + _START + unit for unit in written)


class _Bits:
    """The bits of a unit after its header, as text."""

    def __init__(self, unit: bytes) -> None:
        data = unit[1:].replace(b"\0\0\3", b"\0\0")
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def u(self, count: int) -> int:
        self.at += count
        return int(self.text[self.at - count : self.at], 2)

    def ue(self) -> int:
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros
        return self.u(zeros + 1) - 1


def _frame_num_bits(bits: _Bits) -> int:
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    if profile not in (66, 77, 88):
        for _ in range(3):
            bits.ue()
        bits.u(2)
    return bits.ue() + 4


def _renumbered(unit: bytes, picture: int, at: int, number_bits: int) -> bytes:
    bits = _Bits(unit)
    for _ in range(3):
        bits.ue()  # first_mb_in_slice, slice_type, pic_parameter_set_id
    start = bits.at
    bits.u(number_bits)
    behind = bits.at
    assert bits.u(1) == 0 or bits.ue() >= 0  # num_ref_idx_active_override_flag
    assert bits.u(1) == 0  # ref_pic_list_modification_flag_l0
    marking = bits.at
    assert bits.u(1) == 0  # adaptive_ref_pic_marking_mode_flag
    text = bits.text
    if picture == at:
        text = (
            text[:marking] + "1" + "00110" + "1" + text[marking + 1 :]
        )  # operation 5, and no more
    else:
        text = text[:start] + f"{picture - at:0{number_bits}b}" + text[behind:]
    text = text[: text.rindex("1") + 1]
    text += "0" * (-len(text) % 8)
    data = bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))
    return unit[:1] + _with_emulation_prevention(data)


def _with_emulation_prevention(data: bytes) -> bytes:
    out = bytearray()
    for byte in data:
        if byte <= 3 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return bytes(out)


def write_claimed_recovery_points(path: Path, *, references: int) -> None:
    """Write a raw stream of x264 with intra pictures that falsely claim to be recovery points.

    Two frames of another scene come in between. The first of them is intra, and so may be the
    second; the frames after them resemble the frames before.
    """
    first, other = (list(_pictures("libx264", 30, seed, "yuv420p")) for seed in (1, 2))
    options = {"qp": "24", "x264-params": f"keyint=250:min-keyint=120:bframes=0:ref={references}"}
    context = _context("libx264", options)
    packets: list[Packet[Any]] = []
    for number in range(30):
        picture = other[number] if number % 10 in (4, 5) else first[number]
        picture.pts, picture.time_base = number, Fraction(1, RATE)
        packets += context.encode(picture)
    packets += context.encode(None)
    units = [unit for packet in packets for unit in _units(bytes(packet))]
    marked = [_RECOVERY + unit if _is_intra_without_reset(unit) else unit for unit in units]
    path.write_bytes(b"".join(b"\0" + _START + unit for unit in marked))


_RECOVERY: Final = bytes.fromhex("060601c480") + b"\0" + _START
"""An SEI unit that claims an immediately exact recovery point, and the next start code."""


def _is_intra_without_reset(unit: bytes) -> bool:
    bits = _Bits(unit)
    return unit[0] & 31 == 1 and bits.ue() == 0 and bits.ue() % 5 == 2
