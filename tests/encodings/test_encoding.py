"""An encoding is a part of the signature: one value for each way that frames are stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import ConfigError, FrameEncoding, FrameExtractionSignature
from frames_pipeline.encodings.encoding import ImageCodec
from frames_pipeline.signature import Samples

PLAIN = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
CODECS = get_args(ImageCodec)


@given(
    codec=st.sampled_from(CODECS),
    quality=st.integers(1, 100),
    chroma=st.sampled_from([None, "4:2:0", "4:4:4"]),
)
def test_an_encoding_leads_back_from_its_document(
    codec: str, quality: int, chroma: str | None
) -> None:
    fields: Any = {"codec": codec, "quality": quality, "chroma": chroma}
    try:
        encoding = FrameEncoding(**fields)
    except ConfigError:
        assert (codec, chroma) in {("webp", "4:4:4"), ("jpegxl", "4:2:0")}
        return
    assert set(encoding.to_document()) == {"codec", "quality", "chroma"}
    assert FrameEncoding.of(encoding.to_document()) == encoding == FrameEncoding.of(encoding)
    signature = replace(PLAIN, encoding=fields)
    assert json.loads(signature.canonical_json())["encoding"] == encoding.to_document()
    again = FrameExtractionSignature.from_json(signature.canonical_json())
    assert (again, hash(again), again.image_encoding) == (signature, hash(signature), encoding)
    assert again.key != PLAIN.key


def test_lossless_is_the_default_and_is_not_written() -> None:
    assert replace(PLAIN, encoding="lossless") == PLAIN
    assert "encoding" not in json.loads(PLAIN.canonical_json())
    assert PLAIN.image_encoding is None


def test_keys_that_were_given_out_stand() -> None:
    keys = {codec: replace(PLAIN, encoding={"codec": codec}).key for codec in CODECS}
    assert keys == {
        "jpeg": "sequence-2fps-224x224-90bd12f83d25e83c",
        "webp": "sequence-2fps-224x224-c612f9059e7f19fd",
        "avif": "sequence-2fps-224x224-9156bcc27de76c49",
        "jpegxl": "sequence-2fps-224x224-4b578bfec7559815",
    }


def test_quality_and_chroma_have_defaults() -> None:
    assert FrameEncoding("jpeg") == FrameEncoding("jpeg", 90, "4:2:0")
    assert FrameEncoding("webp") == FrameEncoding("webp", 90, "4:2:0")
    assert FrameEncoding("avif") == FrameEncoding("avif", 90, "4:2:0")
    assert FrameEncoding("jpegxl") == FrameEncoding("jpegxl", 90, "4:4:4")


@pytest.mark.parametrize("codec", ["jpeg", "jpegxl"])
def test_gray_has_one_key_for_every_chroma(codec: str) -> None:
    gray = replace(PLAIN, samples="gray8")
    chosen = ["4:2:0", "4:4:4"] if codec == "jpeg" else ["4:4:4"]
    made = {replace(gray, encoding={"codec": codec, "chroma": chroma}).key for chroma in chosen}
    assert made == {replace(gray, encoding={"codec": codec}).key}


HELD = {
    ("jpeg", "rgb8"), ("jpeg", "gray8"), ("webp", "rgb8"), ("avif", "rgb8"),
    ("jpegxl", "rgb8"), ("jpegxl", "gray8"), ("jpegxl", "rgb16"), ("jpegxl", "gray16"),
}  # fmt: skip


@pytest.mark.parametrize("samples", get_args(Samples))
@pytest.mark.parametrize("codec", CODECS)
def test_samples_that_a_codec_cannot_hold_are_refused(codec: str, samples: Samples) -> None:
    encoding = {"codec": codec}
    if (codec, samples) in HELD:
        assert replace(PLAIN, samples=samples, encoding=encoding).image_encoding is not None
        return
    with pytest.raises(ConfigError, match=f"{codec} cannot hold samples: {samples}; choose .*rgb8"):
        replace(PLAIN, samples=samples, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "match"),
    [
        ("jpeg", "encoding='jpeg' is neither 'lossless' nor a mapping with a codec; write "),
        (None, "encoding=None is neither"),
        (90, "encoding=90 is neither"),
        ({}, "names no codec; choose one of jpeg, webp, avif, jpegxl"),
        ({"quality": 90}, "names no codec"),
        ({"codec": "png"}, "no codec 'png'; choose one of jpeg, webp, avif, jpegxl"),
        ({"codec": ["jpeg"]}, "no codec"),
        ({"codec": "jpeg", "level": 9}, "an encoding has no 'level'; its fields are codec, qual"),
        ({"codec": "jpeg", "quality": 0}, "quality=0 must be a whole number from 1 to 100"),
        ({"codec": "jpeg", "quality": 101}, "quality=101 must be"),
        ({"codec": "jpeg", "quality": 90.0}, "quality=90.0 must be"),
        ({"codec": "jpeg", "quality": True}, "quality=True must be"),
        ({"codec": "jpeg", "quality": "90"}, "quality='90' must be"),
        ({"codec": "jpeg", "chroma": "4:2:2"}, "jpeg has no chroma '4:2:2'; choose 4:2:0 or 4:4:4"),
        ({"codec": "webp", "chroma": "4:4:4"}, "webp has no chroma '4:4:4'; choose 4:2:0, or lea"),
        ({"codec": "jpegxl", "chroma": "4:2:0"}, "jpegxl has no chroma '4:2:0'; choose 4:4:4"),
    ],
)
def test_other_encodings_are_refused_with_those_there_are(encoding: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(PLAIN, encoding=encoding)


@pytest.mark.parametrize(
    ("codec", "size", "match"),
    [
        ("webp", (16383, 10), "height 16383 is beyond the 16382 pixels that webp can hold"),
        ("webp", (None, 16383), "width 16383 is beyond"),
        ("jpeg", (10, 65536), "width 65536 is beyond the 65535 pixels that jpeg can hold"),
        ("avif", (32769, 2), "height 32769 is beyond the 32768 pixels that avif can hold"),
    ],
)
def test_a_size_beyond_the_codec_is_refused(codec: str, size: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(PLAIN, target_res=size, encoding={"codec": codec})
    smaller = tuple(side and side - 1 for side in size)
    assert replace(PLAIN, target_res=smaller, encoding={"codec": codec}).image_encoding
