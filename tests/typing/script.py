"""A user's script, type-checked against an installed wheel by tests/test_typing.py; never run.

A line that ends in `# expected: CODE` is a mistake that mypy must report under that code.
"""

from fractions import Fraction
from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

from dagster_defs import FramesComponent
from frames_pipeline import (
    ConfigError,
    Decoder,
    FrameBatch,
    FrameExtractionSignature,
    FramesPipelineError,
    FrameStore,
    Limits,
    PyavDecoder,
    StoredFrames,
    extract_frames,
    open_frames,
    probe,
)


class CountingDecoder(PyavDecoder):
    """A decoder of one's own."""


def use() -> None:
    every_half_second = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
    decoder: Decoder = CountingDecoder(threads=1)
    found = extract_frames("video.mp4", [every_half_second], start=Fraction(1, 3), decoder=decoder)
    assert_type(found, dict[FrameExtractionSignature, FrameBatch])

    clip = found[every_half_second]
    assert_type(clip.frames, NDArray[Any])  # uint8 or uint16, by the signature
    assert_type(clip.pts, NDArray[np.int64])
    assert_type(clip.time_base, Fraction)
    assert_type(clip.outcome.status, Literal["ok", "partial"])
    assert_type(probe("video.mp4", limits=Limits(max_pixels=10)).time_base, Fraction)

    store = FrameStore("frames")
    store.write_clip("my-batch", "video.mp4", found)
    assert_type(store.read("my-batch", every_half_second, "video.mp4"), FrameBatch)

    frames = open_frames("frames", signature=every_half_second)
    assert_type(frames, StoredFrames)
    assert_type(frames["video.mp4"].pts, NDArray[np.int64])
    assert_type(list(frames), list[str])

    error: FramesPipelineError = ConfigError("as it is raised")
    assert_type(error.reason, str)

    component = FramesComponent(source="videos", root="frames", signatures={})
    assert_type(component.max_failed_share, float)

    extract_frames("video.mp4", every_half_second)  # expected: arg-type
    FrameExtractionSignature(target_res="224x224")  # expected: arg-type
    open_frames("frames")  # expected: call-arg
    print(clip.frame)  # expected: attr-defined
    names: list[int] = store.batches()  # expected: assignment
    print(names)
