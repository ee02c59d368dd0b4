"""A packet counts as a frame if and only if a decoder gives a frame or an error for it."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from PIL import Image

from frames_pipeline import FrameExtractionSignature, extract_frames, probe
from frames_pipeline.bitstream import SHOWN, codec_named
from tests.oracle import plain_decode
from tests.videos import make_video, numbers_in, picture

FRAMES = 8
SIZE = (144, 176)
ENCODERS = {
    "asv1": "yuv420p", "asv2": "yuv420p", "cfhd": "yuv422p10le", "cinepak": "rgb24",
    "cljr": "yuv411p", "ffvhuff": "yuv420p", "flashsv": "bgr24", "flashsv2": "bgr24",
    "flv": "yuv420p", "gif": "rgb8", "h261": "yuv420p", "h263": "yuv420p", "huffyuv": "yuv422p",
    "jpeg2000": "rgb24", "jpegls": "rgb24", "magicyuv": "yuv420p", "mjpeg": "yuvj420p",
    "msmpeg4": "yuv420p", "msmpeg4v2": "yuv420p", "msvideo1": "rgb555le", "png": "rgb24",
    "prores": "yuv422p10le", "qtrle": "rgb24", "r210": "gbrp10le", "rpza": "rgb555le",
    "snow": "yuv420p", "speedhq": "yuv420p", "svq1": "yuv410p",
    "tiff": "rgb24", "utvideo": "yuv420p", "v210": "yuv422p10le", "vc2": "yuv420p",
    "wmv1": "yuv420p", "wmv2": "yuv420p", "zmbv": "bgr0",
}  # fmt: skip
"""Encoders of codecs with little or no header parsing, and a pixel format of each."""
ODD_PACKETS = {
    "a zero": bytes(1), "zeros": bytes(64), "ones": b"\xff" * 64, "text": b"\x80theora" + bytes(40),
    "a Dirac sequence's end": b"BBCD\x10" + bytes(8), "no strips": bytes(20),
    "skipped rows": bytes([0b1_00010_10]) + b"\xff" * 3 + bytes(4),
    "a comment": b"\x21\xfe\x05hello\0", "a trailer": b";",
}  # fmt: skip


def encoded(name: str) -> tuple[VideoCodecContext, list[bytes]]:
    """Return an encoder and the packets of a few pictures."""
    encoder = av.CodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = SIZE
    encoder.pix_fmt, encoder.time_base = ENCODERS[name], Fraction(1, 25)
    encoder.options = {"strict": "experimental"}
    packets = []
    for number in range(FRAMES):
        frame = VideoFrame.from_ndarray(picture(number, *SIZE)).reformat(format=ENCODERS[name])
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return encoder, [bytes(packet) for packet in packets]


def rows_that_tell(encoder: VideoCodecContext, packets: Sequence[bytes]) -> set[int]:
    """Return the packets for which a plain decoder gives a frame or an error."""
    decoder = av.CodecContext.create(encoder.codec.canonical_name, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.height, decoder.width, decoder.pix_fmt = *SIZE, encoder.pix_fmt
    decoder.extradata = encoder.extradata
    decoder.codec_tag = encoder.codec_tag
    decoder.thread_count = 1
    rows: set[int] = set()
    for row, data in enumerate([*packets, b""]):
        packet = Packet(data) if data else None
        if packet is not None:
            packet.pts = packet.dts = row
        try:
            rows |= {frame.pts for frame in decoder.decode(packet) if frame.pts is not None}
        except (av.FFmpegError, ValueError):
            rows.add(row)
    return rows - {len(packets)}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_packet_counts_if_a_decoder_says_anything_of_it(name: str) -> None:
    encoder, sound = encoded(name)
    at = FRAMES if name == "gif" else 4  # GIF's decoder treats a lone extension as the end
    for odd, data in ODD_PACKETS.items():
        packets = [*sound[:at], data, *sound[at:]]
        codec = codec_named(encoder.codec.canonical_name, intra_only=encoder.codec.intra_only)
        reader = codec.open_reader(encoder.extradata or b"", width=SIZE[1], height=SIZE[0])
        flags = [reader.read(memoryview(data), key=False) for data in packets]
        counted = {row for row, flag in enumerate(flags) if flag & SHOWN}
        assert counted == rows_that_tell(encoder, packets), odd


def gif_blocks(chance: random.Random) -> bytes:
    """Return GIF extensions without a picture."""
    control = b"\x21\xf9\x04\0\x04\0\0\0"
    lengths = [chance.randrange(1, 256) for _ in range(chance.randrange(1, 4))]
    comment = b"\x21\xfe" + b"".join(bytes([n]) + chance.randbytes(n) for n in lengths)
    application = b"\x21\xff\x0bXMP DataXMP\x03\x2c\x2c\x2c\0"
    text = control + b"\x21\x01\x0c" + bytes(12) + b"\x02,;\0"
    parts = [control, comment + b"\0", application, text]
    return b"".join(chance.sample(parts, chance.randrange(1, len(parts) + 1)))


def gif_images(data: bytes) -> list[bytes]:
    """Split a GIF before the control block of every picture."""
    cuts, at = [], 0
    while (at := data.find(b"\x21\xf9\x04", at)) >= 0:
        cuts.append(at)
        at += 1
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(12))
def test_a_gif_with_extensions_anywhere(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    plain = io.BytesIO()
    first, *rest = [Image.fromarray(picture(number, 48, 64)) for number in range(FRAMES)]
    first.save(plain, "GIF", save_all=True, append_images=rest, duration=40)
    head, *images = gif_images(plain.getvalue().removesuffix(b";"))
    assert len(images) == FRAMES
    for number in range(FRAMES):
        if chance.random() < 0.5:
            images[number] = gif_blocks(chance) + images[number]
    behind = gif_blocks(chance) if seed % 3 else b""
    path = tmp_path / "a.gif"
    path.write_bytes(head + b"".join(images) + behind + (b";" if seed % 2 else b""))

    assert len(plain_decode(path)) == FRAMES
    assert probe(path).num_frames == FRAMES
    signature = FrameExtractionSignature(policy="uniform", num_frames=FRAMES)
    batch = extract_frames(path, [signature])[signature]
    assert batch.outcome.status == "ok"
    assert numbers_in(batch.frames) == list(range(FRAMES))
    last = FrameExtractionSignature(policy="last")
    assert numbers_in(extract_frames(path, [last])[last].frames) == [FRAMES - 1]


SKIPPED_WMV2 = bytes([0b1_00010_10, 0b111_00000, 0])
"""A predicted picture of 48 lines in which all rows of macroblocks are skipped."""


def remuxed(source: Path, path: Path, packets: Iterator[Packet[Any]]) -> Path:
    """Remux the stream of a video with other packets."""
    with av.open(str(source)) as given, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = Fraction(1, 25)
            written.mux(packet)
    return path


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("codec", "empty"), [("wmv2", SKIPPED_WMV2), ("cinepak", struct.pack(">I6x", 10))]
)
def test_packets_that_change_nothing(tmp_path: Path, codec: str, empty: bytes, seed: int) -> None:
    chance = random.Random(seed)
    layout = ENCODERS[codec]
    source = make_video(tmp_path / "a.avi", frames=FRAMES, codec=codec, pixel_format=layout)

    def packets() -> Iterator[Packet[Any]]:
        with av.open(str(source)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    yield packet
                    yield from [Packet(empty)] * chance.randrange(3)

    path = remuxed(source, tmp_path / "b.avi", packets())
    assert len(plain_decode(path)) == probe(path).num_frames == FRAMES
    signature = FrameExtractionSignature(policy="uniform", num_frames=FRAMES)
    batch = extract_frames(path, [signature])[signature]
    assert batch.outcome.status == "ok"
    assert numbers_in(batch.frames) == list(range(FRAMES))
    assert np.all(np.diff(batch.pts) > 0)
