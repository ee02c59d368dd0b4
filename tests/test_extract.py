"""The frames are exactly the right ones."""

from __future__ import annotations

import io
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_pipeline import (
    ConfigError,
    FrameExtractionSignature,
    LimitExceededError,
    Limits,
    NoFramesError,
    NoVideoStreamError,
    PyavDecoder,
    SourceNotFoundError,
    UnsupportedSourceError,
    extract_frames,
    probe,
    select_frames,
)
from tests.oracle import plain_decode
from tests.videos import X264, make_video, number_in, numbers_in

FIRST = FrameExtractionSignature(policy="first")
MIDDLE = FrameExtractionSignature(policy="middle")
LAST = FrameExtractionSignature(policy="last")
TWO_FPS = FrameExtractionSignature(target_fps=2)


def test_each_policy_gives_its_frames(video: Path) -> None:
    every = FrameExtractionSignature(target_fps=25)
    uniform = FrameExtractionSignature(policy="uniform", num_frames=4)
    keys = FrameExtractionSignature(policy="keyframes")
    batches = extract_frames(video, [FIRST, MIDDLE, LAST, TWO_FPS, every, uniform, keys])

    assert numbers_in(batches[FIRST].frames) == [0]
    assert numbers_in(batches[MIDDLE].frames) == [23]
    assert numbers_in(batches[LAST].frames) == [47]
    assert numbers_in(batches[TWO_FPS].frames) == [0, 12, 25, 37, 47]
    assert numbers_in(batches[every].frames) == list(range(48))
    assert numbers_in(batches[uniform].frames) == [6, 18, 30, 42]
    assert numbers_in(batches[keys].frames) == [0, 12, 24, 36]


def test_a_batch_says_what_each_frame_is(video: Path) -> None:
    batch = extract_frames(video, [TWO_FPS])[TWO_FPS]

    assert batch.frames.dtype == np.uint8
    assert batch.frames.shape == (5, 48, 64, 3)
    assert batch.positions.tolist() == [0, 12, 25, 37, 47]
    assert batch.pts_seconds.tolist() == [0.0, 0.48, 1.0, 1.48, 1.88]
    assert batch.key_frame.tolist() == [True, True, False, False, False]
    assert not batch.corrupt.any()
    assert batch.outcome.status == "ok"
    assert batch.outcome.candidates == 48
    assert batch.outcome.decode.decoder == "pyav"


def test_packets_that_nobody_needs_are_not_fed(video: Path) -> None:
    batch = extract_frames(video, [MIDDLE])[MIDDLE]

    assert batch.outcome.decode.packets_fed < 12
    assert batch.outcome.decode.packets_fed == batch.outcome.decode.packets_planned


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("avc.mp4", "libx264", X264),
        ("open-gop.mp4", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
        ("refresh.mp4", "libx264", {"x264-params": "keyint=12:intra-refresh=1:bframes=3"}),
        ("annex-b.ts", "libx264", X264),
        ("raw.h264", "libx264", X264),
        ("avc.mkv", "libx264", X264),
        ("hevc.mp4", "libx265", {"x265-params": "keyint=12:bframes=4:log-level=none:pools=none"}),
        ("vp9.webm", "libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("vp8.webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("av1.mp4", "libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}),
        ("mpeg4.mp4", "mpeg4", {"g": "12", "bf": "2"}),
        ("mpeg4.avi", "mpeg4", {"g": "12", "bf": "2"}),
        ("mpeg2.ts", "mpeg2video", {"g": "12", "bf": "2"}),
        ("mjpeg.avi", "mjpeg", {}),
        ("ffv1.mkv", "ffv1", {"g": "5"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_any_frames_of_any_codec_equal_a_plain_decode(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_video(
        tmp_path / name, codec=codec, options=options, pixel_format=fmt, size=(96, 128)
    )
    plain = plain_decode(path)
    assert probe(path).num_frames == len(plain) == 48
    for signature in (FIRST, MIDDLE, LAST, TWO_FPS, FrameExtractionSignature(target_fps=7)):
        batch = extract_frames(path, [signature])[signature]
        assert batch.outcome.status == "ok"
        assert numbers_in(batch.frames) == batch.positions.tolist()
        for position, pixels in zip(batch.positions.tolist(), batch.frames, strict=True):
            np.testing.assert_array_equal(pixels, plain[position].rgb(96, 128))


def test_the_answer_for_one_signature_does_not_depend_on_the_others(video: Path) -> None:
    small = FrameExtractionSignature(target_fps=3, target_res=(24, 32))
    signatures = [FIRST, MIDDLE, LAST, TWO_FPS, small]

    together = extract_frames(video, signatures)

    for signature in signatures:
        alone = extract_frames(video, [signature])[signature]
        assert alone.digest() == together[signature].digest()


def test_a_rate_above_the_sources_repeats_frames(video: Path) -> None:
    fifty = FrameExtractionSignature(target_fps=50, target_res=(24, 32))
    batch = extract_frames(video, [fifty], end=Fraction(1, 5))[fifty]

    assert batch.positions.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert numbers_in(batch.frames) == batch.positions.tolist()


@given(first=st.integers(0, 47), length=st.integers(1, 48))
@settings(max_examples=20)
def test_a_span_is_half_open_and_keeps_the_positions_of_the_stream(
    video: Path, first: int, length: int
) -> None:
    last = min(first + length, 48)
    every = FrameExtractionSignature(target_fps=25)
    batch = extract_frames(video, [every], start=Fraction(first, 25), end=Fraction(last, 25))[every]

    assert batch.positions.tolist() == list(range(first, last))
    assert numbers_in(batch.frames) == list(range(first, last))


def test_seconds_read_off_a_frame_lead_back_to_it(video: Path) -> None:
    seconds = extract_frames(video, [TWO_FPS])[TWO_FPS].pts_seconds.tolist()
    for number, second in zip([0, 12, 25, 37], seconds, strict=False):
        batch = extract_frames(video, [FIRST], start=second)[FIRST]
        assert numbers_in(batch.frames) == [number]


def test_a_video_may_be_a_path_bytes_a_file_or_a_url(video: Path) -> None:
    expected = extract_frames(video, [TWO_FPS])[TWO_FPS].digest()
    data = video.read_bytes()
    with fsspec.open("memory://bucket/video.mp4", "wb") as file:
        file.write(data)

    assert extract_frames(str(video), [TWO_FPS])[TWO_FPS].digest() == expected
    assert extract_frames(data, [TWO_FPS])[TWO_FPS].digest() == expected
    assert extract_frames(io.BytesIO(data), [TWO_FPS])[TWO_FPS].digest() == expected
    with video.open("rb") as file:
        assert extract_frames(file, [TWO_FPS])[TWO_FPS].digest() == expected
    assert extract_frames("memory://bucket/video.mp4", [TWO_FPS])[TWO_FPS].digest() == expected


def test_packets_that_do_not_stay_in_memory_give_the_same_frames(video: Path) -> None:
    seven = FrameExtractionSignature(target_fps=7)
    signatures = [LAST, MIDDLE, seven]
    expected = extract_frames(video, signatures)
    reread = extract_frames(video, signatures, limits=Limits(packet_memory=0))
    for signature in signatures:
        assert reread[signature].digest() == expected[signature].digest()


def test_frame_threads_give_the_same_frames(video: Path) -> None:
    seven = FrameExtractionSignature(target_fps=7)
    expected = extract_frames(video, [seven])[seven].digest()
    assert (
        extract_frames(video, [seven], decoder=PyavDecoder(threads=3))[seven].digest() == expected
    )


def test_variable_rate_takes_the_nearest_frame_in_time(tmp_path: Path) -> None:
    pts = [0, 10, 20, 30, 40, 200, 210, 220]  # milliseconds times 10
    path = make_video(
        tmp_path / "vfr.mkv", frames=8, pts=pts, time_base=Fraction(1, 100), options=X264
    )
    batch = extract_frames(path, [TWO_FPS])[TWO_FPS]

    # targets 0, 0.5, 1, 1.5, 2 s; 0.4 s is nearest to 0.5 and to 1.0, 2.0 s to 1.5
    assert numbers_in(batch.frames) == [0, 4, 4, 5, 5]
    assert batch.pts_seconds.tolist() == [0.0, 0.4, 0.4, 2.0, 2.0]


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_rotation_is_applied_and_can_be_ignored(tmp_path: Path, degrees: int) -> None:
    path = make_video(tmp_path / "turned.mp4", frames=3, rotation=degrees, first=0b101)
    ignore = FrameExtractionSignature(policy="first", rotation="ignore")
    sized = FrameExtractionSignature(policy="first", target_res=(-1, 24))
    batches = extract_frames(path, [FIRST, ignore, sized])

    stored = batches[ignore].frames[0]
    shown = batches[FIRST].frames[0]
    assert stored.shape == (48, 64, 3)
    np.testing.assert_array_equal(shown, np.rot90(stored, degrees // 90))
    assert batches[sized].frames.shape[1:3] == ((18, 24) if degrees == 180 else (32, 24))
    assert probe(path).rotation == (-180 if degrees == 180 else degrees)


def test_a_damaged_video_yields_what_decodes(tmp_path: Path) -> None:
    path = make_video(tmp_path / "whole.ts", options=X264)
    every = FrameExtractionSignature(target_fps=25)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 188 * 4] = b"\0" * 188 * 4

    batch = extract_frames(bytes(data), [every])[every]

    assert batch.outcome.status == "partial"
    assert batch.outcome.detail
    assert batch.outcome.decode.fallback
    seconds = batch.pts_seconds - batch.pts_seconds[0]  # lost frames leave a gap in time
    clean = ~batch.corrupt
    assert 12 <= clean.sum() < 48
    assert numbers_in(batch.frames[clean]) == np.rint(seconds[clean] * 25).astype(int).tolist()


def test_a_wanted_frame_that_is_cut_off_is_missing_and_no_neighbour_stands_in(
    tmp_path: Path,
) -> None:
    path = make_video(
        tmp_path / "whole.mp4", options=X264, container_options={"movflags": "faststart"}
    )
    whole = path.read_bytes()
    keys = FrameExtractionSignature(policy="keyframes")

    batches = extract_frames(whole[: len(whole) * 3 // 4], [LAST, keys])

    assert len(batches[LAST]) == 0 or numbers_in(batches[LAST].frames) == [
        int(batches[LAST].positions[0])
    ]
    assert numbers_in(batches[keys].frames) == batches[keys].positions.tolist()


@pytest.mark.parametrize(
    ("name", "data", "error", "match"),
    [
        ("empty.mp4", b"", UnsupportedSourceError, r"empty\.mp4 is empty \(0 bytes\)"),
        ("text.mp4", b"hello\n" * 99, UnsupportedSourceError, r"text\.mp4 is not a video"),
        ("zeros.mp4", bytes(65536), UnsupportedSourceError, r"zeros\.mp4 is not a video"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nother.ts\n", UnsupportedSourceError, r"list\.mp4 is"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nother.ts\n", UnsupportedSourceError, r"list\.m3u8 is"),
        ("cat.mp4", b"ffconcat version 1.0\nfile a.mp4\n", UnsupportedSourceError, r"cat\.mp4 is"),
    ],
)
def test_what_is_not_a_video_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes, error: type[Exception], match: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(error, match=match):
        extract_frames(path, [FIRST])
    with pytest.raises(error, match=match):
        probe(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"cannot read .*nowhere\.mp4: No such file"):
        extract_frames(tmp_path / "nowhere.mp4", [FIRST])
    with pytest.raises(SourceNotFoundError, match="it is a folder"):
        extract_frames(tmp_path, [FIRST])
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceNotFoundError, match="not a regular file"):
        extract_frames(tmp_path / "pipe.mp4", [FIRST])


def test_audio_alone_has_no_video(tmp_path: Path) -> None:
    path = tmp_path / "audio.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(NoVideoStreamError, match=r"audio\.mp4 has no video among its 1 streams"):
        extract_frames(path, [FIRST])


def test_a_span_without_a_frame_is_an_error_that_says_where_frames_are(video: Path) -> None:
    with pytest.raises(NoFramesError, match=r"video\.mp4: no frame between .* run from 0 to"):
        extract_frames(video, [FIRST], start=100)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (1, 1.5),
        (Fraction(1), Fraction(3, 2)),
        (Decimal(1), Decimal("1.5")),
        (np.float32(1), np.float32(1.5)),
        (np.int64(1), np.float64(1.5)),
        (np.uint8(1), Decimal("1.5")),
    ],
)
def test_a_part_is_the_same_however_its_times_are_given(video: Path, start: Any, end: Any) -> None:
    every = FrameExtractionSignature(target_fps=25)
    batch = extract_frames(video, [every], start=start, end=end)[every]
    assert numbers_in(batch.frames) == list(range(25, 38))


@pytest.mark.parametrize("beyond", [10**40, 1e300, np.float64(1e300), Fraction(10**400)])
def test_times_beyond_any_clock_are_its_ends(video: Path, beyond: Any) -> None:
    batch = extract_frames(video, [FIRST, LAST], start=-beyond, end=beyond)
    assert numbers_in(batch[LAST].frames) == [47]
    with pytest.raises(NoFramesError, match="no frame between"):
        extract_frames(video, [FIRST], start=beyond)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), "1", np.float32("nan"), True, [1]])
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_part_without_a_number_is_refused_by_name(tmp_path: Path, name: str, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}=.* is not a"):
        extract_frames(tmp_path / "nowhere.mp4", [FIRST], **{name: wrong})


KEYS = FrameExtractionSignature(policy="keyframes")


@pytest.mark.parametrize("others", [[], [FIRST], [LAST, TWO_FPS], [MIDDLE, FIRST, LAST]])
def test_a_part_without_a_key_frame_gives_none_whatever_else_is_asked(
    video: Path, others: list[FrameExtractionSignature]
) -> None:
    """Key frames are 0, 12, 24, 36."""
    batches = extract_frames(video, [*others, KEYS], start=0.04, end=0.48)
    found = batches[KEYS]
    assert found.frames.shape[0] == 0
    assert (found.outcome.status, found.outcome.missing) == ("ok", ())
    assert found.outcome.candidates == 11
    assert found.outcome.detail == "none of the 11 frames of the clip is a key frame"
    for other in others:
        alone = extract_frames(video, [other], start=0.04, end=0.48)[other]
        assert batches[other].digest() == alone.digest()


@given(st.data())
def test_the_answer_for_one_signature_never_depends_on_the_others(
    video: Path, data: st.DataObject
) -> None:
    kinds = [FIRST, MIDDLE, LAST, TWO_FPS, KEYS, FrameExtractionSignature(target_fps=7)]
    asked = data.draw(st.lists(st.sampled_from(kinds), min_size=1, unique=True))
    start = data.draw(st.integers(0, 46))
    end = data.draw(st.integers(start + 1, 48))
    part: dict[str, Any] = {"start": Fraction(start, 25), "end": Fraction(end, 25)}
    together = extract_frames(video, asked, **part)
    assert list(together) == asked
    for signature in asked:
        alone = extract_frames(video, [signature], **part)[signature]
        assert together[signature].digest() == alone.digest()
        assert together[signature].outcome.detail == alone.outcome.detail


def test_wrong_requests_fail_before_anything_is_opened(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.mp4"
    with pytest.raises(ConfigError, match="is one value; give a list of signatures"):
        extract_frames(nowhere, FIRST)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is not a FrameExtractionSignature"):
        extract_frames(nowhere, [{"policy": "first"}])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="no signature given"):
        extract_frames(nowhere, [])
    with pytest.raises(ConfigError, match="'sequence' is not a FrameExtractionSignature"):
        extract_frames(nowhere, ["sequence"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="no decoder 'cud'; choose one of pyav, nvdec, auto"):
        extract_frames(nowhere, [FIRST], decoder="cud")
    with pytest.raises(ConfigError, match="end must be after start"):
        extract_frames(nowhere, [FIRST], start=2, end=1)
    with pytest.raises(ConfigError, match="cannot read a video from 7"):
        extract_frames(7, [FIRST])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (Limits(max_file_bytes=100), "bytes, and the limit is 100"),
        (Limits(max_pixels=1000), "64x48, and the limit is 1000 pixels"),
        (Limits(max_packets=10), "more than 10 packets"),
        (Limits(max_frames=3), "one clip would give 5 frames, and the limit is 3"),
        (Limits(max_clip_bytes=1000), "take 46080 bytes, and the limit is 1000"),
    ],
)
def test_limits_hold(video: Path, limits: Limits, match: str) -> None:
    with pytest.raises(LimitExceededError, match=match):
        extract_frames(video, [TWO_FPS], limits=limits)


def test_probe_says_what_a_video_holds(video: Path) -> None:
    index = probe(video)

    assert (index.codec, index.width, index.height) == ("h264", 64, 48)
    assert index.num_frames == 48
    assert index.average_rate == 25
    assert index.duration_seconds == pytest.approx(1.92)
    assert index.timestamps == "container"
    assert select_frames(TWO_FPS, index.shown_pts, index.time_base).tolist() == [0, 12, 25, 37, 47]


def test_the_size_changes_mid_stream(tmp_path: Path) -> None:
    big = make_video(tmp_path / "big.ts", frames=24, options=X264)
    small = make_video(tmp_path / "small.ts", frames=24, size=(24, 32), options=X264, first=24)
    path = tmp_path / "both.ts"
    path.write_bytes(big.read_bytes() + small.read_bytes())
    keys = FrameExtractionSignature(policy="keyframes")

    batch = extract_frames(path, [keys, LAST])

    assert batch[keys].frames.shape[1:3] == (48, 64)  # as its first frame
    assert numbers_in(batch[keys].frames) == [0, 12, 24, 36]
    assert batch[LAST].frames.shape[1:3] == (24, 32)
    assert number_in(batch[LAST].frames[0]) == 47
