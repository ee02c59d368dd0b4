"""Videos are grouped into families."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

import av
import pytest
from av.packet import Packet
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.container.media import open_media
from frames_pipeline.pipeline import Family, family_of
from frames_pipeline.pipeline.families import codec_prefix, program
from tests.videos import X264, make_video

FAMILIES = st.builds(
    Family,
    codec=st.sampled_from(["h264", "hevc", "av1", "mpeg4"]) | st.text(),
    profile=st.text(),
    tag=st.text(),
    container=st.sampled_from(["mov", "matroska", "mpegts"]) | st.text(),
    encoder=st.text(),
    headers=st.sampled_from(["none", "records", "start codes"]),
    reorders=st.booleans(),
    leading=st.booleans(),
    interlaced=st.booleans(),
    timestamps=st.sampled_from(["container", "counted"]),
)
BASE: dict[str, str] = {"bf": "2", "g": "12"}


def family(path: Path) -> Family:
    with open_media(path) as media:
        return family_of(media)


def cut(path: Path, target: Path, start: int, stop: int) -> Path:
    """Copy the packets of some frames, as `ffmpeg -c copy` does; `start` is a key frame's."""
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        packets = cast("list[Packet[VideoStream]]", [p for p in source.demux(stream) if p.size])
        for packet in packets[start:stop]:
            packet.stream = copy
            sink.mux(packet)
    return target


@given(FAMILIES, FAMILIES)
def test_a_key_is_a_name_that_says_the_family_and_nothing_else(one: Family, other: Family) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,32}-[a-z0-9_]{1,32}-[0-9a-f]{16}", one.key)
    assert one.key.startswith(codec_prefix(one.codec))
    assert (one == other) == (one.key == other.key)
    assert one.key == replace(one).key


@given(st.sampled_from([field.name for field in fields(Family)]), FAMILIES)
def test_every_field_is_part_of_the_key(name: str, one: Family) -> None:
    value = getattr(one, name)
    other = not value if isinstance(value, bool) else f"{value}!"
    assert replace(one, **{name: other}).key != one.key  # type: ignore[arg-type]


@given(st.text())
def test_a_strangers_text_becomes_a_short_printable_name(text: str) -> None:
    name = program(text)
    assert len(name) <= 64
    assert not name or name.isprintable()
    assert program(name) == name


@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        *(("libx264", container, X264) for container in ("mp4", "mkv", "ts", "flv")),
        *(("libx264", container, BASE | {"bf": "0"}) for container in ("mp4", "ts")),
        *(("mpeg4", container, {"g": "12"}) for container in ("mp4", "mkv", "avi")),
        ("libvpx-vp9", "webm", {"g": "12", "lag-in-frames": "0"}),
    ],
)
def test_cuts_of_one_encode_are_of_one_family(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    whole = make_video(tmp_path / f"whole.{container}", frames=60, codec=codec, options=options)
    early = cut(whole, tmp_path / f"early.{container}", 0, 24)
    late = cut(whole, tmp_path / f"late.{container}", 24, 60)
    assert family(early) == family(late)
    assert family(early) == family(early)


def test_other_settings_are_other_families(tmp_path: Path) -> None:
    made = {
        name: make_video(tmp_path / name, frames=40, codec=codec, options=options)
        for name, codec, options in [
            ("closed.mp4", "libx264", BASE),
            ("no-b.mp4", "libx264", BASE | {"bf": "0"}),
            ("open.mp4", "libx264", BASE | {"x264-params": "open-gop=1:scenecut=0"}),
            ("interlaced.mp4", "libx264", BASE | {"x264-params": "interlaced=1"}),
            ("main.mp4", "libx264", BASE | {"profile": "main"}),
            ("closed.mkv", "libx264", BASE),
            ("closed.ts", "libx264", BASE),
            ("mpeg4.mp4", "mpeg4", {"g": "12"}),
            ("mpeg4.avi", "mpeg4", {"g": "12"}),
        ]
    }
    families = {name: family(path) for name, path in made.items()}
    assert len({one.key for one in families.values()}) == len(made), families
    assert families["open.mp4"].leading
    assert families["interlaced.mp4"].interlaced
    assert (families["closed.mp4"].reorders, families["no-b.mp4"].reorders) == (True, False)
    again = make_video(tmp_path / "again.mp4", frames=77, size=(96, 32), first=9, options=BASE)
    assert family(again) == families["closed.mp4"]
