"""Colour conversion and resizing on the decoding device, for signatures with `pixels="cuda"`.

This uses torch, so the same code runs on a GPU and, for tests, on the CPU. Luma and chroma are each
resized straight from their planes to the output, as in swscale, and converted to RGB there in
32-bit floats. The bytes differ slightly from swscale's, so these signatures have a separate key.

Source of the matrices: ITU-T H.273, 8.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from frames_pipeline.decoding.crop import Window
from frames_pipeline.decoding.deep_samples import BT601, LUMA_WEIGHTS
from frames_pipeline.errors import ConfigError, DecoderUnsupportedError

if TYPE_CHECKING:
    import torch

_MODES: Final = ("bicubic", "bilinear")
_SCALES: Final = {
    "nv12": 1.0,
    "p010le": 256.0,
    "yuv420p": 1.0,
    "yuvj420p": 1.0,
    "yuv420p10le": 4.0,
}
"""Divisors that bring samples to the 8-bit scale."""


class Tolerance(NamedTuple):
    """Largest allowed differences from the CPU's pixels, in levels of 255."""

    mean: float
    """Mean over a frame."""
    maximum: int
    """Maximum of any pixel."""


TOLERANCES: Final = {"swscale": Tolerance(0.0, 0), "cuda": Tolerance(0.5, 48)}
"""Tolerances by a signature's `pixels`. Measured for `cuda`, with torch on the CPU: 0.35 and 31."""


def check_available(interpolation: str) -> None:
    """Check that torch is installed and that it has the interpolation.

    Raises:
        ConfigError: torch is missing, or the interpolation is unknown.
    """
    if interpolation not in _MODES:
        message = f"pixels='cuda' has no interpolation {interpolation!r}; "
        raise ConfigError(message + f"choose one of {', '.join(_MODES)}, or pixels='swscale'")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        message = "pixels='cuda' needs torch; install frames-pipeline[cuda]"
        raise ConfigError(message) from error


def scaled_rgb(
    frame: VideoFrame, height: int, width: int, interpolation: str, *, part: Window | None = None
) -> torch.Tensor:
    """Return a frame as RGB in another size, on the device of its planes.

    Args:
        frame: 4:2:0 of 8 or 10 bits with even sides, in the layout of a GPU or a CPU decoder.
        height: Rows of the output.
        width: Columns of the output.
        interpolation: `bicubic` or `bilinear`, both antialiased.
        part: Part of the frame to take, with even offsets and size. `None`: all of it.

    Returns:
        uint8, of shape (height, width, 3).

    Raises:
        DecoderUnsupportedError: The samples have another layout.
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
    red, blue = LUMA_WEIGHTS.get(int(frame.colorspace), LUMA_WEIGHTS[BT601])
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
    """Return a part of a plane in which one sample covers a block of pixels."""
    if part is None:
        return plane
    top, left, height, width = (side // block for side in part)
    return plane[top : top + height, left : left + width]


def _resized(planes: torch.Tensor, height: int, width: int, interpolation: str) -> torch.Tensor:
    """Resize planes of shape (1, channels, rows, columns)."""
    from torch.nn.functional import interpolate

    if tuple(planes.shape[2:]) == (height, width):
        return planes
    return interpolate(
        planes, (height, width), mode=interpolation, antialias=True, align_corners=False
    )
