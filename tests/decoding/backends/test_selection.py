"""Which decoder runs: the one asked for, or for `auto` the one that can; the outcome says which."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from frames_pipeline import (
    ConfigError,
    DecoderUnavailableError,
    DecoderUnsupportedError,
    FrameExtractionSignature,
    PyavDecoder,
    extract_frames,
    open_decoder,
)
from frames_pipeline.decoding.backends import AutoDecoder, NvdecDecoder, open_auto
from frames_pipeline.pipeline import Workspace, extract_batch
from tests.decoding.backends.gpu import HAS_GPU
from tests.videos import X264, make_video

WANTED = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
without_gpu = pytest.mark.skipif(HAS_GPU, reason="there is a GPU")


@pytest.fixture(scope="module")
def mpeg4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec that no GPU decodes exactly."""
    return make_video(tmp_path_factory.mktemp("mpeg4") / "video.mp4", codec="mpeg4")


def test_the_cpu_runs_where_nothing_is_asked(video: Path) -> None:
    report = extract_frames(video, [WANTED])[WANTED].outcome.decode
    assert (report.decoder, report.device, report.choice) == ("pyav", "cpu", "")


@without_gpu
def test_nvdec_without_a_gpu_says_what_to_do(video: Path) -> None:
    with pytest.raises(
        DecoderUnavailableError, match=r"no GPU 0 that decodes video .* choose pyav or auto"
    ):
        extract_frames(video, [WANTED], decoder="nvdec")


@without_gpu
def test_auto_without_a_gpu_takes_the_cpu_and_says_why(video: Path) -> None:
    batch = extract_frames(video, [WANTED], decoder="auto")[WANTED]
    report = batch.outcome.decode
    assert (report.decoder, report.device) == ("pyav", "cpu")
    assert report.choice == "auto: there is no GPU 0 that decodes video"
    assert batch.digest() == extract_frames(video, [WANTED])[WANTED].digest()


@pytest.mark.parametrize("decoder", [NvdecDecoder(), AutoDecoder(NvdecDecoder(), min_megapixels=0)])
def test_a_codec_that_the_gpu_lacks_is_refused_by_name(
    mpeg4: Path, decoder: NvdecDecoder | AutoDecoder
) -> None:
    """Asked for by name the GPU's decoder fails the clip; `auto` decodes it on the CPU."""
    match = "video.mp4: decoder 'nvdec' on cuda:0: there is no exact decoder for mpeg4"
    if isinstance(decoder, NvdecDecoder):
        with pytest.raises(DecoderUnsupportedError, match=match):
            extract_frames(mpeg4, [WANTED], decoder=decoder)
        return
    batch = extract_frames(mpeg4, [WANTED], decoder=decoder)[WANTED]
    report = batch.outcome.decode
    assert (report.decoder, report.device) == ("pyav", "cpu")
    assert match in report.choice
    np.testing.assert_array_equal(batch.frames, extract_frames(mpeg4, [WANTED])[WANTED].frames)


@without_gpu
def test_a_gpu_that_is_lost_is_no_damage_of_the_video(video: Path) -> None:
    with pytest.raises(DecoderUnsupportedError, match="the GPU does not take it"):
        extract_frames(video, [WANTED], decoder=NvdecDecoder(7))
    auto = AutoDecoder(NvdecDecoder(7), min_megapixels=0)
    report = extract_frames(video, [WANTED], decoder=auto)[WANTED]
    assert report.outcome.decode.decoder == "pyav"
    assert "cuda:7: the GPU does not take it" in report.outcome.decode.choice


def test_auto_leaves_small_work_to_the_cpu(video: Path) -> None:
    report = extract_frames(video, [WANTED], decoder=AutoDecoder(NvdecDecoder(7)))[WANTED]
    assert report.outcome.decode.decoder == "pyav"
    assert report.outcome.decode.choice == "auto: 0.0 megapixels are below 50"


def test_pixels_of_a_gpu_are_refused_of_other_decoders_before_anything_is_decoded(
    video: Path, tmp_path: Path
) -> None:
    signature = FrameExtractionSignature(policy="first", pixels="cuda")
    for decoder in ("pyav", AutoDecoder(NvdecDecoder())):
        with pytest.raises(ConfigError, match="pixels='cuda' needs decoder 'nvdec'"):
            extract_frames(video, [signature], decoder=decoder)
    lanczos = FrameExtractionSignature(
        policy="first", target_res=(24, 32), interpolation="lanczos", pixels="cuda"
    )
    with pytest.raises(ConfigError, match="has no interpolation 'lanczos'"):
        extract_frames(video, [lanczos], decoder=NvdecDecoder())
    with pytest.raises(ConfigError, match="pixels='cuda' needs decoder 'nvdec'"):
        extract_batch("batch-000001", [signature], Workspace.at(str(tmp_path), str(tmp_path)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PyavDecoder(threads=0), "threads=0 must be at least 1"),
        (lambda: NvdecDecoder(gpu=-1), "gpu=-1 must not be below zero"),
        (lambda: open_decoder("cud"), "no decoder 'cud'; choose one of pyav, nvdec, auto"),
    ],
)
def test_what_cannot_be_is_a_configuration_error(make: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("decoder", [PyavDecoder(3), NvdecDecoder(1), open_auto(threads=2)])
def test_decoders_travel_to_worker_processes(decoder: object) -> None:
    assert pickle.loads(pickle.dumps(decoder)) == decoder


def test_a_video_with_frame_threads_is_the_same(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", frames=60, options=X264)
    plain = extract_frames(video, [WANTED])[WANTED]
    threads = extract_frames(video, [WANTED], decoder=open_auto(threads=3).cpu)[WANTED]
    assert plain.digest() == threads.digest()
