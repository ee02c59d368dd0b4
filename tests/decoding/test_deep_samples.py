"""`samples` follow the formulas of ITU-T H.273, and every level of a deep source keeps a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.decoding.convert import Converter, Orientation, PixelSpec
from frames_pipeline.signature import Samples
from tests.decoding.planes import (
    WEIGHTS,
    bits_of,
    frame_of,
    from_chroma,
    from_luma,
    plane_shapes,
    quantised,
    rgb_of,
    tagged,
    write_frames,
)
from tests.decoding.test_orientation import matrix_of, spelled, with_matrix
from tests.oracle import CORPUS, needs_corpus
from tests.videos import X264, make_video

_FULL_CHROMA = (
    "yuv444p yuva444p yuv444p10le yuv444p10be yuva444p10le yuv444p12le yuv444p16le yuv444p16be"
)
_SUBSAMPLED = (
    "yuv420p yuva420p yuv422p yuv440p yuv411p yuv410p nv12 nv21 nv16 yuv420p10le yuv420p10be "
    "yuv422p10le yuv440p10le yuv420p12le yuv422p12le yuv420p16le yuva420p10le p010le p010be p012le "
    "p016le p210le p416le"
)
_GRAY = "gray gray10le gray10be gray12le gray12be gray14le gray16le gray16be"
_PLANAR_RGB = "gbrp gbrap gbrp10le gbrp12le gbrp12be gbrap10le gbrp16le gbrp16be gbrap16le"
FULL_CHROMA, SUBSAMPLED, GRAY, PLANAR_RGB = (
    names.split() for names in (_FULL_CHROMA, _SUBSAMPLED, _GRAY, _PLANAR_RGB)
)


def converted(
    frame: VideoFrame, samples: Samples, size: tuple[int, int] | None = None
) -> NDArray[Any]:
    signature = FrameExtractionSignature(target_fps=1, samples=samples, target_res=size)
    spec = PixelSpec.of(signature)
    converter = Converter("made up")
    out = np.zeros((*converter.output_size(frame, spec), spec.channels), spec.dtype)
    converter.convert(frame, spec, out)
    return out


def noise(layout: str, height: int = 23, width: int = 37) -> list[NDArray[np.int64]]:
    """Return random samples in every plane, from the lowest to the highest number."""
    random = np.random.default_rng(len(layout))
    shapes = plane_shapes(layout, height, width)
    return [random.integers(0, 1 << bits_of(layout), shape) for shape in shapes]


def neutral(layout: str, luma: NDArray[np.int64]) -> VideoFrame:
    """Return a frame without colour."""
    shapes = plane_shapes(layout, *luma.shape)[1:]
    return frame_of(layout, [luma, *(np.full(s, 1 << (bits_of(layout) - 1)) for s in shapes)])


def assert_within(actual: NDArray[Any], expected: NDArray[Any], most: int) -> None:
    __tracebackhide__ = True
    assert actual.shape == expected.shape
    assert int(np.abs(actual.astype(np.int64) - expected).max()) <= most


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("layout", FULL_CHROMA)
def test_samples_with_full_chroma_follow_the_formulas(layout: str, full: bool) -> None:
    bits = bits_of(layout)
    for matrix in WEIGHTS:
        planes = noise(layout)
        frame = tagged(frame_of(layout, planes), full=full, matrix=matrix)
        y = from_luma(planes[0], bits, full=full)
        cb, cr = (from_chroma(plane, bits, full=full) for plane in planes[1:3])

        expected = quantised(rgb_of(y, cb, cr, matrix), 16)
        assert_within(converted(frame, "rgb16"), expected, 1)
        assert_within(converted(frame, "gray16")[..., 0], quantised(y, 16), 0)
        assert_within(converted(frame, "gray8")[..., 0], quantised(y, 8), 0)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("layout", SUBSAMPLED)
def test_luma_of_subsampled_formats_follows_the_formulas(layout: str, full: bool) -> None:
    for height, width in ((22, 36), (23, 37)):
        luma = noise(layout, height, width)[0]
        frame = tagged(neutral(layout, luma), full=full)
        y = from_luma(luma, bits_of(layout), full=full)

        assert_within(converted(frame, "gray16")[..., 0], quantised(y, 16), 0)
        assert_within(converted(frame, "gray8")[..., 0], quantised(y, 8), 0)
        assert_within(converted(frame, "rgb16"), np.stack([quantised(y, 16)] * 3, -1), 1)


@pytest.mark.parametrize("layout", ["yuyv422", "uyvy422"])
def test_luma_of_packed_formats_follows_the_formulas(layout: str) -> None:
    luma = np.random.default_rng(0).integers(0, 256, (22, 36))
    frame = VideoFrame(36, 22, layout)
    lines = np.full((22, frame.planes[0].line_size), 128, np.uint8)
    lines[:, layout.index("y") : 72 : 2] = luma
    frame.planes[0].update(lines.tobytes())
    expected = quantised(from_luma(luma, 8, full=False), 16)
    assert_within(converted(frame, "gray16")[..., 0], expected, 0)
    assert_within(converted(frame, "rgb16"), np.stack([expected] * 3, -1), 1)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("layout", GRAY)
def test_gray_formats_are_full_range_whatever_their_flag_is(layout: str, full: bool) -> None:
    [plane] = noise(layout)
    frame = tagged(frame_of(layout, [plane]), full=full)
    values = plane / ((1 << bits_of(layout)) - 1)
    assert_within(converted(frame, "gray16")[..., 0], quantised(values, 16), 0)
    assert_within(converted(frame, "gray8")[..., 0], quantised(values, 8), 0)
    assert_within(converted(frame, "rgb16"), np.stack([quantised(values, 16)] * 3, -1), 0)


def assert_rgb(frame: VideoFrame, values: NDArray[np.float64]) -> None:
    """Check a frame's samples by its colours on the scale of 0 to 1."""
    luma = values @ np.array([0.2126, 0.7152, 0.0722])
    assert_within(converted(frame, "rgb16"), quantised(values, 16), 0)
    assert_within(converted(frame, "gray16")[..., 0], quantised(luma, 16), 1)
    assert_within(converted(frame, "gray8")[..., 0], quantised(luma, 8), 1)


@pytest.mark.parametrize("layout", PLANAR_RGB)
def test_planar_rgb_spans_the_full_range(layout: str) -> None:
    planes = noise(layout)
    green, blue, red = (plane / ((1 << bits_of(layout)) - 1) for plane in planes[:3])
    assert_rgb(frame_of(layout, planes), np.stack([red, green, blue], -1))


@pytest.mark.parametrize(
    ("layout", "order", "kind"),
    [
        ("rgb24", "rgb", "u1"),
        ("bgr24", "bgr", "u1"),
        ("rgba", "rgba", "u1"),
        ("argb", "argb", "u1"),
        ("rgb48le", "rgb", "<u2"),
        ("rgb48be", "rgb", ">u2"),
        ("bgra64le", "bgra", "<u2"),
    ],
)
def test_packed_rgb_spans_the_full_range(layout: str, order: str, kind: str) -> None:
    most = np.iinfo(np.dtype(kind)).max
    values = np.random.default_rng(0).integers(0, most + 1, (23, 37, len(order)))
    frame = VideoFrame(37, 23, layout)
    lines = np.zeros((23, frame.planes[0].line_size), np.uint8)
    lines.view(kind)[:, : 37 * len(order)] = values.reshape(23, -1)
    frame.planes[0].update(lines.tobytes())
    assert_rgb(frame, values[..., [order.index(channel) for channel in "rgb"]] / most)


@pytest.mark.parametrize("layout", ["rgb565le", "rgb444le", "rgb8", "bgr4_byte", "pal8"])
def test_coarse_rgb_is_that_of_8_bit_samples(layout: str) -> None:
    """So that both ask swscale in the same way."""
    random = np.random.default_rng(0)
    frame = VideoFrame(36, 22, layout)
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    expected = frame.reformat(format="rgb24").to_ndarray()
    assert_within(converted(frame, "rgb16"), expected.astype(np.int64) * 257, 0)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_every_level_keeps_a_value_of_its_own(bits: int, full: bool) -> None:
    """And the documented inverse finds it: round(y' (white - black) / 65535) + black."""
    scale = 1 << (bits - 8)
    black, white = (0, (1 << bits) - 1) if full else (16 * scale, 235 * scale)
    levels = np.arange(black, white + 1)
    depth = "" if bits == 8 else f"{bits}le"
    for layout in (f"yuv420p{depth}", f"yuv444p{depth}"):
        luma = np.stack([levels, levels])
        values = converted(tagged(neutral(layout, luma), full=full), "gray16")[0, :, 0]
        assert len(np.unique(values)) == len(levels)
        inverse = np.rint(values * np.float64(white - black) / 65535) + black
        np.testing.assert_array_equal(inverse, levels)


@pytest.mark.parametrize(
    ("name", "codec", "layout", "options"),
    [
        ("depth.mkv", "ffv1", "gray16le", {}),
        ("depth.mkv", "ffv1", "gray12le", {}),
        ("depth.mkv", "ffv1", "gray10le", {}),
        (
            "depth.mp4",
            "libx265",
            "gray12le",
            {"x265-params": "lossless=1:log-level=none:pools=none:frame-threads=1"},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_depth_maps_keep_every_level(
    tmp_path: Path, name: str, codec: str, layout: str, options: dict[str, str]
) -> None:
    bits = bits_of(layout)
    levels = np.arange(1 << bits).reshape(-1, 64)
    maps = [np.roll(levels, shift) for shift in (0, 1000, 333)]
    frames = [tagged(frame_of(layout, [one]), full=True) for one in maps]
    path = write_frames(tmp_path / name, frames, codec=codec, options=options)
    signature = FrameExtractionSignature(target_fps=25, samples="gray16")
    batch = extract_frames(path, [signature])[signature]

    assert batch.frames.dtype == np.uint16
    assert batch.frames.shape == (3, *levels.shape, 1)
    for pixels, one in zip(batch.frames[..., 0], maps, strict=True):
        assert len(np.unique(pixels)) == 1 << bits
        np.testing.assert_array_equal(np.rint(pixels / 65535 * ((1 << bits) - 1)), one)


@given(
    st.sampled_from([*FULL_CHROMA, *SUBSAMPLED, *GRAY]),
    st.booleans(),
    st.floats(0, 1),
    st.integers(1, 90),
    st.integers(1, 90),
)
def test_a_constant_stays_constant_in_any_size(
    layout: str, full: bool, level: float, height: int, width: int
) -> None:
    bits = bits_of(layout)
    number = round(level * ((1 << bits) - 1))
    luma = np.full((48, 64), number)
    frame = tagged(neutral(layout, luma), full=full)
    y = from_luma(luma[:1, :1], bits, full=full or layout in GRAY)
    for samples, depth in (("rgb16", 16), ("gray16", 16), ("gray8", 8)):
        pixels = converted(frame, samples, (height, width))  # type: ignore[arg-type]
        assert pixels.min() == pixels.max()
        assert abs(int(pixels.max()) - int(quantised(y, depth)[0, 0])) <= 1


def assert_rounded(deep: NDArray[np.uint16], rounded: NDArray[np.uint8]) -> None:
    """Check samples against those of swscale, which lets chroma overshoot a little further."""
    difference = np.abs(deep / 257 - rounded)
    assert float(difference.max()) <= 4
    assert float((difference > 0.6).mean()) <= 1e-4


@needs_corpus
@pytest.mark.parametrize("name", ["hard/base_h264.mp4", "hard/interlaced_h264.mp4"])
@pytest.mark.parametrize("size", [None, (100, 301), (400, 700)])
def test_deep_samples_are_those_of_8_bits_before_rounding(
    name: str, size: tuple[int, int] | None
) -> None:
    """Those are swscale's own: another code."""
    eight, deep, gray = (
        FrameExtractionSignature(
            policy="middle", colour="accurate", target_res=size, samples=samples
        )
        for samples in ("rgb8", "rgb16", "gray16")
    )
    batches = extract_frames(CORPUS / name, [eight, deep, gray])
    [rgb] = batches[eight].frames
    assert_rounded(batches[deep].frames[0], rgb)

    luma = rgb @ np.array([0.2126, 0.7152, 0.0722])
    is_clipped = (rgb.min(axis=-1) == 0) | (rgb.max(axis=-1) == 255)
    difference = np.abs(batches[gray].frames[0, ..., 0] / 257 - luma)
    assert float(difference[~is_clipped].max()) <= 1


def bright(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture without black, which bars have alone."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([100 + rows, 100 + columns, 200 - rows], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("turn", [Orientation(), Orientation(flip_columns=True), Orientation(True)])
@pytest.mark.parametrize(
    ("size", "mode"),
    [
        (None, "stretch"),
        ((64, 64), "pad"),
        ((64, 64), "crop"),
        ((64, 64), "fit"),
        ((64, -1), "fit"),
    ],
)
def test_deep_samples_take_the_same_places(
    tmp_path: Path, size: tuple[int, int] | None, mode: Any, turn: Orientation
) -> None:
    """Rotation, bars and crops are those of 8-bit frames."""
    upright = make_video(tmp_path / "v.mp4", frames=1, size=(48, 96), options=X264, draw=bright)
    path = with_matrix(upright, tmp_path / "turned.mp4", spelled(*matrix_of(turn)))
    signatures = [
        FrameExtractionSignature(
            policy="first", colour="accurate", target_res=size, resize_mode=mode, samples=samples
        )
        for samples in ("rgb8", "rgb16", "gray8", "gray16")
    ]
    batches = extract_frames(path, signatures)
    rgb8, rgb16, gray8, gray16 = (batches[signature].frames[0] for signature in signatures)
    assert rgb16.shape == rgb8.shape
    assert gray8.shape == gray16.shape == (*rgb8.shape[:2], 1)
    assert_rounded(rgb16, rgb8)
    assert float(np.abs(gray16 / 257 - gray8).max()) <= 0.5
    luma = rgb8 @ np.array([0.299, 0.587, 0.114])
    assert float(np.abs(gray8[..., 0] - luma).max()) <= 2

    bars = ~rgb8.any(axis=2)
    assert bars.any() == (mode == "pad")
    for pixels in (gray8, gray16, rgb16):
        np.testing.assert_array_equal(~pixels.any(axis=2), bars)


def test_a_gray_stream_is_gray_in_rgb(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).integers(0, 4096, (24, 32))
    path = write_frames(tmp_path / "v.mkv", [frame_of("gray12le", [plane])])
    rgb = FrameExtractionSignature(policy="first", samples="rgb16")
    gray = FrameExtractionSignature(policy="first", samples="gray16")
    batches = extract_frames(path, [rgb, gray])
    np.testing.assert_array_equal(batches[rgb].frames, batches[gray].frames.repeat(3, axis=-1))
