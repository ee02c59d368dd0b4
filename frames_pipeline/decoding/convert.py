"""A decoded frame becomes RGB pixels: resized, turned, placed.

A signature with `pixels="cuda"` has this done on the GPU (see `device`). Else there are
two paths through swscale, and which one is taken depends on the size alone:

- same size: straight to `rgb24`, as FFmpeg's default does. 8-bit 4:2:0 and 4:2:2 of even height
  take a shortcut: fast, nearest chroma, about one level dark, and equal to the bit to OpenCV and
  to the program ffmpeg. Above 8 bits, and where the height is odd, the stream's chroma location
  is respected, which ffmpeg 5.1 leaves out (docs/design/corpus.md). `colour="accurate"` always
  does so.
- another size: scaled to planar `gbrp`, then interleaved. Equal to the bit to scaling to `rgb24`
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
from frames_pipeline.decoding.ycbcr import SHORTCUT, correct
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
"""Layouts in which frames come from a GPU, and the ones in which they are converted."""
_NATIVE: Final = {
    "ffmpeg": SHORTCUT,
    "accurate": int(Sws.BICUBIC | Sws.FULL_CHR_H_INT | _EXACT),
}


class PixelSpec(NamedTuple):
    """The part of a signature that decides how a frame becomes pixels, whichever frame it is."""

    target_res: tuple[int | None, int | None]
    resize_mode: str
    interpolation: str
    colour: str
    rotation: str
    pixels: str = "swscale"
    crop: str = "coded"

    @classmethod
    def of(cls, signature: FrameExtractionSignature) -> PixelSpec:
        """The pixel part of a signature."""
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
    """How stored pixels are laid out for showing: transposed, then flipped."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise turn, -90 to 180, as ffprobe reports it; mirroring left aside."""
        if self.transpose:
            return 90 if self.flip_rows else -90
        return -180 if self.flip_rows and self.flip_columns else 0


UPRIGHT: Final = Orientation()
_MATRIX_BYTES: Final = 36
_WIDE: Final = 64
"""Pixels that every format's blocks of chroma divide."""


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a frame's pixels go."""

    scaled: Size
    """What the shown frame is scaled to."""
    output: Size
    """What comes out."""
    top: int
    """Row of the output at which the scaled frame starts: above 0 pads, below 0 crops."""
    left: int
    """Column of the output at which it starts."""


def geometry(spec: PixelSpec, shown: Size, output: Size | None = None) -> Geometry:
    """How a shown frame of some size is fitted.

    Args:
        spec: What is asked for.
        shown: Size of the frame as shown, after rotation.
        output: What the frames before it came out as. One that would come out otherwise, because
            the stream changed its size, is stretched to that.

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
    """One side given, the other to the nearest pixel, halves up."""
    if height is not None:
        return Size(height, max(1, (2 * shown.width * height + shown.height) // (2 * shown.height)))
    side = cast(int, width)
    return Size(max(1, (2 * shown.height * side + shown.width) // (2 * shown.width)), side)


def orientation(frame: VideoFrame) -> Orientation:
    """How a frame is to be laid out, by its display matrix; upright where it has none."""
    found = _display_matrix(frame)
    if found is None or len(found) < _MATRIX_BYTES:
        return UPRIGHT
    return nearest_orientation(np.frombuffer(found, "<i4").tolist())


def nearest_orientation(matrix: Sequence[int]) -> Orientation:
    """Return the orientation, of eight, that is nearest to a display matrix.

    The matrix takes a stored point (x, y) to the shown point (a x + c y, b x + d y). As FFmpeg
    does, each column of its numbers is brought to length one first, so that scale does not count;
    a column of zeros says nothing, and the frame is shown upright.

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
    """The nine numbers of a frame's display matrix, where it has one.

    `frame.side_data` is not asked: frame and side data would hold each other in memory until the
    garbage collector comes by, up to hundreds of frames later.
    """
    found = SideDataContainer.__new__(SideDataContainer)
    with contextlib.suppress(ValueError):  # a kind that PyAV does not know (EXIF) ends its list
        cast(Any, found).__init__(frame)
    matrix = found.get("DISPLAYMATRIX")
    return None if matrix is None else bytes(cast(bytes, matrix))


def on_host(frame: VideoFrame) -> VideoFrame:
    """A frame in main memory: one that is on a GPU is downloaded, samples as they are.

    NVDEC interleaves chroma. swscale takes other shortcuts from there to RGB, off by up to 141
    levels, so 8-bit chroma is parted first; from P010 it takes the same path as from planes.

    Raises:
        DecoderUnsupportedError: Its samples are laid out in a way that is not known to be exact.
    """
    samples = frame.sw_format
    if samples is None:
        return frame
    if samples.name not in _HOST_FORMATS:
        message = f"frames come from the GPU as {samples.name}, which is not known to be exact"
        raise DecoderUnsupportedError(f"{message}; choose decoder pyav")
    return planar(frame, samples.name)


def planar(frame: VideoFrame, samples: str) -> VideoFrame:
    """The same samples as the CPU's decoder lays them out, or in a layout that converts alike."""
    full_range = frame.color_range == ColorRange.JPEG
    layout = "yuvj420p" if samples == "nv12" and full_range else _HOST_FORMATS[samples]
    return frame.reformat(format=layout, interpolation=int(Sws.POINT))


class Converter:
    """Converts the frames of one stream; keeps the scalers it set up."""

    def __init__(self, name: str, container_crop: Crop | None = None) -> None:
        """Take the source's name for error messages, and the crop of its container."""
        self._name = name
        self._crop = container_crop
        self._scalers: dict[tuple[Size, int, str], VideoReformatter] = {}
        self._cutters: dict[tuple[Size, str], Graph] = {}

    def output_size(self, frame: VideoFrame, spec: PixelSpec) -> Size:
        """What frames like this one come out as."""
        stored = self._stored_size(frame, spec)
        return geometry(spec, _shown_size(stored, _orientation(frame, spec))).output

    def convert(self, frame: VideoFrame, spec: PixelSpec, out: Pixels) -> None:
        """Write a frame's pixels into an array. Shape (height, width, 3)."""
        turn, stored = _orientation(frame, spec), self._stored_size(frame, spec)
        if spec.pixels == "swscale":
            frame = self._cut(on_host(frame), spec)
        target = geometry(spec, _shown_size(stored, turn), Size(*out.shape[:2]))
        scaled = target.scaled
        if target.scaled == target.output:
            self._scale(frame, spec, _laid_out(out, turn))
            return
        pixels = np.empty((*scaled, 3), np.uint8)
        self._scale(frame, spec, _laid_out(pixels, turn))
        into, part = _overlap(target)
        out[...] = 0
        out[into] = pixels[part]

    def tensor(self, frame: VideoFrame, spec: PixelSpec) -> torch.Tensor:
        """A frame's pixels where it was decoded. uint8, shape (height, width, 3)."""
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
        """Return the part of a frame that the signature takes; `None` for all of it.

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
    """How many rows of pixels, and how many columns, share a sample of chroma.

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
    """A view of shown pixels in which stored pixels can be written."""
    rows = slice(None, None, -1 if turn.flip_rows else 1)
    columns = slice(None, None, -1 if turn.flip_columns else 1)
    view = out[rows, columns]
    return view.transpose(1, 0, 2) if turn.transpose else view


def _overlap(target: Geometry) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where in the output, and which part of the scaled frame."""
    into, part = [], []
    for offset, scaled, output in zip(
        (target.top, target.left), target.scaled, target.output, strict=True
    ):
        length = min(scaled, output)
        into.append(slice(max(offset, 0), max(offset, 0) + length))
        part.append(slice(max(-offset, 0), max(-offset, 0) + length))
    return (into[0], into[1]), (part[0], part[1])


def _plane(frame: VideoFrame, number: int, channels: int) -> NDArray[np.uint8]:
    """The pixels of a plane without the padding of its lines. Shape (height, width * channels)."""
    plane = frame.planes[number]
    lines = np.frombuffer(cast(bytes, plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: frame.height, : frame.width * channels]


def _interleaved(frame: VideoFrame, out: Pixels) -> None:
    out[...] = _plane(frame, 0, 3).reshape(out.shape)


def _interleave(frame: VideoFrame, out: Pixels) -> None:
    for plane, channel in enumerate((1, 2, 0)):  # gbrp: green, blue, red
        out[..., channel] = _plane(frame, plane, 1)
