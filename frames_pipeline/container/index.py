"""PacketIndex: one row per coded frame, in decode order, with the display order.

row       0    1    2    3    4    5         decode order
order     0    3    1    2    4    5         among all pictures, in output order
shown     -    x    x    x    x    x         the edit list hides row 0
position       2    0    1    3    4         among shown frames, over the whole stream
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream import (
    COMPLETES,
    DISPOSABLE,
    ENTRY,
    LAYER_SHIFT,
    OPEN,
    SETS,
    SHOWN,
    Codec,
    codec_named,
)
from frames_pipeline.clips import Span
from frames_pipeline.container.times import (
    NO_PTS,
    FrameTimes,
    as_decode_times,
    frame_times,
    longest_gap,
)
from frames_pipeline.errors import UnsupportedSourceError
from frames_pipeline.frames import Crop, PictureFormat, Timestamps

__all__ = ["NO_PTS", "OutputOrder", "PacketColumns", "PacketIndex", "StreamFacts", "build_index"]

_FARTHEST_MOVE: Final = 64
"""Largest plausible distance between a frame's decode order and its display order. Above it, read
headers."""

OutputOrder = Callable[[], list[int] | None]
"""Reads every packet's place in the decoder's output from its headers; called when needed."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """Facts about a stream from its container."""

    codec: str
    """FFmpeg's canonical name: h264, hevc, av1, …"""
    width: int
    """Pixels of a stored frame, before rotation."""
    height: int
    """Pixels of a stored frame, before rotation."""
    time_base: Fraction
    """Seconds per unit of a timestamp."""
    average_rate: Fraction
    """Frames per second."""
    reorders: bool = True
    """Whether the codec may show frames in another order than it decodes them."""
    rotation: int = 0
    """Degrees by which a shown frame is turned counter-clockwise."""
    clock_may_jump: bool = False
    """Whether FFmpeg marks the format's clock as discontinuous (`AVFMT_TS_DISCONT`)."""
    pixel_format: str = ""
    """FFmpeg's name of how samples are laid out; empty where it is not known."""
    container_crop: Crop | None = None
    """Crop of the coded picture, as the container has it; `None` if it has none."""
    picture: PictureFormat = field(default_factory=PictureFormat)
    """Format of the pictures, by the container and the parameter sets."""

    @property
    def codec_facts(self) -> Codec:
        """Facts about the codec."""
        return codec_named(self.codec)


@dataclass(frozen=True, slots=True, eq=False)
class PacketColumns:
    """Columns from demuxing and packet headers, in decode order. Each has shape (rows,)."""

    pts: NDArray[np.int64]
    """Presentation timestamps, `NO_PTS` where there is none."""
    dts: NDArray[np.int64]
    """Decode timestamps, `NO_PTS` where there is none."""
    duration: NDArray[np.int64]
    """Durations, 0 where there is none."""
    size: NDArray[np.int64]
    """Bytes."""
    key: NDArray[np.bool_]
    """Whether the container marks it as a key frame."""
    discard: NDArray[np.bool_]
    """Whether the edit list hides it."""
    corrupt: NDArray[np.bool_]
    """Whether bytes are lost, by the demuxer, or changed, by the packet's own checksums."""
    flags: NDArray[np.int64]
    """Flags from its header (see `bitstream`)."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pts)


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """Every coded frame of a stream, and which frames it shows. Nothing is decoded for it."""

    codec: str
    """FFmpeg's canonical name: h264, hevc, av1, …"""
    width: int
    """Pixels of a stored frame, before rotation."""
    height: int
    """Pixels of a stored frame, before rotation."""
    rotation: int
    """Degrees by which a shown frame is turned counter-clockwise."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    average_rate: Fraction
    """Frames per second: the container's, unless its decode times contradict it."""
    timestamps: Timestamps
    """`container`: pts are the container's. `repaired`: some were missing or out of order, and are
    interpolated between their neighbours. `counted`: most were, so pts are positions, and the time
    base is 1 / average rate."""
    pts: NDArray[np.int64]
    """Timestamp of each row's frame, in `time_base` units. Shape (rows,)."""
    order: NDArray[np.int64]
    """Rank of each row's frame in the decoder's output, including frames hidden by an edit list; -1
    for a row without a frame. Shape (rows,)."""
    shown: NDArray[np.bool_]
    """Whether the row's frame is shown. Shape (rows,)."""
    presentation: NDArray[np.int64]
    """Row of each shown frame, in presentation order: a position is an index into it.
    Shape (num_frames,)."""
    key: NDArray[np.bool_]
    """Whether the row's frame is a key frame. Shape (rows,)."""
    entry: NDArray[np.bool_]
    """Whether decoding may start at the row. Shape (rows,)."""
    disposable: NDArray[np.bool_]
    """Whether no other frame is predicted from the row's. Shape (rows,)."""
    sets: NDArray[np.bool_]
    """Whether the row's packet carries parameter sets or other state for later packets.
    Shape (rows,)."""
    completed: NDArray[np.int64]
    """Row of the packet that completes each row's frame: its second field, or the row itself.
    Shape (rows,)."""
    corrupt: NDArray[np.bool_]
    """Whether bytes of the row, or pictures that it is predicted from, are lost. Shape (rows,)."""
    size: NDArray[np.int64]
    """Bytes of each row's packet. Shape (rows,)."""
    last_duration: int
    """Duration of the last shown frame, in `time_base` units."""
    timestamps_detail: str = ""
    """Reason for repairing or replacing the container's timestamps; empty for `container`."""
    edits: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """First rows of later edits of the edit list: prediction never crosses them."""
    pixel_format: str = ""
    """FFmpeg's name of how samples are laid out; empty where it is not known."""
    container_crop: Crop | None = None
    """Crop of the coded picture in the container (MP4's clean aperture, Matroska's pixel crop), as
    FFmpeg reports it; `None` if there is none."""
    picture: PictureFormat = field(default_factory=PictureFormat)
    """Format of the pictures, by the container and the parameter sets; `probe` adds the facts of
    the first frame."""

    @property
    def codec_facts(self) -> Codec:
        """Facts about the codec."""
        return codec_named(self.codec)

    @property
    def num_frames(self) -> int:
        """Number of shown frames."""
        return len(self.presentation)

    @property
    def shown_pts(self) -> NDArray[np.int64]:
        """Timestamps of the shown frames, increasing. Shape (num_frames,)."""
        return self.pts[self.presentation]

    @property
    def shown_key(self) -> NDArray[np.bool_]:
        """Whether each shown frame is a key frame. Shape (num_frames,)."""
        return self.key[self.presentation]

    def within(self, span: Span) -> slice:
        """Return the positions of the shown frames in a span, as a slice with both ends.

        `index.presentation[index.within(span)]` are the rows of these frames.
        """
        pts = self.shown_pts
        start = 0 if span.start is None else int(np.searchsorted(pts, span.start))
        stop = len(pts) if span.stop is None else int(np.searchsorted(pts, span.stop))
        return slice(start, max(start, stop))

    @property
    def duration_seconds(self) -> float:
        """Seconds from the first shown frame to the end of the last."""
        if not self.num_frames:
            return 0.0
        pts = self.shown_pts
        return float((int(pts[-1]) - int(pts[0]) + self.last_duration) * self.time_base)

    def __repr__(self) -> str:
        """Return a summary without arrays."""
        size = f"{self.codec} {self.width}x{self.height}"
        return f"PacketIndex({size}, {self.num_frames} frames, {self.duration_seconds:.3f} s)"


def build_index(
    stream: StreamFacts, columns: PacketColumns, output_order: OutputOrder
) -> PacketIndex:
    """Build the index of a stream.

    Timestamps are the container's. Missing, repeated and out-of-order ones are repaired (see
    `times`). Frames are in the decoder's output order: decode order if the codec does not reorder,
    else the order of plausible timestamps, else the order in packet headers.

    Raises:
        UnsupportedSourceError: Timestamps cannot be used, and headers do not have the order either.
    """
    has_frame = _gives_a_frame(stream.codec_facts, columns)
    edits = _edit_starts(columns)
    order = _order(stream, columns, has_frame, edits, output_order)
    if np.any(columns.flags[has_frame][:1] & OPEN):
        order, has_frame = _without_leading(order, has_frame)
    shown = has_frame & ~columns.discard
    completed = _completed(columns.flags)
    by_order = np.argsort(order, kind="stable")
    presentation = by_order[shown[by_order]]
    rate = _average_rate(stream, columns.dts[has_frame])
    times = _times(stream, columns, order, presentation, rate)
    last = _last_rows(presentation, completed)
    flags, layer = columns.flags, columns.flags >> LAYER_SHIFT
    return PacketIndex(
        codec=stream.codec,
        width=stream.width,
        height=stream.height,
        rotation=stream.rotation,
        time_base=times.time_base,
        average_rate=rate,
        timestamps=times.source,
        pts=_row_pts(columns, presentation, times),
        order=order,
        shown=shown,
        presentation=presentation,
        key=columns.key,
        entry=flags & ENTRY > 0,
        disposable=(flags & DISPOSABLE > 0) & (layer == layer.max(initial=0)),
        sets=flags & SETS > 0,
        completed=completed,
        corrupt=columns.corrupt | _lacks_references(stream.codec_facts, columns.flags),
        size=columns.size,
        last_duration=_last_duration(stream, columns.duration[last], times),
        timestamps_detail=times.detail,
        edits=edits,
        pixel_format=stream.pixel_format,
        container_crop=stream.container_crop,
        picture=stream.picture,
    )


def _average_rate(stream: StreamFacts, dts: NDArray[np.int64]) -> Fraction:
    """Return the container's average rate, or the measured one if they differ by more than a tenth.

    AVI, for example, states the rate of its slots, and may leave every second one empty.
    """
    if len(dts) < 2 or np.any(dts[1:] <= dts[:-1]) or dts[0] == NO_PTS:
        return stream.average_rate
    steps = np.diff(dts)
    if stream.clock_may_jump:
        steps = steps[steps <= longest_gap(steps, stream.time_base)]
    measured = len(steps) / (int(steps.sum()) * stream.time_base)
    is_close = abs(measured - stream.average_rate) * 10 <= stream.average_rate
    return stream.average_rate if is_close else measured


def _gives_a_frame(codec: Codec, columns: PacketColumns) -> NDArray[np.bool_]:
    """Return the rows with a frame that a decoder outputs, from the first entry point on."""
    gives = columns.flags & SHOWN > 0
    entries = np.flatnonzero((columns.flags & ENTRY > 0) | columns.key)
    if codec.starts_at_entry and len(entries):
        gives[: entries[0]] = False
    return gives


def _without_leading(
    order: NDArray[np.int64], has_frame: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return order and rows without pictures shown before the first decoded one.

    A stream that was cut at an open group of pictures begins with such pictures. Their references
    are gone, and a decoder does not output them.
    """
    rows = np.flatnonzero(has_frame)
    leads = has_frame & (order < order[rows[:1]].max(initial=0))
    if not leads.any():
        return order, has_frame
    return np.where(leads | (order < 0), -1, order - leads.sum()), has_frame & ~leads


def _lacks_references(codec: Codec, flags: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the rows before the first entry point, which a stream that was cut may have.

    Decoders of some codecs drop these frames; others predict them from gray and output them.
    """
    if codec.starts_at_entry:
        return np.zeros(len(flags), np.bool_)
    before: NDArray[np.bool_] = np.cumsum(flags & ENTRY > 0) == 0
    return before & (flags & SHOWN > 0)


def _completed(flags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row that completes each row's frame."""
    rows = np.arange(len(flags))
    second = np.flatnonzero(flags & COMPLETES)
    begins = np.flatnonzero(flags & SHOWN)
    completed = rows.copy()
    if len(second) and len(begins):
        first = np.searchsorted(begins, second) - 1
        completed[begins[first[first >= 0]]] = second[first >= 0]
    return completed


def _times(
    stream: StreamFacts,
    columns: PacketColumns,
    order: NDArray[np.int64],
    presentation: NDArray[np.int64],
    rate: Fraction,
) -> FrameTimes:
    """Return the times of the shown frames, from their pts or from decode times."""
    given = partial(
        frame_times, time_base=stream.time_base, rate=rate, clock_may_jump=stream.clock_may_jump
    )
    rows = np.flatnonzero(order >= 0)
    of_decoding = _decode_times(columns.pts[rows], columns.dts[rows], order[rows])
    if of_decoding is not None:
        return as_decode_times(given(of_decoding[order[presentation]]), rate)
    return given(columns.pts[presentation])


def _row_pts(
    columns: PacketColumns, presentation: NDArray[np.int64], times: FrameTimes
) -> NDArray[np.int64]:
    """Return the timestamp of each row's frame: the container's, or the replaced ones."""
    if times.source == "container":
        return columns.pts
    pts = np.full(len(columns), NO_PTS)
    pts[presentation] = times.ticks
    return pts


def _decode_times(
    pts: NDArray[np.int64], dts: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the decode times, ascending, if the container gives no pts; otherwise `None`.

    That is the case if some pts are missing and the rest equal the decode times (AVI), or if pts
    increase in decode order although frames are reordered.
    """
    known = pts != NO_PTS
    if not known.all() and np.array_equal(pts[known], dts[known]) and dts[0] != NO_PTS:
        return dts if np.all(dts[1:] > dts[:-1]) else None
    goes_up = np.all(np.diff(pts[known]) >= 0)
    return pts if goes_up and np.any(np.diff(order[known]) < 0) else None


def _last_rows(presentation: NDArray[np.int64], completed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the last shown frame, which may be two fields; none without a frame."""
    if not len(presentation):
        return presentation
    last = int(presentation[-1])
    return np.arange(last, completed[last] + 1)


def _last_duration(stream: StreamFacts, declared: NDArray[np.int64], times: FrameTimes) -> int:
    """Return the last frame's duration: the container's, if the frame's time is believed."""
    if not len(declared):
        return 0
    if not times.last_is_believed or not declared.any():
        return times.step
    return int(int(declared.sum()) * stream.time_base / times.time_base)


def _edit_starts(columns: PacketColumns) -> NDArray[np.int64]:
    """Return the rows at which a later edit starts: decode times go back, at a key frame.

    An edit list may show a part of the media again, or parts in another order. libavformat yields
    the packets of each part, from the key frame before it.
    """
    if not columns.discard.any():
        return np.empty(0, np.int64)
    goes_back = (columns.dts[1:] <= columns.dts[:-1]) & (columns.dts[1:] != NO_PTS)
    return np.flatnonzero(goes_back & columns.key[1:]) + 1


def _order(
    stream: StreamFacts,
    columns: PacketColumns,
    has_frame: NDArray[np.bool_],
    edits: NDArray[np.int64],
    output_order: OutputOrder,
) -> NDArray[np.int64]:
    """Return the rank of each row in the decoder's output; -1 for a row without a frame."""
    order = np.full(len(columns), -1, np.int64)
    rows = np.flatnonzero(has_frame)
    before = 0
    for edit in np.split(rows, np.searchsorted(rows, edits)):
        order[_in_order(stream, columns, edit, output_order)] = before + np.arange(len(edit))
        before += len(edit)
    return order


def _in_order(
    stream: StreamFacts,
    columns: PacketColumns,
    rows: NDArray[np.int64],
    output_order: OutputOrder,
) -> NDArray[np.int64]:
    """Return the rows with a frame, in the order of the decoder's output."""
    if not stream.reorders:
        return rows
    pts, key = columns.pts[rows], columns.key[rows]
    by_pts = np.argsort(pts, kind="stable")
    increases = bool(np.all(by_pts[1:] > by_pts[:-1]))
    is_distinct = bool(np.all(np.diff(pts[by_pts]) > 0)) and not np.any(pts == NO_PTS)
    if is_distinct and not increases and _is_plausible(pts, key, by_pts):
        return rows[by_pts]
    in_headers = stream.codec_facts.output_ranks is not None
    ranks = output_order() if in_headers else None
    if ranks is not None:
        return rows[np.argsort(np.asarray(ranks)[rows], kind="stable")]
    is_decode_order = increases and not in_headers and not np.any(pts == NO_PTS)
    if is_decode_order or (is_distinct and not _jumps_back(pts, key)):
        return rows[by_pts]
    message = f"timestamps are missing or not increasing, and {stream.codec} headers do not "
    raise UnsupportedSourceError(f"{message}tell the order of frames; remux the file")


def _is_plausible(
    pts: NDArray[np.int64], key: NDArray[np.bool_], by_pts: NDArray[np.int64]
) -> bool:
    """Return whether timestamps may be in the order of a decoder's output.

    A key frame must be shown after all frames decoded before it, and every frame near its decode
    position.
    """
    if np.any(pts[key] < np.maximum.accumulate(pts)[key]):
        return False
    return bool(np.all(np.abs(by_pts - np.arange(len(pts))) <= _FARTHEST_MOVE))


def _jumps_back(pts: NDArray[np.int64], key: NDArray[np.bool_]) -> bool:
    """Return whether a frame at or after a key frame is shown before the previous key frame."""
    keys = np.flatnonzero(key)
    if len(keys) < 2:
        return False
    earliest_from = np.minimum.accumulate(pts[::-1])[::-1]
    return bool(np.any(earliest_from[keys[1:]] < pts[keys[:-1]]))
