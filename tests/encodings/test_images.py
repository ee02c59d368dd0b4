"""Frames go through an encoding once: the images are kept, and the pixels decode from them."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_pipeline import (
    CodecUnavailableError,
    FrameBatch,
    FrameEncoding,
    FrameExtractionSignature,
    IntegrityError,
    LimitExceededError,
    UnsupportedSourceError,
    extract_frames,
)
from frames_pipeline.encodings import images as codecs
from frames_pipeline.encodings.encoding import ImageCodec
from frames_pipeline.encodings.images import (
    EncodedFrames,
    decode_image,
    encode_frame,
    encode_frames,
    encoder_version,
)
from tests.libraries import need
from tests.stored import noise
from tests.videos import X264, make_video

CODECS = get_args(ImageCodec)
EVERY = (
    FrameEncoding("jpeg"),
    FrameEncoding("jpeg", 95, "4:4:4"),
    FrameEncoding("webp"),
    FrameEncoding("avif"),
    FrameEncoding("avif", 70, "4:4:4"),
    FrameEncoding("jpegxl"),
)
HELD = [
    *((encoding, "rgb8") for encoding in EVERY),
    (FrameEncoding("jpeg"), "gray8"),
    (FrameEncoding("jpegxl"), "gray8"),
    (FrameEncoding("jpegxl"), "rgb16"),
    (FrameEncoding("jpegxl"), "gray16"),
]
every_encoding = pytest.mark.parametrize("encoding", EVERY, ids=str)
Frame = np.ndarray[Any, Any]


def smooth(height: int, width: int, samples: str = "rgb8") -> Frame:
    """A gradient, which every codec keeps within a few levels at quality 90."""
    top = 65535 if samples.endswith("16") else 255
    y, x = np.mgrid[:height, :width]
    channels = [x / max(width, 2), y / max(height, 2), (x + y) / (width + height)]
    frame = np.stack(channels[: 3 if samples.startswith("rgb") else 1], -1)
    return (frame * top).astype(np.uint16 if top > 255 else np.uint8)


@pytest.mark.parametrize(("encoding", "samples"), HELD, ids=str)
@settings(max_examples=10)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_frame_comes_back_in_its_shape_and_nearly_its_values(
    encoding: FrameEncoding, samples: str, height: int, width: int
) -> None:
    need("imagecodecs")
    frame = smooth(height, width, samples)
    image = encode_frame(frame, encoding)
    assert encode_frame(np.asfortranarray(frame), encoding) == image
    found = np.zeros_like(frame)
    decode_image(encoding.codec, image, found, numthreads=1)
    wide = np.zeros((height, 2 * width, frame.shape[2]), frame.dtype)
    decode_image(encoding.codec, image, wide[:, ::2], numthreads=1)  # an array with gaps
    np.testing.assert_array_equal(wide[:, ::2], found)
    apart = np.abs(found.astype(float) - frame) / np.iinfo(frame.dtype).max
    assert apart.mean() < (0.03 if min(height, width) > 8 else 0.2)  # of one colour in 4 pixels


@every_encoding
def test_an_image_of_another_kind_is_refused_before_its_pixels_get_memory(
    encoding: FrameEncoding,
) -> None:
    need("imagecodecs")
    others: dict[str, Frame] = {
        "height": smooth(7, 8), "width": smooth(6, 9), "swapped": smooth(8, 6),
        "bomb": np.zeros((3000, 4000, 3), np.uint8),
    }  # fmt: skip
    for name, frame in others.items():
        image = encode_frame(frame, encoding)
        into = np.full((6, 8, 3), 7, np.uint8)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"another size|invalid out"):
                decode_image(encoding.codec, image, into)
            assert tracemalloc.get_traced_memory()[1] < 10**6, name
        finally:
            tracemalloc.stop()
        assert (into == 7).all()


@every_encoding
@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.9, 0.999])
def test_a_cut_image_is_refused(encoding: FrameEncoding, part: float) -> None:
    """libjpeg alone would fill the rest with gray."""
    need("imagecodecs")
    image = encode_frame(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), encoding)
    with pytest.raises((RuntimeError, ValueError)):
        decode_image(encoding.codec, image[: int(len(image) * part)], np.zeros((60, 80, 3), "u1"))


def test_repeats_share_an_image() -> None:
    need("imagecodecs")
    one, other = smooth(8, 8), smooth(8, 8)[::-1]
    made = encode_frames(np.stack([one, one, other, one]), FrameEncoding("jpeg"))
    first, second, third, fourth = made.images
    assert first is second
    assert first == fourth != third
    assert made.encoder == encoder_version("jpeg")
    found = made.decode()
    np.testing.assert_array_equal(found[[0, 0, 3]], found[[1, 3, 0]])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry for each call that decodes frames."""
    calls: list[int] = []
    decode = EncodedFrames.decode

    def counted(self: EncodedFrames) -> Frame:
        calls.append(len(self.images))
        return decode(self)

    monkeypatch.setattr(EncodedFrames, "decode", counted)
    return calls


def test_pixels_are_decoded_when_they_are_first_read(decoded: list[int]) -> None:
    need("imagecodecs")
    plain = noise(5, 0)
    batch = plain.with_encoding(FrameEncoding("jpeg"))
    assert plain.encoded is None
    assert batch.encoded is not None
    assert (len(batch), batch.shape, str(batch.dtype)) == (5, (5, 6, 8, 3), "uint8")
    assert repr(batch) == "FrameBatch(5 frames, 6x8, ok)"
    assert (batch.samples, len(batch.digest())) == ("rgb8", 64)
    outcome = replace(batch.outcome, detail="seen")
    assert batch.with_outcome(outcome).outcome == outcome
    part = batch.part(1, -1)
    assert part.encoded == batch.encoded[1:-1]
    assert decoded == []
    np.testing.assert_array_equal(part.frames, batch.frames[1:-1])
    assert batch.frames is batch.frames
    assert decoded == [3, 5]
    np.testing.assert_array_equal(batch.part(2, 4).frames, batch.frames[2:4])
    assert decoded == [3, 5]
    with pytest.raises(AttributeError, match="no attribute 'frame'"):
        batch.frame  # type: ignore[attr-defined] # noqa: B018


def test_a_batch_of_images_can_be_pickled_and_changed() -> None:
    need("imagecodecs")
    batch = noise(3, 0).with_encoding(FrameEncoding("webp"))
    for other in (pickle.loads(pickle.dumps(batch)), replace(batch, outcome=batch.outcome)):
        assert (other.digest(), other.encoded) == (batch.digest(), batch.encoded)
        np.testing.assert_array_equal(other.frames, batch.frames)


def test_digests_are_over_the_images() -> None:
    """Also where pixels are equal, and where the same bytes are cut in another way."""
    images = EncodedFrames((b"ab", b"c"), (2, 6, 8, 3), "uint8", FrameEncoding("jpeg"), "")
    plain = noise(2, 0)
    others = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    del others["frames"], others["images"]
    made = [
        FrameBatch.of(replace(images, images=cut), **others).digest()
        for cut in ((b"ab", b"c"), (b"a", b"bc"), (b"ab", b"d"))
    ]
    assert len({*made, plain.digest()}) == 4
    again = FrameBatch.of(replace(images, encoder="imagecodecs 1"), **others)
    assert again.digest() == made[0]


def test_damaged_images_are_an_integrity_error() -> None:
    need("imagecodecs")
    batch = noise(2, 0).with_encoding(FrameEncoding("jpeg"))
    assert batch.images is not None
    images = replace(batch.images, images=(batch.images.images[0], b"nothing"))
    others = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    del others["frames"], others["images"]
    damaged = FrameBatch.of(images, **others)
    with pytest.raises(IntegrityError, match=r"cannot be decoded: .*; extract its clip again"):
        damaged.frames  # noqa: B018


@every_encoding
def test_extraction_gives_what_decodes_from_the_images(tmp_path: Any, encoding: Any) -> None:
    """Whatever else is asked for; repeats share their bytes."""
    need("imagecodecs")
    video = make_video(tmp_path / "a.mp4", frames=12, rate=6, options=X264)
    plain = FrameExtractionSignature(target_fps=6, target_res=(40, 56))
    encoded = replace(plain, encoding=encoding)
    often = replace(encoded, target_fps=18)
    found = extract_frames(video, [plain, encoded, often])
    alone = extract_frames(video, [encoded])[encoded]
    assert found[encoded].digest() == alone.digest()
    expected = found[plain].with_encoding(encoding)
    assert alone.encoded == expected.encoded
    assert alone.images == expected.images
    np.testing.assert_array_equal(alone.frames, expected.frames)
    images = found[often].encoded
    assert images is not None
    assert len({id(image) for image in images}) == 12 < len(images)
    assert found[plain].encoded is None


def test_each_frame_is_encoded_once_for_all_that_ask(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("imagecodecs")
    calls = []
    encode = codecs.encode_image

    def counted(codec: str, *arguments: Any, **options: Any) -> bytes:
        calls.append(codec)
        return encode(codec, *arguments, **options)

    monkeypatch.setattr(codecs, "encode_image", counted)
    video = make_video(tmp_path / "a.mp4", frames=12, rate=6, options=X264)
    jpeg = FrameExtractionSignature(target_fps=6, target_res=(40, 56), encoding={"codec": "jpeg"})
    extract_frames(video, [jpeg, replace(jpeg, target_fps=2), replace(jpeg, target_fps=60)])
    assert calls == ["jpeg"] * 12


def test_a_missing_package_is_named_before_anything_is_decoded(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    signature = FrameExtractionSignature(policy="first", encoding={"codec": "jpeg"})
    with pytest.raises(CodecUnavailableError, match=r"install frames-pipeline\[encodings\]"):
        extract_frames(tmp_path / "there is no such file.mp4", [signature])


def test_a_frame_beyond_the_codec_is_a_typed_outcome(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("imagecodecs")
    video = make_video(tmp_path / "a.mp4", frames=3, options=X264)
    monkeypatch.setattr(FrameEncoding, "excess", lambda *_: "width 9 is beyond the 8 pixels")
    signature = FrameExtractionSignature(policy="first")
    object.__setattr__(signature, "encoding", FrameEncoding("webp"))
    with pytest.raises(LimitExceededError, match=r"width 9 is beyond .*; ask for a smaller size"):
        extract_frames(video, [signature])


def test_an_encoder_that_fails_is_a_typed_outcome(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("imagecodecs")

    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError("no more bits")

    monkeypatch.setattr(codecs, "encode_image", fail)
    video = make_video(tmp_path / "a.mp4", frames=3, options=X264)
    signature = FrameExtractionSignature(policy="first", encoding={"codec": "webp"})
    with pytest.raises(UnsupportedSourceError, match=r"cannot be encoded as webp quality 90.*bits"):
        extract_frames(video, [signature])
