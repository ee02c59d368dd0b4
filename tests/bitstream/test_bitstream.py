"""Headers say what a decoder would: what is shown, in which order, and who needs whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.bitstream import (
    BETWEEN,
    DISPOSABLE,
    ENTRY,
    SHOWN,
    codec_named,
)
from frames_pipeline.bitstream.bits import Bits
from frames_pipeline.bitstream.h264 import H264Reader, PictureNumbers
from frames_pipeline.bitstream.hevc import HevcReader
from frames_pipeline.bitstream.nal import nal_units
from frames_pipeline.container.media import open_media
from tests.videos import X264, make_video

X265 = "keyint=12:bframes=4:log-level=none:pools=none"
STREAMS = [
    ("avc.mp4", "libx264", X264),
    ("avc.ts", "libx264", X264),
    (
        "open.mkv",
        "libx264",
        {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0:b-pyramid=strict"},
    ),
    ("field.mp4", "libx264", {"x264-params": "keyint=12:bframes=3:tff=1"}),
    ("hevc.mp4", "libx265", {"x265-params": X265}),
    ("hevc.ts", "libx265", {"x265-params": X265 + ":temporal-layers=1"}),
    ("mpeg4.mp4", "mpeg4", {"g": "12", "bf": "2"}),
    ("mpeg2.ts", "mpeg2video", {"g": "12", "bf": "2"}),
    ("av1.mp4", "libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}),
    ("vp9.webm", "libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
]


@pytest.fixture(params=STREAMS, ids=[name for name, _, _ in STREAMS])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, codec, options = request.param
    return make_video(tmp_path / name, codec=codec, options=options, size=(96, 128))


def output_ranks(
    codec: str, extradata: bytes, packets: Iterable[memoryview], flags: Sequence[int]
) -> list[int] | None:
    """Ranks by the headers of a codec; decode order for one that does not reorder."""
    ranks = codec_named(codec).output_ranks
    return list(range(len(flags))) if ranks is None else ranks(extradata, packets, flags)


def decoded_rows(path: Path, rows: list[int]) -> dict[int, bytes]:
    """Frames by row when only some rows are fed to a plain decoder."""
    frames: dict[int, bytes] = {}
    with open_media(path) as media:
        context = media.stream.codec_context
        context.thread_count = 1
        packets = [packet for _, packet in media.packets.read(rows)]
        for packet in [*packets, None]:
            for frame in context.decode(packet):
                assert frame.pts is not None
                frames[frame.pts] = frame.to_ndarray().tobytes()
    return frames


def test_disposable_packets_can_be_left_out(stream: Path) -> None:
    with open_media(stream) as media:
        index = media.index
    everything = decoded_rows(stream, list(range(len(index.order))))
    kept = np.flatnonzero(~index.disposable).tolist()

    assert decoded_rows(stream, kept) == {row: everything[row] for row in kept if row in everything}
    if stream.name.startswith(("avc", "open", "hevc", "mpeg")):
        assert index.disposable.any()


def test_decoding_may_start_at_any_entry(stream: Path) -> None:
    with open_media(stream) as media:
        index = media.index
    rows = len(index.order)
    everything = decoded_rows(stream, list(range(rows)))
    entries = np.flatnonzero(index.entry).tolist()

    assert entries[0] == 0
    assert len(entries) >= 3
    for entry in entries:
        later = {
            row: frame
            for row, frame in decoded_rows(stream, list(range(entry, rows))).items()
            if index.order[row] >= index.order[entry]
        }
        assert later == {row: everything[row] for row in later}
        assert len(later) == rows - np.count_nonzero(index.order < index.order[entry])


def test_output_order_is_told_from_headers(stream: Path) -> None:
    with open_media(stream) as media:
        context, packets = media.stream.codec_context, media.packets
        codec = context.codec.canonical_name
        extradata = context.extradata or b""
        flags = packets.columns.flags
        order = output_ranks(codec, extradata, packets.headers(), flags.tolist())
        assert order is not None
        shown = np.flatnonzero(flags & SHOWN)
        by_headers = shown[np.argsort(np.asarray(order)[shown])]
    assert by_headers.tolist() == list(decoded_rows(stream, list(range(len(flags)))))


@given(st.lists(st.integers(0, 2**20)), st.integers(1, 24))
def test_exp_golomb_codes_are_read_back(numbers: list[int], width: int) -> None:
    text = "".join(f"{n + 1:b}".zfill(2 * (n + 1).bit_length() - 1) for n in numbers)
    text += "1" * width
    data = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    bits = Bits(data)
    assert [bits.ue() for _ in numbers] == numbers
    assert bits.u(width) == 2**width - 1
    with pytest.raises(EOFError):
        bits.u(9)


@given(st.lists(st.binary(min_size=1, max_size=3000).map(lambda b: b.replace(b"\0", b"\1"))))
def test_nal_units_are_split_either_way(units: list[bytes]) -> None:
    annex_b = b"".join(b"\0\0\1" + unit for unit in units)
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    assert [bytes(nal) for nal in nal_units(memoryview(lengths), 4)] == units
    split = [bytes(nal) for nal in nal_units(memoryview(annex_b), 0)]
    assert len(split) == len(units)
    assert all(nal.startswith(unit) for nal, unit in zip(split, units, strict=True))


@given(
    st.sampled_from(["h264", "hevc", "av1", "vp9", "vp8", "mpeg2video", "mpeg4", "ffv1"]),
    st.data(),
)
def test_garbage_breaks_no_reader(codec: str, data: st.DataObject) -> None:
    extradata = data.draw(
        st.one_of(
            st.just(b""), st.binary(max_size=60), st.binary(max_size=60).map(lambda b: b"\1" + b)
        )
    )
    reader = codec_named(codec).open_reader(extradata)
    for packet in data.draw(st.lists(st.binary(min_size=1, max_size=80), max_size=5)):
        flags = reader.read(memoryview(packet), key=data.draw(st.booleans()))
        assert flags >= 0
    numbers = PictureNumbers(extradata)
    for packet in data.draw(st.lists(st.binary(min_size=1, max_size=80), max_size=5)):
        assert numbers.is_next(memoryview(packet)) in (True, False)
    packets = data.draw(st.lists(st.binary(min_size=1, max_size=80), max_size=5))
    order = output_ranks(codec, extradata, map(memoryview, packets), [SHOWN] * len(packets))
    assert order is None or sorted(order) == list(range(len(packets)))


def slice_unit(kind: int, *, reference: int = 1) -> bytes:
    return bytes([0, 0, 1, reference << 5 | kind, 0b1000_1000, 0x80])


def test_h264_flags_by_unit_type() -> None:
    reader = H264Reader(b"")
    assert reader.read(memoryview(slice_unit(5)), key=True) == SHOWN | ENTRY
    assert reader.read(memoryview(slice_unit(5)), key=False) == SHOWN | ENTRY
    assert reader.read(memoryview(slice_unit(1)), key=False) == SHOWN
    assert (
        reader.read(memoryview(slice_unit(1)), key=True) == SHOWN
    )  # a key flag alone proves nothing
    assert reader.read(memoryview(slice_unit(1, reference=0)), key=False) == SHOWN | DISPOSABLE
    assert reader.read(memoryview(b"\0\0\1\x09\x10"), key=False) == 0  # a delimiter shows nothing


@pytest.mark.parametrize(
    ("payload", "is_entry"),
    [
        (b"\xc0", True),  # recovery_frame_cnt 0, exact match
        (b"\x80", False),  # recovery_frame_cnt 0, not exact
        (b"\x60", False),  # recovery_frame_cnt 2
    ],
)
def test_h264_recovery_points_are_entries_if_nothing_is_outstanding(
    payload: bytes, is_entry: bool
) -> None:
    sei = b"\0\0\1\x06" + bytes([5, 2]) + b"xy" + bytes([6, len(payload)]) + payload + b"\x80"
    flags = H264Reader(b"").read(memoryview(sei + slice_unit(1)), key=True)
    assert bool(flags & ENTRY) == is_entry


def test_hevc_leading_pictures_of_a_first_cra_are_not_shown() -> None:
    def unit(kind: int, layer: int = 1) -> memoryview:
        return memoryview(bytes([0, 0, 1, kind << 1, layer, 0x80]))

    reader = HevcReader(b"")
    assert reader.read(unit(21), key=True) == SHOWN | ENTRY
    assert not reader.read(unit(8), key=False) & SHOWN
    assert reader.read(unit(6), key=False) & SHOWN
    assert reader.read(unit(1), key=False) == SHOWN
    assert reader.read(unit(21), key=True) == SHOWN | ENTRY
    assert reader.read(unit(8), key=False) == SHOWN | DISPOSABLE
    assert reader.read(unit(0, layer=2), key=False) == SHOWN | DISPOSABLE | 1 << 8


def test_a_field_that_completes_a_frame_shows_nothing_of_its_own() -> None:
    def bits(text: str) -> bytes:
        text = text.replace(" ", "")
        return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")

    # profile 77; sps 0, 4 bits of frame_num, poc type 2, 1 reference, 4x4 macroblocks, fields
    sps = b"\0\0\1\x67" + bits("01001101 00000000 00011110 1 1 011 010 0 00100 00100 0 1 1 0 0 1")
    pps = b"\0\0\1\x68" + bits("1 1 1")

    def field(bottom: int, number: int) -> memoryview:
        # first_mb 0, slice type P, pps 0, frame_num, field_pic_flag, bottom_field_flag
        return memoryview(sps + pps + b"\0\0\1\x41" + bits(f"1 1 1 {number:04b} 1 {bottom} 1"))

    reader = H264Reader(b"")
    flags = [
        reader.read(field(bottom, number), key=False)
        for number, bottom in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 1), (4, 0)]
    ]
    assert [bool(flag & SHOWN) for flag in flags] == [True, False, True, False, True, True]


def test_h264_numbers_tell_that_a_picture_is_lost_which_others_refer_to(stream: Path) -> None:
    with open_media(stream) as media:
        index, numbers = media.index, media.picture_numbers
        packets = [bytes(packet) for _, packet in media.packets.read(range(len(index.order)))]
        if index.codec != "h264":
            assert numbers is None
            return
    assert numbers is not None
    assert all(numbers.is_next(memoryview(packet)) for packet in packets)
    alone = [row for row, packet in enumerate(packets) if packet and not index.disposable[row]]
    numbers.restart()
    assert all(numbers.is_next(memoryview(packets[row])) for row in alone)
    noticed, losses = (
        0,
        [
            lost
            for lost, follower in pairwise(alone)
            if lost
            and index.shown[lost]
            and not index.entry[follower]  # not of two fields, which share it
        ],
    )
    for lost in losses:
        numbers.restart()
        noticed += not all(numbers.is_next(memoryview(packets[r])) for r in alone if r != lost)
    assert noticed == len(losses) > 0


def test_parameter_sets_may_come_back(tmp_path: Path) -> None:
    """As behind an advertisement: two streams in turn, with frame numbers of other widths."""
    streams = [
        make_video(
            tmp_path / f"{keyint}.h264",
            options={"x264-params": f"keyint={keyint}:bframes=2:scenecut=0:ref={ref}"},
            frames=60,
        ).read_bytes()
        for keyint, ref in ((10, 1), (300, 16))
    ]
    (tmp_path / "both.h264").write_bytes(b"".join(streams * 2))
    with open_media(tmp_path / "both.h264") as media:
        numbers, packets = media.picture_numbers, list(media.packets.read(range(240)))
        assert numbers is not None
        assert all(numbers.is_next(memoryview(packet)) for _, packet in packets)
        order = output_ranks("h264", b"", (memoryview(p) for _, p in packets), [SHOWN] * 240)
    assert order is not None
    decoded = list(decoded_rows(tmp_path / "both.h264", list(range(240))))
    assert np.argsort(order).tolist() == decoded


@pytest.fixture
def checksummed(tmp_path: Path) -> Path:
    return make_video(
        tmp_path / "v.mkv", codec="ffv1", options={"g": "5", "level": "3", "slices": "4"}, frames=12
    )


def test_ffv1_checksums_tell_every_changed_packet(checksummed: Path) -> None:
    with open_media(checksummed) as media:
        packets = [bytes(packet) for _, packet in media.packets.read(range(12))]
        extradata = media.stream.codec_context.extradata or b""
    random = np.random.default_rng(1)
    for changed in range(12):
        reader = codec_named("ffv1").open_reader(extradata)
        for row, packet in enumerate(packets):
            data = bytearray(packet)
            if row == changed:
                data[random.integers(2, len(data))] ^= 1 << int(random.integers(8))
            flags = reader.read(memoryview(data), key=False)
            assert bool(flags & ENTRY) == (row % 5 == 0)
        assert list(reader.damaged) == [changed]


def test_ffv1_without_checksums_is_not_called_damaged(tmp_path: Path) -> None:
    options = {"g": "5", "level": "3", "slicecrc": "0"}
    video = make_video(tmp_path / "v.mkv", codec="ffv1", options=options, frames=12)
    with open_media(video) as media:
        assert not media.index.corrupt.any()
        assert np.flatnonzero(media.index.entry).tolist() == [0, 5, 10]


def test_packed_mpeg4_keeps_one_frame_per_packet() -> None:
    vol = b"\0\0\1\x20\x00\x84\x40\x0c\x40\x28\x00\xb9\x80\x00"
    i, p, b = (b"\0\0\1\xb6" + bytes([kind << 6 | 0x10]) + b"x" * 40 for kind in (0, 1, 2))
    reader = codec_named("mpeg4").open_reader(vol)
    flags = [
        reader.read(memoryview(data), key=False) for data in (i, p + b, b"\0\0\1\xb6\x50\x60", p)
    ]
    assert [bool(flag & SHOWN) for flag in flags] == [True] * 4
    assert bool(flags[2] & BETWEEN)
    assert not any(flag & DISPOSABLE for flag in flags)
    assert output_ranks("mpeg4", b"", [], flags) == [0, 2, 1, 3]


def test_vp8_and_vp9_hidden_frames() -> None:
    vp8 = codec_named("vp8").open_reader(b"")
    assert vp8.read(memoryview(b"\x10\0\0"), key=True) == SHOWN | ENTRY
    assert vp8.read(memoryview(b"\x01\0\0"), key=False) == 0
    vp9 = codec_named("vp9").open_reader(b"")
    assert vp9.read(memoryview(b"\x82\0\0"), key=True) == SHOWN | ENTRY  # 10 00 0 0 1 0
    assert vp9.read(memoryview(b"\x84\0\0"), key=False) == 0  # 10 00 0 1 0 0
    hidden_then_shown = b"\x84\0\0" + b"\x86\0" + b"\xc1\x03\x02\xc1"
    assert vp9.read(memoryview(hidden_then_shown), key=False) == SHOWN


def test_the_wheel_still_stamps_frames_with_their_packets_timestamp(video: Path) -> None:
    """Rows travel through the decoder as timestamps: pin that it hands them on."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        for row, packet in enumerate(packets):
            packet.pts = packet.dts = row
        rows = [
            frame.pts
            for packet in [*packets, None]
            for frame in stream.codec_context.decode(packet)
            if frame.pts is not None
        ]
    assert sorted(rows) == list(range(48))
    assert rows != sorted(rows)
    assert Fraction(stream.average_rate or 0) == 25
