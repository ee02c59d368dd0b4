"""The formats of a batch's videos, and clips that a signature leaves as they are coded.

    PQ, HLG, wide gamut     ->  colour: sdr
    interlaced              ->  deinterlace: bwdif
    pixels are not square   ->  pixel_aspect: square

Reads the table `clips` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final, Literal

from frames_pipeline.decoding.geometry import Size, squared
from frames_pipeline.frames import PictureFormat
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.tables import ClipRow

Remark = Literal[
    "hdr",
    "wide_gamut",
    "interlaced",
    "not_square",
    "implausible_aspect",
    "contradictory_colours",
    "dolby_vision_5",
]
"""Reason to look at a clip's pictures."""

REMARKS: Final[Mapping[Remark, str]] = {
    "hdr": "PQ or HLG: frames look washed out. Set `colour: sdr`.",
    "wide_gamut": "Wide gamut: frames look pale. Set `colour: sdr`.",
    "interlaced": "Interlaced: moving edges look like combs. Set `deinterlace: bwdif`.",
    "not_square": "Pixels are not square: shapes are squeezed. Set `pixel_aspect: square`.",
    "implausible_aspect": "The pixel aspect is beyond 16:1 and counts as 1:1. Check the file.",
    "contradictory_colours": "PQ or HLG with primaries of SDR. Check which tag is wrong.",
    "dolby_vision_5": "Dolby Vision profile 5: its base layer has other colours. Transcode it.",
}
"""Meaning of each remark, with the attribute of the signature that changes it."""
_SDR_PRIMARIES: Final = ("bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "ebu3213")
_LUMINANCE: Final = 10_000
"""Units of luminance in a cd/m², in mastering metadata."""
_FOREIGN_BASE_LAYER: Final = 5
"""Dolby Vision profile with a base layer in IPT colours, for Dolby's decoders alone."""


@dataclass(frozen=True, slots=True)
class RemarkedClips:
    """Clips with one remark."""

    remark: Remark
    """The remark."""
    clip_ids: tuple[str, ...]
    """Their ids, in the order of the table."""

    @property
    def meaning(self) -> str:
        """The remark in words, with the attribute that changes it."""
        return REMARKS[self.remark]


@dataclass(frozen=True, slots=True)
class FormatReport:
    """Result of comparing the formats of clips with a signature."""

    clips: int
    """Number of clips that were cut."""
    unknown: int
    """Number of these without a recorded format: tables of version 0.1 have none."""
    remarked: tuple[RemarkedClips, ...]
    """Remarks that some clips have, in the order of `REMARKS`."""


def compare_formats(clips: Iterable[ClipRow], signature: FrameExtractionSignature) -> FormatReport:
    """Count the clips whose pictures a person would see in another way than the frames show them.

    Args:
        clips: Rows of the table `clips`.
        signature: Signature of the frames.
    """
    cut = [clip for clip in clips if clip.status == "ok"]
    found: dict[Remark, list[str]] = {remark: [] for remark in REMARKS}
    unknown = 0
    for clip in cut:
        picture = picture_of(clip)
        if picture is None:
            unknown += 1
            continue
        for remark in remarks(picture, signature, width=clip.width or 0):
            found[remark].append(clip.clip_id)
    return FormatReport(
        len(cut),
        unknown,
        tuple(RemarkedClips(remark, tuple(ids)) for remark, ids in found.items() if ids),
    )


def remarks(
    picture: PictureFormat, signature: FrameExtractionSignature, *, width: int
) -> Iterator[Remark]:
    """Yield the remarks on frames of a format.

    Args:
        picture: The format.
        signature: Signature of the frames.
        width: Width of a stored frame. Pixels count as square if square ones are as many.

    >>> list(remarks(PictureFormat("bt2020", "smpte2084"), FrameExtractionSignature(), width=64))
    ['hdr']
    """
    if signature.colour != "sdr":
        if picture.is_hdr:
            yield "hdr"
        elif picture.is_wide_gamut:
            yield "wide_gamut"
    if signature.deinterlace == "off" and picture.is_interlaced:
        yield "interlaced"
    if signature.pixel_aspect == "coded" and _changes(width, picture.shown_pixel_aspect):
        yield "not_square"
    if not picture.has_plausible_aspect:
        yield "implausible_aspect"
    if picture.is_hdr and picture.primaries in _SDR_PRIMARIES:
        yield "contradictory_colours"
    if picture.dolby_vision == _FOREIGN_BASE_LAYER:
        yield "dolby_vision_5"


def _changes(width: int, aspect: Fraction) -> bool:
    """Return whether a picture of this width has another one in square pixels."""
    return squared(Size(1, width), aspect).width != max(1, width)


def format_columns(picture: PictureFormat) -> dict[str, Any]:
    """Return a format as columns of the table `clips`.

    >>> format_columns(PictureFormat(pixel_aspect=Fraction(64, 45)))["pixel_aspect"]
    '64:45'
    """
    columns = {field.name: getattr(picture, field.name) for field in fields(PictureFormat)}
    aspect, peak = picture.pixel_aspect, picture.peak_luminance
    columns["pixel_aspect"] = None if aspect is None else aspect_text(aspect)
    columns["peak_luminance"] = None if peak is None else float(peak)
    return columns


def describe_format(picture: PictureFormat) -> str:
    """Return a format on one line, without the facts that are not declared.

    >>> describe_format(PictureFormat("bt2020", "smpte2084", "bt2020nc", "limited", 10, "4:2:0"))
    '10-bit 4:2:0, bt2020/smpte2084/bt2020nc, limited'
    >>> describe_format(PictureFormat(bit_depth=8, chroma="gray", field_order="tff"))
    '8-bit gray, tff'
    """
    depth = f"{picture.bit_depth}-bit" if picture.bit_depth else ""
    colours = (picture.primaries, picture.transfer, picture.matrix)
    aspect, peak = picture.pixel_aspect, picture.peak_luminance
    facts = (
        " ".join(filter(None, (depth, picture.chroma))),
        "/".join(dict.fromkeys(colours) if len(set(colours)) == 1 else colours),
        picture.range,
        "" if aspect is None or aspect == 1 else f"pixels {aspect_text(aspect)}",
        picture.field_order,
        "" if peak is None else f"peak {float(peak):g} cd/m²",
        "" if picture.max_content_light is None else f"MaxCLL {picture.max_content_light}",
        "" if picture.dolby_vision is None else f"Dolby Vision {picture.dolby_vision}",
    )
    return ", ".join(fact for fact in facts if fact not in ("", "unspecified"))


def aspect_text(aspect: Fraction) -> str:
    """Return a pixel aspect as text, `64:45`."""
    return f"{aspect.numerator}:{aspect.denominator}"


def picture_of(clip: ClipRow) -> PictureFormat | None:
    """Return the format of a clip's pictures; `None` if it was not recorded."""
    if clip.primaries is None:
        return None
    columns = {field.name: getattr(clip, field.name) for field in fields(PictureFormat)}
    if clip.pixel_aspect is not None:
        columns["pixel_aspect"] = Fraction(clip.pixel_aspect.replace(":", "/"))
    if clip.peak_luminance is not None:
        columns["peak_luminance"] = Fraction(clip.peak_luminance).limit_denominator(_LUMINANCE)
    return PictureFormat(**columns)
