"""The GPU's frames are the CPU's, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from av.video.reformatter import Interpolation

from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.decoding.backends import open_nvdec
from frames_pipeline.decoding.convert import Converter, PixelSpec, planar
from tests.decoding.backends.gpu import needs_gpu
from tests.oracle import plain_decode
from tests.videos import make_video

SIGNATURES = (
    FrameExtractionSignature(policy="uniform", num_frames=9),
    FrameExtractionSignature(policy="uniform", num_frames=9, colour="accurate"),
    FrameExtractionSignature(target_fps=5, target_res=(112, 112)),
    FrameExtractionSignature(policy="keyframes", target_res=(90, -1)),
    FrameExtractionSignature(policy="last"),
)
CODECS = [
    ("libx264", "yuv420p", {"g": "12", "bf": "3"}),
    ("libx264", "yuvj420p", {"g": "12", "bf": "0"}),
    ("libx265", "yuv420p", {"x265-params": "keyint=12:log-level=error"}),
    ("libx265", "yuv420p10le", {"x265-params": "keyint=12:log-level=error"}),
    ("libvpx-vp9", "yuv420p", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("libsvtav1", "yuv420p", {"g": "12", "preset": "12"}),
    ("libsvtav1", "yuv420p10le", {"g": "12", "preset": "12"}),
]


@pytest.fixture(scope="module", params=CODECS, ids=lambda codec: "-".join(codec[:2]))
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec, pixel_format, options = request.param
    path = tmp_path_factory.mktemp("gpu") / ("v.webm" if "vpx" in codec else "v.mp4")
    return make_video(
        path,
        size=(194, 258),  # odd in units of macroblocks: what is decoded is cropped
        codec=codec,
        pixel_format=pixel_format,
        options=options,
    )


@needs_gpu
def test_the_gpu_gives_the_cpus_pixels(clip: Path) -> None:
    cpu = extract_frames(clip, SIGNATURES)
    gpu = extract_frames(clip, SIGNATURES, decoder="nvdec")
    for signature in SIGNATURES:
        assert gpu[signature].outcome.decode.decoder == "nvdec"
        assert gpu[signature].outcome.decode.device == "cuda:0"
        np.testing.assert_array_equal(gpu[signature].frames, cpu[signature].frames)
        assert gpu[signature].digest() == cpu[signature].digest()


@needs_gpu
def test_a_turned_video_is_turned(tmp_path: Path) -> None:
    """The display matrix is the container's: the GPU's decoder is told of it as the CPU's is."""
    clip = make_video(tmp_path / "v.mp4", size=(194, 258), rotation=90, options={"g": "12"})
    [signature] = [FrameExtractionSignature(policy="first")]
    cpu = extract_frames(clip, [signature])[signature]
    gpu = extract_frames(clip, [signature], decoder=open_nvdec())[signature]
    assert gpu.frames.shape == (1, 258, 194, 3)
    np.testing.assert_array_equal(gpu.frames, cpu.frames)


@needs_gpu
def test_one_decoder_serves_many_clips(tmp_path: Path) -> None:
    clips = [
        make_video(tmp_path / f"{i}.mp4", size=(194, 258), first=100 * i, options={"g": "12"})
        for i in range(8)
    ]
    decoder, signature = open_nvdec(), SIGNATURES[0]
    for clip in clips:
        cpu = extract_frames(clip, [signature])[signature]
        gpu = extract_frames(clip, [signature], decoder=decoder)[signature]
        np.testing.assert_array_equal(gpu.frames, cpu.frames)


@pytest.mark.parametrize("colour", ["ffmpeg", "accurate"])
@pytest.mark.parametrize("res", [(None, None), (37, 61)])
@pytest.mark.parametrize(
    ("pixel_format", "layout"),
    [("yuv420p", "nv12"), ("yuvj420p", "nv12"), ("yuv420p10le", "p010le")],
)
def test_samples_in_the_gpus_layout_become_the_same_pixels(
    tmp_path: Path,
    pixel_format: str,
    layout: str,
    res: tuple[int | None, int | None],
    colour: str,
) -> None:
    """What a GPU hands over is the CPU's samples with chroma interleaved; no GPU is needed."""
    clip = make_video(tmp_path / "v.mp4", pixel_format=pixel_format, size=(50, 66))
    spec, converter = PixelSpec(res, "stretch", "bicubic", colour, "apply"), Converter(clip.name)
    for shown in plain_decode(clip)[:12:4]:
        frame = shown.frame
        handed_over = frame.reformat(format=layout, interpolation=int(Interpolation.POINT))
        size = converter.output_size(frame, spec)
        expected, found = np.empty((2, *size, 3), np.uint8)
        converter.convert(frame, spec, expected)
        converter.convert(planar(handed_over, layout), spec, found)
        np.testing.assert_array_equal(found, expected)
