"""Convert a decoded frame to pixels: colours, samples, resize, rotate, pad or crop.

With `pixels="cuda"` the GPU does this (see `device`). Other samples than 8-bit RGB, and colours to
map to SDR, go by way of 16 bits (see `deep_samples` and `tone_mapping`). For the rest the output
size alone chooses between two paths through swscale:

- same size: straight to `rgb24`, as FFmpeg does by default. 8-bit 4:2:0 and 4:2:2 of even height
  take a shortcut: fast, with nearest chroma, about one level dark, and bit-identical to OpenCV and
  to the program ffmpeg. Formats above 8 bits and odd heights respect the stream's chroma location,
  which ffmpeg 5.1 ignores (docs/design/corpus.md). `colour="accurate"` always respects it.
- another size: scale to planar `gbrp`, then interleave. This is bit-identical to scaling to `rgb24`
  with accurate rounding and full chroma, on any machine, and up to three times as fast. Scaling
  straight to `rgb24` is off by up to 60 levels.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.reformatter import Interpolation as Sws
from numpy.typing import NDArray

from frames_pipeline.decoding.crop import Window, window
from frames_pipeline.decoding.deep_samples import (
    Scaler,
    check_matrix,
    gray16,
    luma_of,
    rgb16,
)
from frames_pipeline.decoding.device import scaled_rgb
from frames_pipeline.decoding.frame_format import dolby_vision
from frames_pipeline.decoding.geometry import (
    UPRIGHT,
    Geometry,
    Orientation,
    Pixels,
    PixelSpec,
    Size,
    geometry,
    laid_out,
    nearest_orientation,
    overlap,
    shown_size,
    squared,
)
from frames_pipeline.decoding.side_data import side_data
from frames_pipeline.decoding.tone_mapping import SourceColour, source_colour, to_sdr
from frames_pipeline.decoding.ycbcr import SHORTCUT, correct, padded_lines
from frames_pipeline.errors import DecoderUnsupportedError, UnsupportedSourceError
from frames_pipeline.frames import Crop, PictureFormat, as_uint8

if TYPE_CHECKING:
    import torch

    from frames_pipeline.container.media import Media

__all__ = [
    "UPRIGHT",
    "Converter",
    "Geometry",
    "Orientation",
    "PixelSpec",
    "Pixels",
    "Size",
    "chroma_block",
    "geometry",
    "nearest_orientation",
    "on_host",
    "orientation",
    "planar",
    "squared",
]

_KERNELS: Final = {
    "bicubic": Sws.BICUBIC,
    "bilinear": Sws.BILINEAR,
    "area": Sws.AREA,
    "lanczos": Sws.LANCZOS,
}
_EXACT: Final = Sws.ACCURATE_RND | Sws.BITEXACT
_HOST_FORMATS: Final = {"nv12": "yuv420p", "p010le": "p010le", "yuv444p": "yuv444p"}
"""Pixel formats of frames from a GPU, and the formats to convert them from."""
_FULL_CHROMA: Final = int(Sws.BICUBIC | Sws.FULL_CHR_H_INT | _EXACT)
_NATIVE: Final = {"ffmpeg": SHORTCUT, "accurate": _FULL_CHROMA, "sdr": _FULL_CHROMA}
_REFUSED_PROFILE: Final = 5
"""Dolby Vision profile with a base layer in colours of its own (IPT). The metadata of frames of
profile 10.0, which is the same in AV1, name it as well."""

_MATRIX_BYTES: Final = 36
_WIDE: Final = 64
"""A multiple of the chroma block size of every format, in pixels."""


def orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation by a frame's display matrix; upright without one."""
    found = side_data(frame, "DISPLAYMATRIX")
    if found is None or len(found) < _MATRIX_BYTES:
        return UPRIGHT
    return nearest_orientation(np.frombuffer(found, "<i4").tolist())


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

    def __init__(
        self,
        name: str,
        container_crop: Crop | None = None,
        picture: PictureFormat = PictureFormat(),  # noqa: B008 - frozen
    ) -> None:
        """Keep the source's name, for error messages, its container crop and picture format."""
        self._name = name
        self._crop = container_crop
        self._picture = picture
        self._pixel_aspect = picture.shown_pixel_aspect
        self._scalers: dict[tuple[Size, int, str], VideoReformatter] = {}
        self._cutters: dict[tuple[Size, str], Graph] = {}

    @classmethod
    def of(cls, media: Media) -> Converter:
        """Return a converter of a video's frames."""
        return cls(media.name, media.container_crop, media.picture)

    def output_size(self, frame: VideoFrame, spec: PixelSpec) -> Size:
        """Return the output size of a frame."""
        stored = self._stored_size(frame, spec)
        return geometry(spec, shown_size(stored, _orientation(frame, spec))).output

    def convert(self, frame: VideoFrame, spec: PixelSpec, out: Pixels) -> None:
        """Write a frame's pixels into an array. Shape (height, width, channels)."""
        turn, stored = _orientation(frame, spec), self._stored_size(frame, spec)
        if spec.pixels == "swscale":
            frame = self._cut(on_host(frame), spec)
        target = geometry(spec, shown_size(stored, turn), Size(*out.shape[:2]))
        if target.scaled == target.output:
            self._scale(frame, spec, laid_out(out, turn))
            return
        pixels = np.empty((*target.scaled, *out.shape[2:]), out.dtype)
        self._scale(frame, spec, laid_out(pixels, turn))
        into, part = overlap(target)
        out[...] = 0
        out[into] = pixels[part]

    def tensor(self, frame: VideoFrame, spec: PixelSpec) -> torch.Tensor:
        """Return a frame's pixels on its own device. uint8, shape (height, width, 3)."""
        turn, stored = _orientation(frame, spec), self._stored_size(frame, spec)
        target = geometry(spec, shown_size(stored, turn))
        height, width = target.scaled
        size = (width, height) if turn.transpose else (height, width)
        pixels = scaled_rgb(frame, *size, spec.interpolation, part=self._window(frame, spec))
        pixels = pixels.transpose(0, 1) if turn.transpose else pixels
        flips = [side for side, is_flipped in enumerate(turn[1:]) if is_flipped]
        pixels = pixels.flip(flips) if flips else pixels
        if target.scaled == target.output:
            return pixels
        out = pixels.new_zeros((*target.output, 3))
        into, part = overlap(target)
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
        """Return the size of a frame before rotation, in square pixels if those are wanted."""
        part = self._window(frame, spec)
        size = Size(frame.height, frame.width) if part is None else Size(part.height, part.width)
        return squared(size, self._pixel_aspect) if spec.pixel_aspect == "square" else size

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
            return
        colour = self._colour_to_map(frame, spec)
        if colour is not None:
            check_matrix(frame, colour.matrix)
        elif spec.channels == 3:
            check_matrix(frame, int(frame.colorspace))
        if colour is not None or spec.samples != "rgb8":
            self._scale_deep(frame, spec, stored, colour)
        elif size == (frame.height, frame.width):
            self._keep_size(frame, spec.colour, stored)
        else:
            flags = int(_KERNELS[spec.interpolation] | _EXACT)
            _interleave(self._reformat(frame, size, flags, "gbrp"), stored)

    def _colour_to_map(self, frame: VideoFrame, spec: PixelSpec) -> SourceColour | None:
        """Return the colours of a frame that a signature wants as SDR; `None` if nothing is to do.

        Raises:
            UnsupportedSourceError: The colours are Dolby Vision's own.
        """
        if spec.colour != "sdr":
            return None
        if _REFUSED_PROFILE in (self._picture.dolby_vision, dolby_vision(frame)):
            message = f"{self._name} is Dolby Vision profile {_REFUSED_PROFILE}: its colours are "
            message += "not those of a video without Dolby Vision; ask for colour='accurate' to "
            raise UnsupportedSourceError(message + "get them as they are coded")
        return source_colour(frame, self._picture)

    def _scale_deep(
        self, frame: VideoFrame, spec: PixelSpec, stored: Pixels, colour: SourceColour | None
    ) -> None:
        """Scale a frame by way of 16-bit samples."""
        size = Size(*stored.shape[:2])
        is_native = size == (frame.height, frame.width)  # only chroma is scaled, as in `_NATIVE`
        flags = int((Sws.BICUBIC if is_native else _KERNELS[spec.interpolation]) | _EXACT)
        scaler = Scaler(self._scalers.setdefault((size, flags, "deep"), VideoReformatter()), flags)
        if colour is not None:
            planes = to_sdr(rgb16(frame, size, scaler, matrix=colour.matrix), frame, colour)
            planes = planes if spec.channels == 3 else (luma_of(planes),)
        elif spec.channels == 3:
            planes = rgb16(frame, size, scaler, matrix=int(frame.colorspace))
        else:
            planes = (gray16(frame, size, scaler),)
        for channel, plane in enumerate(planes):
            stored[..., channel] = plane if spec.dtype == np.uint16 else as_uint8(plane)

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


def _plane(frame: VideoFrame, number: int, channels: int) -> NDArray[np.uint8]:
    """Return a plane's pixels without line padding. Shape (height, width * channels)."""
    return padded_lines(frame, number)[: frame.height, : frame.width * channels]


def _interleaved(frame: VideoFrame, out: Pixels) -> None:
    out[...] = _plane(frame, 0, 3).reshape(out.shape)


def _interleave(frame: VideoFrame, out: Pixels) -> None:
    for plane, channel in enumerate((1, 2, 0)):  # gbrp: green, blue, red
        out[..., channel] = _plane(frame, plane, 1)
