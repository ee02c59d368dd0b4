"""Convert a decoded frame to RGB pixels: resize, rotate, pad or crop.

With `pixels="cuda"` the GPU does this (see `device`). Otherwise the output size alone chooses
between two paths through swscale:

- same size: straight to `rgb24`, as FFmpeg does by default. 8-bit 4:2:0 and 4:2:2 of even height
  take a shortcut: fast, with nearest chroma, about one level dark, and bit-identical to OpenCV and
  to the program ffmpeg. Formats above 8 bits and odd heights respect the stream's chroma location,
  which ffmpeg 5.1 ignores (docs/design/corpus.md). `colour="accurate"` always respects it.
- another size: scale to planar `gbrp`, then interleave. This is bit-identical to scaling to `rgb24`
  with accurate rounding and full chroma, on any machine, and up to three times as fast. Scaling
  straight to `rgb24` is off by up to 60 levels.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.reformatter import Interpolation as Sws
from numpy.typing import NDArray

from frames_pipeline.decoding.crop import Window, window
from frames_pipeline.decoding.device import scaled_rgb
from frames_pipeline.decoding.ycbcr import SHORTCUT, correct, padded_lines
from frames_pipeline.errors import DecoderUnsupportedError, UnsupportedSourceError
from frames_pipeline.frames import Crop
from frames_pipeline.signature import FrameExtractionSignature

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
"""RGB. Shape (height, width, 3)."""

_KERNELS: Final = {
    "bicubic": Sws.BICUBIC,
    "bilinear": Sws.BILINEAR,
    "area": Sws.AREA,
    "lanczos": Sws.LANCZOS,
}
_EXACT: Final = Sws.ACCURATE_RND | Sws.BITEXACT
_HOST_FORMATS: Final = {"nv12": "yuv420p", "p010le": "p010le", "yuv444p": "yuv444p"}
"""Pixel formats of frames from a GPU, and the formats to convert them from."""
_NATIVE: Final = {
    "ffmpeg": SHORTCUT,
    "accurate": int(Sws.BICUBIC | Sws.FULL_CHR_H_INT | _EXACT),
}


class PixelSpec(NamedTuple):
    """The fields of a signature that affect the pixels of a frame."""

    target_res: tuple[int | None, int | None]
    resize_mode: str
    interpolation: str
    colour: str
    rotation: str
    pixels: str = "swscale"
    crop: str = "coded"

    @classmethod
    def of(cls, signature: FrameExtractionSignature) -> PixelSpec:
        """Return the pixel fields of a signature."""
        return cls(
            signature.resolution,
            signature.resize_mode,
            signature.interpolation,
            signature.colour,
            signature.rotation,
            signature.pixels,
            signature.crop,
        )


class Orientation(NamedTuple):
    """Rotation and mirroring of stored pixels for display: transpose first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise rotation, -90 to 180, as ffprobe reports it, without mirroring."""
        if self.transpose:
            return 90 if self.flip_rows else -90
        return -180 if self.flip_rows and self.flip_columns else 0


UPRIGHT: Final = Orientation()
_MATRIX_BYTES: Final = 36
_WIDE: Final = 64
"""A multiple of the chroma block size of every format, in pixels."""


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Placement of a scaled frame in the output."""

    scaled: Size
    """Size of the shown frame after scaling."""
    output: Size
    """Size of the output."""
    top: int
    """Row of the output at which the scaled frame starts: above 0 pads, below 0 crops."""
    left: int
    """Column of the output at which the scaled frame starts."""


def geometry(spec: PixelSpec, shown: Size, output: Size | None = None) -> Geometry:
    """Return the placement of a shown frame.

    Args:
        spec: Size and resize mode.
        shown: Size of the frame as shown, after rotation.
        output: Output size of earlier frames. A frame that would have another size, because the
            stream changes its size, is stretched to this one.

    >>> spec = PixelSpec((224, 224), "pad", "bicubic", "ffmpeg", "apply")
    >>> geometry(spec, Size(720, 1280))
    Geometry(scaled=Size(height=126, width=224), output=Size(height=224, width=224), top=49, left=0)
    """
    fitted = _fitted(spec, shown)
    if output is None or fitted.output == output:
        return fitted
    return Geometry(output, output, 0, 0)


def _fitted(spec: PixelSpec, shown: Size) -> Geometry:
    height, width = spec.target_res
    if height is None and width is None:
        return Geometry(shown, shown, 0, 0)
    if height is None or width is None:
        scaled = _keeping_aspect(shown, height, width)
        return Geometry(scaled, scaled, 0, 0)
    box = Size(height, width)
    if spec.resize_mode == "stretch":
        return Geometry(box, box, 0, 0)
    by_height = _keeping_aspect(shown, height, None)
    by_width = _keeping_aspect(shown, None, width)
    is_wide = shown.width * height > shown.height * width  # wider than the box
    if spec.resize_mode == "crop":
        scaled = by_height if is_wide else by_width
    else:
        scaled = by_width if is_wide else by_height
    if spec.resize_mode == "fit":
        return Geometry(scaled, scaled, 0, 0)
    top, left = (box.height - scaled.height) // 2, (box.width - scaled.width) // 2
    return Geometry(scaled, box, top, left)


def _keeping_aspect(shown: Size, height: int | None, width: int | None) -> Size:
    """Return a size with one side given. The other is rounded to the nearest pixel, halves up."""
    if height is not None:
        return Size(height, max(1, (2 * shown.width * height + shown.height) // (2 * shown.height)))
    side = cast(int, width)
    return Size(max(1, (2 * shown.height * side + shown.width) // (2 * shown.width)), side)


def orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation by a frame's display matrix; upright without one."""
    found = _display_matrix(frame)
    if found is None or len(found) < _MATRIX_BYTES:
        return UPRIGHT
    return nearest_orientation(np.frombuffer(found, "<i4").tolist())


def nearest_orientation(matrix: Sequence[int]) -> Orientation:
    """Return the nearest of the eight orientations to a display matrix.

    The matrix maps a stored point (x, y) to the shown point (a x + c y, b x + d y). As in FFmpeg,
    each column is normalised to length one first, so scale has no effect. With a column of zeros
    the frame is shown upright.

    Args:
        matrix: a, b, u, c, d, v, x, y, w, of which a, b, c and d count.

    >>> nearest_orientation([0, 65536, 0, -65536, 700, 0, 0, 0, 1 << 30]).degrees  # a slight skew
    -90
    """
    a, b, _, c, d = matrix[:5]
    first, second = math.hypot(a, c), math.hypot(b, d)
    if not first or not second:
        return UPRIGHT
    upright, turned = abs(a) / first + abs(d) / second, abs(b) / second + abs(c) / first
    if upright >= turned:
        return Orientation(flip_rows=d < 0, flip_columns=a < 0)
    return Orientation(transpose=True, flip_rows=b < 0, flip_columns=c < 0)


def _display_matrix(frame: VideoFrame) -> bytes | None:
    """Return the nine numbers of a frame's display matrix; `None` without one.

    Avoids `frame.side_data`: frame and side data would keep each other in memory until the next
    garbage collection, up to hundreds of frames later.
    """
    found = SideDataContainer.__new__(SideDataContainer)
    with contextlib.suppress(ValueError):  # a kind that PyAV does not know (EXIF) ends its list
        cast(Any, found).__init__(frame)
    matrix = found.get("DISPLAYMATRIX")
    return None if matrix is None else bytes(cast(bytes, matrix))


def on_host(frame: VideoFrame) -> VideoFrame:
    """Return a frame in main memory; download it from the GPU if necessary, samples unchanged.

    NVDEC interleaves chroma. From that layout swscale takes other shortcuts to RGB, off by up to
    141 levels, so 8-bit chroma is split into planes first. From P010 swscale takes the same path
    as from planes.

    Raises:
        DecoderUnsupportedError: The sample layout is not known to be exact.
    """
    samples = frame.sw_format
    if samples is None:
        return frame
    if samples.name not in _HOST_FORMATS:
        message = f"frames come from the GPU as {samples.name}, which is not known to be exact"
        raise DecoderUnsupportedError(f"{message}; choose decoder pyav")
    return planar(frame, samples.name)


def planar(frame: VideoFrame, samples: str) -> VideoFrame:
    """Return the samples in the CPU decoder's layout, or in one that converts identically."""
    full_range = frame.color_range == ColorRange.JPEG
    layout = "yuvj420p" if samples == "nv12" and full_range else _HOST_FORMATS[samples]
    return frame.reformat(format=layout, interpolation=int(Sws.POINT))


class Converter:
    """Converts the frames of one stream, and caches scalers."""

    def __init__(self, name: str, container_crop: Crop | None = None) -> None:
        """Keep the source's name, for error messages, and its container crop."""
        self._name = name
        self._crop = container_crop
        self._scalers: dict[tuple[Size, int, str], VideoReformatter] = {}
        self._cutters: dict[tuple[Size, str], Graph] = {}

    def output_size(self, frame: VideoFrame, spec: PixelSpec) -> Size:
        """Return the output size of a frame."""
        stored = self._stored_size(frame, spec)
        return geometry(spec, _shown_size(stored, _orientation(frame, spec))).output

    def convert(self, frame: VideoFrame, spec: PixelSpec, out: Pixels) -> None:
        """Write a frame's pixels into an array. Shape (height, width, 3)."""
        turn, stored = _orientation(frame, spec), self._stored_size(frame, spec)
        if spec.pixels == "swscale":
            frame = self._cut(on_host(frame), spec)
        target = geometry(spec, _shown_size(stored, turn), Size(*out.shape[:2]))
        if target.scaled == target.output:
            self._scale(frame, spec, _laid_out(out, turn))
            return
        pixels = np.empty((*target.scaled, 3), np.uint8)
        self._scale(frame, spec, _laid_out(pixels, turn))
        into, part = _overlap(target)
        out[...] = 0
        out[into] = pixels[part]

    def tensor(self, frame: VideoFrame, spec: PixelSpec) -> torch.Tensor:
        """Return a frame's pixels on its own device. uint8, shape (height, width, 3)."""
        turn, stored = _orientation(frame, spec), self._stored_size(frame, spec)
        target = geometry(spec, _shown_size(stored, turn))
        height, width = target.scaled
        size = (width, height) if turn.transpose else (height, width)
        pixels = scaled_rgb(frame, *size, spec.interpolation, part=self._window(frame, spec))
        pixels = pixels.transpose(0, 1) if turn.transpose else pixels
        flips = [side for side, is_flipped in enumerate(turn[1:]) if is_flipped]
        pixels = pixels.flip(flips) if flips else pixels
        if target.scaled == target.output:
            return pixels
        out = pixels.new_zeros((*target.output, 3))
        into, part = _overlap(target)
        out[into] = pixels[part]
        return out

    def _window(self, frame: VideoFrame, spec: PixelSpec) -> Window | None:
        """Return the part of a frame to convert; `None` for the whole frame.

        Raises:
            UnsupportedSourceError: The container's crop leaves nothing of the frame.
        """
        if spec.crop == "coded" or self._crop is None:
            return None
        rows, columns = chroma_block(frame.sw_format or frame.format)
        found = window(self._crop, frame.height, frame.width, rows=rows, columns=columns)
        if found is None:
            message = f"{self._name} has frames of {frame.width}x{frame.height}, of which its "
            message += f"container's {self._crop} leaves nothing; ask for crop='coded'"
            raise UnsupportedSourceError(message)
        return found

    def _stored_size(self, frame: VideoFrame, spec: PixelSpec) -> Size:
        """Return the size of a frame before rotation."""
        part = self._window(frame, spec)
        return Size(frame.height, frame.width) if part is None else Size(part.height, part.width)

    def _cut(self, frame: VideoFrame, spec: PixelSpec) -> VideoFrame:
        """Cut a frame to the wanted part with FFmpeg's filter, which copies no pixels."""
        part = self._window(frame, spec)
        if part is None:
            return frame
        key = (Size(frame.height, frame.width), frame.format.name)
        graph = self._cutters.get(key)
        if graph is None:
            graph = self._cutters[key] = _cutter(frame, part)
        graph.vpush(frame)
        return graph.vpull()

    def _scale(self, frame: VideoFrame, spec: PixelSpec, stored: Pixels) -> None:
        """Scale a frame into an array of its stored layout."""
        size = Size(*stored.shape[:2])
        if spec.pixels == "cuda":
            part = self._window(frame, spec)
            stored[...] = scaled_rgb(frame, *size, spec.interpolation, part=part).cpu().numpy()
        elif size == (frame.height, frame.width):
            self._keep_size(frame, spec.colour, stored)
        else:
            flags = int(_KERNELS[spec.interpolation] | _EXACT)
            _interleave(self._reformat(frame, size, flags, "gbrp"), stored)

    def _keep_size(self, frame: VideoFrame, colour: str, stored: Pixels) -> None:
        size = Size(frame.height, frame.width)
        _interleaved(self._reformat(frame, size, _NATIVE[colour], "rgb24"), stored)
        if colour == "ffmpeg":
            correct(frame, stored)

    def _reformat(self, frame: VideoFrame, size: Size, flags: int, fmt: str) -> VideoFrame:
        scaler = self._scalers.setdefault((size, flags, fmt), VideoReformatter())
        return scaler.reformat(frame, size.width, size.height, fmt, interpolation=flags, threads=1)


def chroma_block(samples: VideoFormat) -> tuple[int, int]:
    """Return the numbers of pixel rows and columns that share a chroma sample.

    >>> chroma_block(VideoFormat("yuv420p")), chroma_block(VideoFormat("rgb24"))
    ((2, 2), (1, 1))
    """
    return _WIDE // samples.chroma_height(_WIDE), _WIDE // samples.chroma_width(_WIDE)


def _cutter(frame: VideoFrame, part: Window) -> Graph:
    """Build a filter that cuts this part out of frames with the given frame's size and format."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
    )
    size, place = f"w={part.width}:h={part.height}", f"x={part.left}:y={part.top}"
    graph.link_nodes(source, graph.add("crop", f"{size}:{place}"), graph.add("buffersink"))
    graph.configure()
    return graph


def _orientation(frame: VideoFrame, spec: PixelSpec) -> Orientation:
    return orientation(frame) if spec.rotation == "apply" else UPRIGHT


def _shown_size(stored: Size, turn: Orientation) -> Size:
    return Size(stored.width, stored.height) if turn.transpose else stored


def _laid_out(out: Pixels, turn: Orientation) -> Pixels:
    """Return a view of shown pixels in the layout of stored pixels."""
    rows = slice(None, None, -1 if turn.flip_rows else 1)
    columns = slice(None, None, -1 if turn.flip_columns else 1)
    view = out[rows, columns]
    return view.transpose(1, 0, 2) if turn.transpose else view


def _overlap(target: Geometry) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slice of the output and the matching slice of the scaled frame."""
    into, part = [], []
    for offset, scaled, output in zip(
        (target.top, target.left), target.scaled, target.output, strict=True
    ):
        length = min(scaled, output)
        into.append(slice(max(offset, 0), max(offset, 0) + length))
        part.append(slice(max(-offset, 0), max(-offset, 0) + length))
    return (into[0], into[1]), (part[0], part[1])


def _plane(frame: VideoFrame, number: int, channels: int) -> NDArray[np.uint8]:
    """Return a plane's pixels without line padding. Shape (height, width * channels)."""
    return padded_lines(frame, number)[: frame.height, : frame.width * channels]


def _interleaved(frame: VideoFrame, out: Pixels) -> None:
    out[...] = _plane(frame, 0, 3).reshape(out.shape)


def _interleave(frame: VideoFrame, out: Pixels) -> None:
    for plane, channel in enumerate((1, 2, 0)):  # gbrp: green, blue, red
        out[..., channel] = _plane(frame, plane, 1)
