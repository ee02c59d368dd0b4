"""Attributes of a `frames` array: its colours, and the format of the source's pictures.

```
channel_order     RGB or gray
color_space       sRGB, or the true primaries and transfer: bt2020/smpte2084
container_crop    [top, bottom, left, right]; absent if there is no crop
source_format     {"primaries": "bt2020", …}, with the known fields of `PictureFormat`;
                  absent if no format was recorded
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any, Final

from frames_pipeline.frames import Crop, PictureFormat

COLOR_SPACE: Final = "color_space"
CONTAINER_CROP: Final = "container_crop"
SOURCE_FORMAT: Final = "source_format"

SRGB: Final = "sRGB"
_SRGB_PRIMARIES: Final = (
    "unspecified", "bt709", "bt470bg", "smpte170m", "smpte240m", "ebu3213",
)  # fmt: skip
"""Primaries whose RGB is shown as sRGB, as those of BT.601 are by every player."""
_SRGB_TRANSFERS: Final = (
    "unspecified", "bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "iec61966-2-1",
    "iec61966-2-4", "bt1361e", "bt2020-10", "bt2020-12",
)  # fmt: skip
"""Transfers of SDR, whose values are shown as sRGB's."""
_FRACTIONS: Final = ("pixel_aspect", "peak_luminance")
"""Fields that are stored as [numerator, denominator]."""


def pixel_attributes(
    channels: int,
    *,
    colour: str = "ffmpeg",
    source: PictureFormat | None = None,
    container_crop: Crop | None = None,
) -> dict[str, object]:
    """Return the attributes of a `frames` array.

    Args:
        channels: 3 for RGB, 1 for gray.
        colour: `colour` of the frames' signature.
        source: Format of the source's pictures.
        container_crop: Crop in the frames' container.
    """
    attributes: dict[str, object] = {
        "channel_order": "RGB" if channels == 3 else "gray",
        COLOR_SPACE: colour_space(source, colour),
    }
    if container_crop is not None:
        attributes[CONTAINER_CROP] = list(container_crop)
    if source is not None:
        attributes[SOURCE_FORMAT] = format_document(source)
    return attributes


def colour_space(source: PictureFormat | None, colour: str) -> str:
    """Return the colour space of frames: `sRGB`, or `primaries/transfer` by FFmpeg's names.

    >>> colour_space(PictureFormat("bt2020", "smpte2084"), "ffmpeg")
    'bt2020/smpte2084'
    >>> colour_space(PictureFormat("bt2020", "smpte2084"), "sdr")
    'sRGB'
    """
    if source is None or colour == "sdr":
        return SRGB
    is_srgb = source.primaries in _SRGB_PRIMARIES and source.transfer in _SRGB_TRANSFERS
    return SRGB if is_srgb else f"{source.primaries}/{source.transfer}"


def format_document(source: PictureFormat) -> dict[str, Any]:
    """Return the known fields of a format as JSON.

    >>> format_document(PictureFormat("bt709", bit_depth=8, pixel_aspect=Fraction(64, 45)))
    {'primaries': 'bt709', 'bit_depth': 8, 'pixel_aspect': [64, 45]}
    """
    document = {}
    for field in fields(PictureFormat):
        value = getattr(source, field.name)
        if value != field.default:
            is_fraction = field.name in _FRACTIONS
            document[field.name] = [value.numerator, value.denominator] if is_fraction else value
    return document


def format_in(attributes: Mapping[str, Any]) -> PictureFormat | None:
    """Return the format of the source by an array's attributes; `None` without one."""
    document = attributes.get(SOURCE_FORMAT)
    return None if document is None else format_from(document)


def format_from(document: Mapping[str, Any]) -> PictureFormat:
    """Return the format that JSON describes, without the fields that this version does not know."""
    known = {field.name for field in fields(PictureFormat)}
    values: dict[str, Any] = {
        name: Fraction(*value) if name in _FRACTIONS else value
        for name, value in document.items()
        if name in known
    }
    return PictureFormat(**values)


def crop_in(attributes: Mapping[str, Any]) -> Crop | None:
    """Return the container's crop by an array's attributes; `None` without one."""
    crop = attributes.get(CONTAINER_CROP)
    return None if crop is None else Crop(*map(int, crop))
