"""Colour conversion and resizing where a frame was decoded: signatures with `pixels="cuda"`.

Written with torch, so that one code runs on a GPU and, for tests, on the CPU. Luma and chroma are
each resized straight from their planes to the output, as swscale does, and become RGB there, in
32-bit floats. The bytes differ a little from swscale's, which is why they have a key of their own.

Source of the matrices: ITU-T H.273, 8.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from frames_pipeline.decoding.crop import Window
from frames_pipeline.errors import ConfigError, DecoderUnsupportedError

if TYPE_CHECKING:
    import torch

_WEIGHTS: Final = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601
    6: (0.299, 0.114),
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by matrix coefficients; BT.601 where a stream does not say."""
_BT601: Final = 5
_MODES: Final = ("bicubic", "bilinear")
_SCALES: Final = {
    "nv12": 1.0,
    "p010le": 256.0,
    "yuv420p": 1.0,
    "yuvj420p": 1.0,
    "yuv420p10le": 4.0,
}
"""What a sample is divided by to be on the scale of 8 bits."""


class Tolerance(NamedTuple):
    """How far pixels may be from the CPU's, in levels of 255."""

    mean: float
    """On average over a frame."""
    maximum: int
    """At most."""


TOLERANCES: Final = {"swscale": Tolerance(0.0, 0), "cuda": Tolerance(0.5, 48)}
"""By a signature's `pixels`. What was measured for `cuda`, with torch on the CPU: 0.35 and 31."""


def check_available(interpolation: str) -> None:
    """Make sure that torch is there, and knows how to resample so.

    Raises:
        ConfigError: It is not, or does not.
    """
    if interpolation not in _MODES:
        message = f"pixels='cuda' knows no interpolation {interpolation!r}; "
        raise ConfigError(message + f"choose one of {', '.join(_MODES)}, or pixels='swscale'")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        message = "pixels='cuda' needs torch; install frames-pipeline[cuda]"
        raise ConfigError(message) from error


def scaled_rgb(
    frame: VideoFrame, height: int, width: int, interpolation: str, *, part: Window | None = None
) -> torch.Tensor:
    """A frame as RGB in another size, on the device where its planes are.

    Args:
        frame: 4:2:0 of 8 or 10 bits and even sides, as a GPU lays it out or as the CPU does.
        height: Rows that come out.
        width: Columns that come out.
        interpolation: `bicubic` or `bilinear`, both with what they leave out averaged in.
        part: Part of the frame to take, with even offsets and size. `None`: all of it.

    Returns:
        uint8, of shape (height, width, 3).

    Raises:
        DecoderUnsupportedError: The samples are laid out in another way.
    """
    import torch

    samples = (frame.sw_format or frame.format).name
    if samples not in _SCALES or frame.height % 2 or frame.width % 2:
        message = f"pixels='cuda' cannot convert {samples} of {frame.width}x{frame.height}"
        raise DecoderUnsupportedError(f"{message}; use pixels='swscale'")
    planes = [
        _part_of(torch.from_dlpack(plane), part, 2 if number else 1).to(torch.int32)
        for number, plane in enumerate(frame.planes)
    ]
    luma, *rest = (plane.to(torch.float32) / _SCALES[samples] for plane in planes)
    chroma = torch.stack(rest) if len(rest) == 2 else rest[0].permute(2, 0, 1)
    luma = _resized(luma[None, None], height, width, interpolation)[0, 0]
    chroma = _resized(chroma[None], height, width, interpolation)[0]
    red, blue = _WEIGHTS.get(int(frame.colorspace), _WEIGHTS[_BT601])
    if frame.color_range == ColorRange.JPEG:
        y, (u, v) = luma, chroma - 128
    else:
        y, (u, v) = (luma - 16) * (255 / 219), (chroma - 128) * (255 / 224)
    green = 1 - red - blue
    r = y + 2 * (1 - red) * v
    b = y + 2 * (1 - blue) * u
    g = y - 2 * (blue * (1 - blue) * u + red * (1 - red) * v) / green
    return torch.stack((r, g, b), dim=-1).round_().clamp_(0, 255).to(torch.uint8)


def _part_of(plane: torch.Tensor, part: Window | None, block: int) -> torch.Tensor:
    """A part of a plane, a sample of which stands for a block of pixels."""
    if part is None:
        return plane
    top, left, height, width = (side // block for side in part)
    return plane[top : top + height, left : left + width]


def _resized(planes: torch.Tensor, height: int, width: int, interpolation: str) -> torch.Tensor:
    """Planes of shape (1, channels, rows, columns) in another size."""
    from torch.nn.functional import interpolate

    if tuple(planes.shape[2:]) == (height, width):
        return planes
    return interpolate(
        planes, (height, width), mode=interpolation, antialias=True, align_corners=False
    )
