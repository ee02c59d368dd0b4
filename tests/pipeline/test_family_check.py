"""A plain decode, independent of plans, checks the frames that plans give."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    FrameStore,
    Limits,
    SourceChangedError,
    extract_frames,
)
from frames_pipeline.clips import Clip
from frames_pipeline.container import media
from frames_pipeline.container.index import PacketIndex, build_index
from frames_pipeline.pipeline import family_check, plain_decode
from frames_pipeline.pipeline.family_check import FamilyTask, Judgement, judge
from frames_pipeline.pipeline.plain_decode import PlainDecode
from frames_pipeline.sources.videos import VideoSource
from tests.oracle import plain_decode as oracle
from tests.videos import X264, make_video

FIRST = FrameExtractionSignature(policy="first")
ALL = FrameExtractionSignature(target_fps=25)
Lie = Callable[[PacketIndex], PacketIndex]


def judged(path: Path, *, seed: int = 0, fingerprint: str | None = None) -> Judgement:
    """Judge a video without stored frames by a plain decode."""
    source = VideoSource(str(path.parent))
    video = source.find(path.name)
    known = source.fingerprint(video) if fingerprint is None else fingerprint
    store = FrameStore(str(path.parent / "root"))
    return judge(FamilyTask("h264", source, store, "batch", ALL, video, known, (), seed=seed))


def every_packet(index: PacketIndex) -> PacketIndex:
    return replace(index, entry=np.ones_like(index.entry))


def some_packets(index: PacketIndex) -> PacketIndex:
    entry = index.entry.copy()
    entry[17::19] = True
    return replace(index, entry=entry)


def one_frame_less(index: PacketIndex) -> PacketIndex:
    return replace(index, presentation=index.presentation[1:])


def two_frames_swapped(index: PacketIndex) -> PacketIndex:
    presentation, pts = index.presentation.copy(), index.pts.copy()
    rows = presentation[[20, 21]]
    presentation[[20, 21]], pts[rows] = rows[::-1], pts[rows[::-1]]
    return replace(index, presentation=presentation, pts=pts)


def a_tick_late(index: PacketIndex) -> PacketIndex:
    return replace(index, pts=index.pts + 1)


def nothing(index: PacketIndex) -> PacketIndex:
    return index


@pytest.mark.parametrize(
    ("name", "codec", "lie", "position", "found"),
    [
        ("a.mp4", "mpeg4", every_packet, None, "its pixels differ by"),
        ("a.flv", "flv", every_packet, None, "its pixels differ by"),
        ("a.mkv", "mpeg4", some_packets, None, "its pixels differ by"),
        ("a.mp4", "libx264", one_frame_less, None, "it is at"),
        ("a.ts", "libx264", one_frame_less, None, "it is at"),
        ("a.mkv", "libx264", a_tick_late, None, "it is at"),
        ("a.mp4", "libx264", two_frames_swapped, 20, "its pixels differ by"),
        ("a.mp4", "libx264", nothing, None, ""),
        ("a.ts", "mpeg2video", nothing, None, ""),
    ],
)
def test_what_is_wrong_in_an_index_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    codec: str,
    lie: Lie,
    position: int | None,
    found: str,
) -> None:
    options = X264 if codec == "libx264" else {"g": "25"}
    path = make_video(tmp_path / name, codec=codec, options=options, frames=60)
    right = build_index
    monkeypatch.setattr(media, "build_index", lambda *asked: lie(right(*asked)))
    verdicts = [judged(path, seed=seed) for seed in range(8)]
    differences = [one for verdict in verdicts for one in verdict.differences]
    assert bool(differences) == bool(found)
    assert all(found in one.found for one in differences)
    assert all(verdict.compared for verdict in verdicts)
    if position is not None:
        assert {one.position for one in differences} <= {position, position + 1}
    wrong = set(wrong_positions(path))
    assert {one.position for one in differences} <= wrong


def wrong_positions(path: Path) -> list[int]:
    """Return positions that differ from an independent oracle when extracted alone.

    Covers every position, which is too expensive for `judge`.
    """
    plain = oracle(path)
    with media.open_media(path) as opened:
        index, time_base = opened.index, opened.stream.time_base
    assert time_base is not None
    wrong = []
    for position, pts in enumerate(index.shown_pts.tolist()):
        start = pts * index.time_base
        asked = extract_frames(path, [FIRST], start=start, end=start + index.time_base)[FIRST]
        frame = plain[position].frame
        same = np.array_equal(asked.frames[0], plain[position].rgb(frame.height, frame.width))
        if not same or (frame.pts is not None and frame.pts * time_base != start):
            wrong.append(position)
    return wrong


def test_frames_that_are_not_there_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index counts four frames before the first edit, which players hide."""
    path = make_video(tmp_path / "a.mp4", options=X264, frames=12, pts=range(-4, 8))
    right = build_index

    def all_shown(*asked: Any) -> PacketIndex:
        index = right(*asked)
        shown = index.order >= 0
        presentation = np.argsort(index.order)[-shown.sum() :]
        return replace(index, shown=shown, presentation=presentation)

    assert judged(path).differences == ()
    monkeypatch.setattr(media, "build_index", all_shown)
    differences = [one for seed in range(8) for one in judged(path, seed=seed).differences]
    assert {one.found for one in differences if one.position >= 8} == {
        "a plain decode ends after 8 frames"
    }
    assert all("it is at" in one.found for one in differences if one.position < 8)


def test_the_reference_shares_nothing_with_what_it_judges() -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(plain_decode)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("frames_pipeline")
    }
    assert imported == {"frames_pipeline.container.media"}
    asked = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(plain_decode)))
        if isinstance(node, ast.Attribute)
    }
    assert not asked & {"index", "packets", "picture_numbers", "renew_decoders"}


def test_a_plain_decode_ends_where_a_packet_fails(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="ffv1", options={"slicecrc": "1"}, frames=40)
    with media.open_media(path) as opened:
        decode = PlainDecode(opened)
        assert [frame.position for frame in decode] == list(range(40))
        assert decode.is_whole
    damaged = bytearray(path.read_bytes())
    damaged[2 * len(damaged) // 3] ^= 0xFF
    path.write_bytes(damaged)
    with media.open_media(path) as opened:
        decode = PlainDecode(opened)
        positions = [frame.position for frame in decode]
        assert positions == list(range(len(positions)))
        assert 20 < len(positions) < 40
        assert not decode.is_whole
    assert judged(path).differences == ()


def test_a_long_video_is_judged_by_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "a.mp4", options=X264, frames=120)
    monkeypatch.setattr(family_check, "PIXELS", 30 * 48 * 64)
    verdicts = [judged(path, seed=seed) for seed in range(6)]
    assert max(verdict.decoded for verdict in verdicts) <= 30
    assert max(verdict.decoded for verdict in verdicts) > 15, "later frames are looked at, too"
    assert all(verdict.compared and not verdict.differences for verdict in verdicts)


def test_other_bytes_are_not_judged(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=X264, frames=12)
    with pytest.raises(SourceChangedError, match=r"a.mp4 has other bytes than those"):
        judged(path, fingerprint="sha256:00")


def test_decoders_can_be_renewed_as_often_as_is_wanted(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=X264, frames=12)
    with media.open_media(path, Limits()) as opened:
        for _ in range(3):
            opened.renew_decoders()
            assert opened.stream.codec_context.codec.canonical_name == "h264"


@pytest.mark.parametrize(
    "fields",
    [
        {"crop": "container"},
        {"pixel_aspect": "square"},
        {"deinterlace": "bwdif"},
        {"deinterlace": "bwdif", "samples": "gray16", "target_res": (40, -1)},
        {"colour": "sdr", "samples": "rgb16"},
    ],
    ids=str,
)
def test_stored_frames_of_any_signature_are_compared(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    """The plain decode crops, squares and deinterlaces as the signature asks; no frame differs."""
    path = make_video(
        tmp_path / "a.mkv",
        options={**X264, "x264-params": "tff=1", "aspect": "4:1"},
        frames=24,
    )
    signature = FrameExtractionSignature(target_fps=10, **fields)
    source, store = VideoSource(str(tmp_path)), FrameStore(str(tmp_path / "root"))
    video = source.find("a.mkv")
    with media.open_media(path) as opened:
        index = opened.index
        pts = index.shown_pts.tolist()
    clip = Clip("a.mkv", pts[3], pts[20], index.time_base, 17)
    frames = extract_frames(
        path, [signature], start=pts[3] * index.time_base, end=pts[20] * index.time_base
    )[signature]
    commit = store.write_clip("batch", clip, {signature: frames})[signature]
    known = source.fingerprint(video)
    clips = ((clip, commit),)
    verdict = judge(FamilyTask("h264", source, store, "batch", signature, video, known, clips))
    assert verdict.differences == ()
    assert verdict.compared > len(frames) / 2
