"""The format of a source's pictures is stored with frames, and their colour space is true."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import FrameExtractionSignature, FrameStore
from frames_pipeline.container.picture_format import MATRICES, PRIMARIES, TRANSFERS
from frames_pipeline.frames import Crop, PictureFormat
from frames_pipeline.store.source_format import (
    colour_space,
    crop_in,
    format_document,
    format_in,
    pixel_attributes,
)
from tests.store.conftest import MakeFrames

UNSPECIFIED = "unspecified"
PQ = PictureFormat(
    primaries="bt2020",
    transfer="smpte2084",
    matrix="bt2020nc",
    range="limited",
    bit_depth=10,
    chroma="4:2:0",
    pixel_aspect=Fraction(64, 45),
    field_order="progressive",
    peak_luminance=Fraction(9999, 10),
    max_content_light=1000,
    dolby_vision=8,
)
ORDINARY = PictureFormat("bt709", "bt709", "bt709", "limited", 8, "4:2:0", Fraction(1))

formats = st.builds(
    PictureFormat,
    primaries=st.sampled_from([UNSPECIFIED, *PRIMARIES.values()]),
    transfer=st.sampled_from([UNSPECIFIED, *TRANSFERS.values()]),
    matrix=st.sampled_from([UNSPECIFIED, *MATRICES.values()]),
    range=st.sampled_from(["limited", "full", UNSPECIFIED]),
    bit_depth=st.integers(0, 16),
    chroma=st.sampled_from(["", "4:2:0", "gray", "rgb"]),
    pixel_aspect=st.none() | st.fractions(Fraction(1, 1 << 31), 1 << 31),
    field_order=st.sampled_from(["progressive", "tff", "bff", UNSPECIFIED]),
    peak_luminance=st.none() | st.integers(1, 1 << 31).map(lambda n: Fraction(n, 10_000)),
    max_content_light=st.none() | st.integers(1, 65535),
    dolby_vision=st.none() | st.integers(0, 20),
)


@given(formats, st.none() | st.builds(Crop, *[st.integers(0, 99)] * 4))
def test_attributes_are_read_as_written(source: PictureFormat, crop: Crop | None) -> None:
    written = json.dumps(pixel_attributes(3, source=source, container_crop=crop))
    attributes = json.loads(written)
    assert format_in(attributes) == source
    assert crop_in(attributes) == crop


def test_absent_facts_are_left_out() -> None:
    assert format_document(PictureFormat()) == {}
    assert format_document(ORDINARY) == {
        "primaries": "bt709", "transfer": "bt709", "matrix": "bt709", "range": "limited",
        "bit_depth": 8, "chroma": "4:2:0", "pixel_aspect": [1, 1],
    }  # fmt: skip
    assert format_in({"source_format": {}}) == PictureFormat()
    assert format_in({"channel_order": "RGB"}) is None


def test_facts_of_a_later_version_are_left_out() -> None:
    assert format_in({"source_format": {"bit_depth": 8, "film_grain": [1]}}) == PictureFormat(
        bit_depth=8
    )


@pytest.mark.parametrize(
    ("source", "colour", "space"),
    [
        (None, "ffmpeg", "sRGB"),
        (PictureFormat(), "ffmpeg", "sRGB"),
        (ORDINARY, "accurate", "sRGB"),
        (PictureFormat("bt470bg", "smpte170m"), "ffmpeg", "sRGB"),
        (PictureFormat("bt709", "iec61966-2-1"), "ffmpeg", "sRGB"),
        (PQ, "ffmpeg", "bt2020/smpte2084"),
        (PQ, "accurate", "bt2020/smpte2084"),
        (PQ, "sdr", "sRGB"),
        (PictureFormat("bt2020", "arib-std-b67"), "ffmpeg", "bt2020/arib-std-b67"),
        (PictureFormat("bt2020", "bt2020-10"), "ffmpeg", "bt2020/bt2020-10"),
        (PictureFormat("bt709", "smpte2084"), "ffmpeg", "bt709/smpte2084"),
        (PictureFormat(transfer="smpte2084"), "ffmpeg", "unspecified/smpte2084"),
        (PictureFormat("bt709", "linear"), "ffmpeg", "bt709/linear"),
        (PictureFormat("smpte432", "iec61966-2-1"), "ffmpeg", "smpte432/iec61966-2-1"),
    ],
)
def test_colour_space(source: PictureFormat | None, colour: str, space: str) -> None:
    assert colour_space(source, colour) == space


@given(formats)
def test_hdr_and_wide_gamut_are_never_called_srgb(source: PictureFormat) -> None:
    if source.is_hdr or source.is_wide_gamut:
        assert colour_space(source, "ffmpeg") == f"{source.primaries}/{source.transfer}"
    assert colour_space(source, "sdr") == "sRGB"


@pytest.mark.parametrize(
    ("wanted", "space"),
    [({}, "bt2020/smpte2084"), ({"colour": "sdr"}, "sRGB")],
)
def test_frames_keep_the_format(
    store: FrameStore, make_frames: MakeFrames, wanted: dict[str, Any], space: str
) -> None:
    signature = FrameExtractionSignature(**wanted)
    frames = make_frames(source=PQ, container_crop=Crop(1, 2, 3, 4))
    store.write_clip("b", "c", {signature: frames})
    stored = store.read("b", signature, "c")
    assert stored.source == PQ
    assert stored.part(1, 2).source == PQ
    assert stored.container_crop == Crop(1, 2, 3, 4)
    group = zarr.open_group(store.open("b", signature, "c").url, mode="r", zarr_format=3)
    assert group["frames"].attrs.asdict() == {
        "channel_order": "RGB",
        "color_space": space,
        "container_crop": [1, 2, 3, 4],
        "source_format": {
            "primaries": "bt2020",
            "transfer": "smpte2084",
            "matrix": "bt2020nc",
            "range": "limited",
            "bit_depth": 10,
            "chroma": "4:2:0",
            "pixel_aspect": [64, 45],
            "field_order": "progressive",
            "peak_luminance": [9999, 10],
            "max_content_light": 1000,
            "dolby_vision": 8,
        },
    }
    assert not store.verify("b", signature, deep=True).faults


def test_frames_of_the_first_release_have_none(
    store: FrameStore, make_frames: MakeFrames, signature: FrameExtractionSignature
) -> None:
    store.write_clip("b", "c", {signature: make_frames()})
    assert store.read("b", signature, "c").source is None
