"""Packets are the same ones, whichever way they are come by."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.bitstream import codec_named
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.container.packets import DemuxedPackets
from frames_pipeline.container.sampled import SampledPackets
from frames_pipeline.decoding.backends import PyavDecoder, Tally
from frames_pipeline.decoding.backends.base import Decoder
from frames_pipeline.decoding.decode_pass import DecodedFrame, DecodePass
from frames_pipeline.decoding.plan import plan_decode, plan_linear
from frames_pipeline.errors import FramesPipelineError
from tests.oracle import raw_md5
from tests.videos import X264, make_video

X265 = {"x265-params": "keyint=24:bframes=4:log-level=none:pools=none"}
SVT = {"g": "24", "preset": "10", "svtav1-params": "lp=1"}
ENCODERS = {
    "h264": ("libx264", X264),
    "open-gop": ("libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
    "intra-refresh": ("libx264", {"x264-params": "keyint=12:intra-refresh=1"}),
    "hevc": ("libx265", X265),
    "av1": ("libsvtav1", SVT),
}


def demuxed(media: Media) -> DemuxedPackets:
    """The packets of a file that is read through."""
    return DemuxedPackets(
        media._connect(None),
        media.stream,
        reader=media._header_reader(),
        reopen=lambda: media._connect(None),
        memory=1 << 30,
        max_packets=1 << 20,
        max_bytes=1 << 30,
        file_size=1 << 30,
        name="test",
    )


@pytest.mark.parametrize("codec", ["h264", "open-gop", "intra-refresh", "hevc"])
@pytest.mark.parametrize("flags", ["", "faststart", "use_metadata_tags"])
def test_a_sample_table_says_what_demuxing_says(tmp_path: Path, codec: str, flags: str) -> None:
    encoder, options = ENCODERS[codec]
    path = make_video(
        tmp_path / "video.mp4",
        codec=encoder,
        options=options,
        container_options={"movflags": flags} if flags else None,
    )
    for source in (path, path.read_bytes()):
        with open_media(source) as media:
            assert isinstance(media.packets, SampledPackets)
            other = demuxed(media)
            for field in dataclasses.fields(other.columns):
                np.testing.assert_array_equal(
                    getattr(media.packets.columns, field.name), getattr(other.columns, field.name)
                )
            rows = range(len(other.columns))
            for (row, ours), (_, theirs) in zip(
                media.packets.read(rows), other.read(rows), strict=True
            ):
                assert bytes(ours) == bytes(theirs)
                assert ours.pts == theirs.pts == row


def test_a_table_that_is_not_plain_is_left_to_libavformat(tmp_path: Path) -> None:
    fragmented = make_video(
        tmp_path / "fragments.mp4",
        options=X264,
        container_options={"movflags": "frag_keyframe+empty_moov"},
    )
    whole = make_video(tmp_path / "whole.mp4", options=X264)
    cut = tmp_path / "cut.mp4"
    data = make_video(
        tmp_path / "fast.mp4", options=X264, container_options={"movflags": "faststart"}
    ).read_bytes()
    cut.write_bytes(data[: len(data) * 3 // 4])
    for path in (fragmented, cut):
        with open_media(path) as media:
            assert isinstance(media.packets, DemuxedPackets)
    with open_media(whole, Limits(max_packets=10**6)) as media:
        assert isinstance(media.packets, SampledPackets)


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_movie_box_never_gives_other_packets(
    faststart: bytes, at: int, value: int
) -> None:
    moov = faststart.index(b"moov")
    size = int.from_bytes(faststart[moov - 4 : moov], "big")
    data = bytearray(faststart)
    data[moov + 4 + at % (size - 8)] = value
    with (
        contextlib.suppress(FramesPipelineError, MemoryError),
        open_media(bytes(data)) as media,
    ):
        packets = media.packets
        if isinstance(packets, SampledPackets):
            other = demuxed(media).columns
            np.testing.assert_array_equal(packets.columns.pts, other.pts)
            np.testing.assert_array_equal(packets.columns.size, other.size)
            np.testing.assert_array_equal(packets.columns.flags, other.flags)


@pytest.fixture(scope="module")
def faststart(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("faststart") / "video.mp4"
    make_video(path, options=X264, container_options={"movflags": "faststart"})
    return path.read_bytes()


@given(
    codec=st.sampled_from(["h264", "hevc"]),
    packets=st.lists(
        st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), min_size=1, max_size=6
    ),
)
def test_reading_all_heads_at_once_gives_what_one_by_one_gives(
    codec: str, packets: list[list[bytes]]
) -> None:
    extradata = b"\1" + bytes(3) + b"\xff" + bytes(20) if codec == "h264" else b"\1" + bytes(22)
    size = 4 if codec == "h264" else 1
    data = [b"".join(len(nal).to_bytes(size, "big") + nal for nal in nals) for nals in packets]
    one_by_one = codec_named(codec).open_reader(extradata)
    flags = [one_by_one.read(memoryview(packet), key=False) for packet in data]
    for key in ([False] * len(data), [flag & 2 > 0 for flag in flags]):
        at_once = (
            codec_named(codec)
            .open_reader(extradata)
            .read_heads(
                np.array([list(packet[:64].ljust(64, b"\7")) for packet in data], np.uint8),
                np.array([len(packet) for packet in data]),
                key=np.array(key),
                read=lambda row, start=0, size=None: memoryview(data[row])[start:][:size],
            )
        )
        assert at_once is None or at_once.tolist() == flags


@pytest.mark.parametrize("memory", [1 << 30, 0])
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore")
def test_chosen_packets_give_the_frames_that_all_packets_give(
    tmp_path: Path, name: str, memory: int
) -> None:
    encoder, options = ENCODERS[name]
    path = make_video(
        tmp_path / "video.mp4", frames=72, codec=encoder, options=options, size=(96, 128)
    )
    with open_media(path, Limits(packet_memory=memory)) as media:
        index = media.index
        assert index.num_frames == 72
        whole = frames_of(media, np.arange(len(index.order)), linear=True)
        for step in (1, 5, 13, 31, 72):
            rows = np.sort(index.presentation[step // 2 :: step])
            chosen = frames_of(media, rows)
            assert {row: chosen[row] for row in rows.tolist()} == {
                row: whole[row] for row in rows.tolist()
            }


def frames_of(media: Media, rows: np.ndarray, *, linear: bool = False) -> dict[int, str]:
    """What comes out for some rows, by row."""
    plan = (
        plan_linear(media.index, rows, reason="test")
        if linear
        else plan_decode(media.index, rows, media.packets.references)
    )
    decoder: Decoder = PyavDecoder()
    return {
        event.row: raw_md5(event.frame)
        for event in DecodePass(media, plan).frames(decoder, Tally())
        if isinstance(event, DecodedFrame)
    }


def test_hidden_av1_frames_are_rows_of_their_own(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "video.mp4", frames=72, codec="libsvtav1", options=SVT, size=(96, 128)
    )
    with open_media(path) as media:
        index = media.index
        assert index.num_frames == 72
        assert len(index.order) > 72
        last = plan_decode(index, index.presentation[-1:], media.packets.references)
        assert last.packets < plan_decode(index, index.presentation[-1:]).packets
