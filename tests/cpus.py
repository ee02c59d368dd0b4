"""Compute digests of pictures and videos on this processor, or on an emulated older one.

`python -m tests.cpus FLAGS FOLDER` prints a digest per case as JSON. The flags (`AV_CPU_FLAG_*`)
limit the processor features that FFmpeg detects, so it runs the code for an older processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.decoding.convert import Converter, PixelSpec

CASES: Final = int(os.environ.get("FRAMES_CPU_CASES", "600"))
"""Number of pictures to convert. Raise it for a longer run."""
_LAYOUTS: Final = (
    "yuv420p yuvj420p yuva420p yuv422p yuvj422p yuv444p yuvj444p yuv440p yuv411p yuv410p "
    "nv12 nv21 nv16 yuyv422 uyvy422 gray gray10le gray12le gray16le ya8 pal8 rgb24 bgr24 rgba "
    "bgra argb 0rgb bgr0 gbrp gbrap gbrp10le gbrp12le gbrp16le rgb48le rgba64le rgb565le rgb555le "
    "yuv420p10le yuv422p10le yuv444p10le yuv420p12le yuv422p12le yuv444p12le yuva444p10le "
    "yuv444p16le yuv440p10le p010le xyz12le monob monow"
)
LAYOUTS: Final = _LAYOUTS.split()
"""Pixel formats of decoders."""
COLOUR_SPACES: Final = (1, 2, 5, 6, 7, 9)


def library(name: str) -> ctypes.CDLL | None:
    """Return a library bundled with PyAV as loaded here; `None` if PyAV bundles none."""
    found = sorted(Path(av.__file__).parent.with_suffix(".libs").glob(f"{name}-*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None


def play(flags: int) -> None:
    """Make decoders and swscale use only these processor features."""
    util, dav1d = library("libavutil"), library("libdav1d")
    assert util is not None
    util.av_force_cpu_flags(ctypes.c_int(flags))
    if dav1d is not None:
        dav1d.dav1d_set_cpu_flags_mask(ctypes.c_uint(flags and 0xFFFFFFFF))


def random_frame(layout: str, width: int, height: int, random: np.random.Generator) -> VideoFrame:
    """Return a picture of noise, within the range of its samples."""
    frame = VideoFrame(width, height, layout)
    bits = max(part.bits for part in VideoFormat(layout, width, height).components)
    for plane in frame.planes:
        noise = random.integers(0, 256, plane.buffer_size, np.uint8)
        if 8 < bits < 16 and len(noise) % 2 == 0:
            shift = 16 - bits if layout in {"p010le", "xyz12le"} else 0
            noise.view(np.uint16)[...] &= np.uint16(((1 << bits) - 1) << shift)
        plane.update(noise.tobytes())
    return frame


def random_spec(random: np.random.Generator, width: int, height: int) -> PixelSpec:
    """Return a random pixel spec: a size, possibly the frame's own, kernel and colour handling."""
    kernel = str(random.choice(["bicubic", "bilinear", "area", "lanczos"]))
    colour = str(random.choice(["ffmpeg", "accurate"]))
    how = random.integers(4)
    size: tuple[int | None, int | None] = (None, None)
    if how == 1:
        size = int(random.integers(1, 2 * height + 2)), int(random.integers(1, 2 * width + 2))
    elif how == 2:
        size = max(1, height // 3), max(1, width // 3)
    elif how == 3:
        size = 24, 24
    return PixelSpec(size, "stretch", kernel, colour, "apply")


def converted(cases: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield pictures of every pixel format, in many sizes, as RGB."""
    for case in range(cases):
        random = np.random.default_rng(case)
        layout = LAYOUTS[case % len(LAYOUTS)]
        width, height = random.integers(2, 130, 2).tolist()
        frame = random_frame(layout, width, height, random)
        frame.colorspace = int(random.choice(COLOUR_SPACES))
        frame.color_range = int(random.integers(3))
        spec = random_spec(random, width, height)
        converter = Converter(layout)
        out = np.zeros((*converter.output_size(frame, spec), 3), np.uint8)
        converter.convert(frame, spec, out)
        yield f"{case}: {layout} {width}x{height} {spec}", out


def extracted(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield every frame of some videos, in its own size and smaller."""
    for path in sorted(folder.iterdir()):
        native = FrameExtractionSignature(policy="uniform", num_frames=10)
        smaller = FrameExtractionSignature(policy="uniform", num_frames=10, target_res=(31, 40))
        for signature, batch in extract_frames(path, [native, smaller]).items():
            assert batch.outcome.status == "ok"
            yield f"{path.name} {signature.key}", batch.frames


def main(arguments: list[str]) -> None:
    """Print digests of pictures as JSON."""
    flags, folder = arguments
    if flags != "all":
        play(int(flags, 0))
    cases: list[tuple[str, NDArray[Any]]] = [*converted(CASES), *extracted(Path(folder))]
    digests = {name: hashlib.sha1(pixels.tobytes()).hexdigest() for name, pixels in cases}
    sys.stdout.write(json.dumps(digests))


if __name__ == "__main__":
    main(sys.argv[1:])
