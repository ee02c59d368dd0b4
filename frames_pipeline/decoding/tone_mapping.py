"""Map PQ, HLG and wide gamut to BT.709 SDR, for `colour="sdr"`.

The mapping is FFmpeg's own: its filter `scale` with

    out_transfer=bt709:out_primaries=bt709:intent=perceptual

maps colours in ICtCp, brightness by a curve from the source's peak to SDR white, and gamut by
compression. It depends on the transfer, the primaries and the mastering display (peak and gamut)
alone, and FFmpeg takes 5 CPU seconds to prepare it for each video. So it is sampled once, at 65
values of each channel, and kept: in this process, and in the user's cache folder for others.

    frame  ->  RGB of 16 bits in the source's transfer (`deep_samples`)  ->  table  ->  SDR

Frames are resized first, so small outputs cost little. The table is interpolated between the four
corners of the tetrahedron around a colour, in integers, so every CPU gives the same bytes for the
same table. Differences from FFmpeg's own interpolation: docs/design/colour.md.

HDR10+ is ignored: its curve changes with the scene, and pixels would depend on more than the frame.
MaxCLL is ignored, as FFmpeg does.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import av
import filelock
import numpy as np
import platformdirs
from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from frames_pipeline.container.picture_format import (
    MATRIX_NUMBERS,
    PRIMARIES,
    PRIMARIES_NUMBERS,
    TRANSFER_NUMBERS,
    TRANSFERS,
    with_colours,
)
from frames_pipeline.decoding.deep_samples import BT601, BT2020, Plane
from frames_pipeline.decoding.side_data import side_data
from frames_pipeline.errors import UnsupportedSourceError
from frames_pipeline.frames import PictureFormat

log = logging.getLogger(__name__)

Table = NDArray[np.uint16]
"""SDR red, green and blue at 65 values of red, green and blue. Shape (3, 65 * 65 * 65)."""

_HDR: Final = frozenset(
    number for number, name in TRANSFERS.items() if PictureFormat(transfer=name).is_hdr
)
"""PQ and HLG."""
_WIDE: Final = frozenset(
    number for number, name in PRIMARIES.items() if PictureFormat(primaries=name).is_wide_gamut
)
"""Primaries with a gamut wider than BT.709's."""
_BT2020_PRIMARIES: Final = 9
_BT709_TRANSFER: Final = 1
_UNDECLARED: Final = PictureFormat()
_NO_MATRIX: Final = ("unspecified", "gbr")
"""Matrices that tell nothing about YCbCr."""

_POINTS: Final = 65
_SHIFT: Final = 10
_FRACTION: Final = (1 << _SHIFT) - 1
_RED, _GREEN, _BLUE = (np.uint32(_POINTS**power) for power in (2, 1, 0))
_CORNER: Final = _RED + _GREEN + _BLUE
_BAND: Final = 1 << 15
"""Colours per step, so that the intermediate values stay in the cache."""
_IMAGE: Final = (325, 845)
"""Height and width of a picture with every colour of a table."""

_DIGEST: Final = hashlib.sha256().digest_size
_MASTERING: Final = struct.Struct("<20i2i")
"""FFmpeg's `AVMasteringDisplayMetadata`: ten rationals, and whether primaries and luminance are
declared."""
_PEAKS: Final = (100, 10_000)
"""Range of a plausible peak luminance, in cd/m²."""
_OPTIONS: Final = (
    "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
    ":out_transfer=bt709:out_primaries=bt709:intent=perceptual"
)


class SourceColour(NamedTuple):
    """The colours of a frame that need mapping; numbers are FFmpeg's, as in ITU-T H.273."""

    transfer: int
    primaries: int
    matrix: int
    mastering: bytes = b""
    """Mastering display of the frame; empty if it has none, or an implausible one."""


def source_colour(frame: VideoFrame, declared: PictureFormat = _UNDECLARED) -> SourceColour | None:
    """Return the colours to map; `None` for SDR whose primaries are not wider than BT.709's.

    Args:
        frame: The frame.
        declared: Format of the stream, for tags that the frame lacks: HEVC's decoder leaves out
            the container's.

    Missing and contradictory tags, where reserved numbers count as missing:

    - PQ or HLG without primaries: BT.2020's, as BT.2100 has it.
    - PQ or HLG without a matrix, and BT.2020's primaries without one: BT.2020's. Other primaries
      without a matrix: BT.601's, as in FFmpeg. RGB's matrix on YCbCr samples counts as missing.
    - Wide primaries without a transfer: BT.709's. Neither primaries nor transfer: SDR, whatever the
      matrix is.
    - Tags that contradict each other, such as PQ with BT.709's primaries: taken literally.
    """
    if not (
        int(frame.color_trc) in _HDR
        or int(frame.color_primaries) in _WIDE
        or declared.is_hdr
        or declared.is_wide_gamut
    ):
        return None  # in a microsecond
    seen = with_colours(declared, frame)
    if not seen.is_hdr and not seen.is_wide_gamut:
        return None
    transfer = TRANSFER_NUMBERS.get(seen.transfer, _BT709_TRANSFER)
    primaries = PRIMARIES_NUMBERS.get(seen.primaries, _BT2020_PRIMARIES)
    matrix = MATRIX_NUMBERS.get(seen.matrix, BT601)
    if seen.matrix in _NO_MATRIX:
        matrix = BT2020 if seen.is_hdr or primaries == _BT2020_PRIMARIES else BT601
    return SourceColour(transfer, primaries, matrix, _mastering(frame) if seen.is_hdr else b"")


def to_sdr(planes: Sequence[Plane], frame: VideoFrame, colour: SourceColour) -> tuple[Plane, ...]:
    """Return planes of red, green and blue, mapped.

    Args:
        planes: Red, green and blue in the source's transfer, in any size.
        frame: The frame that they come from, for the first use of its colours.
        colour: The frame's colours.

    Raises:
        UnsupportedSourceError: FFmpeg cannot map the colours.
    """
    table = _table(colour, frame)
    shape = planes[0].shape
    red, green, blue = (np.ascontiguousarray(plane).reshape(-1) for plane in planes)
    out = tuple(np.empty(len(red), np.uint16) for _ in range(3))
    for start in range(0, len(red), _BAND):
        band = slice(start, start + _BAND)
        found = _looked_up(table, red[band], green[band], blue[band])
        for plane, values in zip(out, found, strict=True):
            plane[band] = values
    return tuple(plane.reshape(shape) for plane in out)


def _looked_up(table: Table, red: Plane, green: Plane, blue: Plane) -> list[NDArray[np.uint32]]:
    """Interpolate in the tetrahedron that contains each colour.

    Its corners lead from the lower corner of the cell to the upper one, first along the channel
    with the largest fraction.
    """
    base = (red >> _SHIFT) * _RED + (green >> _SHIFT) * _GREEN + (blue >> _SHIFT)
    r, g, b = red & _FRACTION, green & _FRACTION, blue & _FRACTION
    most, least = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    middle = r + g + b - most - least
    first = np.where(r == most, _RED, np.where(g == most, _GREEN, _BLUE))
    last = np.where(b == least, _BLUE, np.where(g == least, _GREEN, _RED))
    corners = (base, base + first, base + (_CORNER - last), base + _CORNER)
    whole = np.uint16(1 << _SHIFT)
    weights = [
        part.astype(np.uint32) for part in (whole - most, most - middle, middle - least, least)
    ]
    found = []
    for channel in table:
        total = np.full(len(red), 1 << (_SHIFT - 1), np.uint32)
        for weight, corner in zip(weights, corners, strict=True):
            total += weight * channel.take(corner)
        found.append(np.right_shift(total, np.uint32(_SHIFT)))
    return found


_kept: Final[dict[SourceColour, Table]] = {}
"""The tables that this process used last."""
_KEPT_AT_MOST: Final = 16
_CACHED_AT_MOST: Final = 64
"""Number of tables in the cache folder: 106 MB."""


def _table(colour: SourceColour, frame: VideoFrame) -> Table:
    """Return the table of some colours, from this process, the cache folder or FFmpeg."""
    key = colour._replace(matrix=0)  # the table maps RGB
    table = _kept.pop(key, None)
    if table is None:
        table = _cached(key, frame)
    _kept[key] = table  # the last one is the most recent
    if len(_kept) > _KEPT_AT_MOST:
        del _kept[next(iter(_kept))]
    return table


def _cached(colour: SourceColour, frame: VideoFrame) -> Table:
    """Return a table from the cache folder, or let FFmpeg make it and keep it there.

    Processes that need the same table wait for the first. Where the folder cannot be used, the
    table lasts as long as the process.
    """
    path = _cache_path(colour)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(path.with_suffix(".lock")))
            found = _read(path)
        except _CACHE_ERRORS as error:
            _warn(path, error)
            return _make(colour, frame)
        if found is not None:
            return found
        table = _make(colour, frame)
        try:
            _write(path, table)
        except OSError as error:
            _warn(path, error)
        return table


_CACHE_ERRORS: Final = (OSError, NotImplementedError)
"""Errors of a folder that is read-only, full, or on a file system without locks."""


def _warn(path: Path, error: Exception) -> None:
    log.warning(
        "The table of colours is made again in each process, since %s cannot be used: %s. "
        "Set XDG_CACHE_HOME to a folder that can be written.", path.parent, error,
    )  # fmt: skip


def _cache_path(colour: SourceColour) -> Path:
    """Return the file of a table. Another FFmpeg, or another way to ask it, has another file."""
    libraries = {name: av.library_versions[name] for name in ("libavfilter", "libswscale")}
    made_by = repr((libraries, _OPTIONS, _POINTS, tuple(colour)))
    name = hashlib.sha256(made_by.encode()).hexdigest()[:32]
    folder: Path = platformdirs.user_cache_path("frames-pipeline")
    return folder / "colour" / f"{name}.table"


def _read(path: Path) -> Table | None:
    """Return the table in a file; `None` if there is none, or if the file is damaged.

    The file has the SHA-256 of the samples, and then the samples, with the lower byte first.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, samples = content[:_DIGEST], content[_DIGEST:]
    if len(samples) != 2 * 3 * _POINTS**3 or hashlib.sha256(samples).digest() != digest:
        log.warning("%s is damaged and is made again", path)
        return None
    return np.frombuffer(samples, "<u2").reshape(3, -1)


def _write(path: Path, table: Table) -> None:
    """Write a file whole or not at all. The caller has the lock."""
    samples = table.astype("<u2").tobytes()
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(hashlib.sha256(samples).digest() + samples)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _forget_old(path.parent)


def _forget_old(folder: Path) -> None:
    """Delete the tables that were made first, beyond a number of them; others may do the same."""
    tables = []
    for path in folder.glob("*.table"):
        with contextlib.suppress(FileNotFoundError):
            tables.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(tables)[:-_CACHED_AT_MOST]:
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)


def _make(colour: SourceColour, frame: VideoFrame) -> Table:
    """Let FFmpeg map every colour of the table.

    Raises:
        UnsupportedSourceError: FFmpeg cannot map these colours.
    """
    log.info("preparing the conversion of %s to SDR: 5 CPU seconds", colour)
    height, width = _IMAGE
    picture = VideoFrame(width, height, "gbrp16le")
    if colour.mastering:  # only a decoded frame has it, and a copy of it keeps it
        picture = frame.reformat(width, height, "gbrp16le", threads=1)
    values = np.minimum(np.arange(_POINTS) << _SHIFT, 65535).astype("<u2")
    rgb = np.stack(np.meshgrid(values, values, values, indexing="ij"))
    for plane, channel in zip(picture.planes, (1, 2, 0), strict=True):
        lines = np.zeros((height, plane.line_size // 2), "<u2")
        lines[:, :width] = rgb[channel].reshape(height, width)
        plane.update(lines.tobytes())
    picture.color_trc, picture.color_primaries = colour.transfer, colour.primaries
    picture.color_range, picture.colorspace, picture.pts = ColorRange.JPEG, 0, 0
    try:
        mapped = _through_ffmpeg(picture)
    except FFmpegError as error:
        message = f"FFmpeg cannot convert the transfer {TRANSFERS.get(colour.transfer)} with the "
        message += f"primaries {PRIMARIES.get(colour.primaries)} to SDR ({error})"
        raise UnsupportedSourceError(f"{message}; ask for colour='accurate'") from error
    planes = [np.frombuffer(bytes(plane), "<u2").reshape(height, -1) for plane in mapped.planes]
    green, blue, red = (plane[:, :width].reshape(-1) for plane in planes)
    return np.stack([red, green, blue]).astype(np.uint16)


def _through_ffmpeg(picture: VideoFrame) -> VideoFrame:
    graph = Graph()
    size = f"{picture.width}x{picture.height}"
    graph.link_nodes(
        graph.add("buffer", f"video_size={size}:pix_fmt=gbrp16le:time_base=1/1:range=pc"),
        graph.add("sidedata", "mode=delete:type=DYNAMIC_HDR_PLUS"),
        graph.add("scale", f"w={picture.width}:h={picture.height}:{_OPTIONS}"),
        graph.add("format", "pix_fmts=gbrp16le"),
        graph.add("buffersink"),
    )
    graph.configure()
    graph.vpush(picture)
    return graph.vpull()


def _mastering(frame: VideoFrame) -> bytes:
    """Return a frame's mastering display as FFmpeg has it; empty if it is absent or implausible."""
    data = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data is None or len(data) < _MASTERING.size:
        return b""
    *numbers, has_primaries, has_luminance = _MASTERING.unpack_from(data)
    rationals = [
        Fraction(numerator, denominator) if denominator else Fraction(-1)
        for numerator, denominator in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    *chromaticities, least, most = rationals
    is_plausible = bool(has_luminance) and _PEAKS[0] <= most <= _PEAKS[1] and 0 <= least < most
    if has_primaries:
        is_plausible &= all(0 < value < 1 for value in chromaticities)
    return data[: _MASTERING.size] if is_plausible else b""
