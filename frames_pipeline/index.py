"""PacketIndex: one row per coded frame, in decode order, and the order in which they are shown.

row       0    1    2    3    4    5         decode order
order     0    3    1    2    4    5         among all pictures, in output order
shown     -    x    x    x    x    x         the edit list hides row 0
position       2    0    1    3    4         among the shown ones, over the whole stream
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream import DISPOSABLE, ENTRY, LAYER_SHIFT, SHOWN, starts_at_an_entry
from frames_pipeline.crop import Crop
from frames_pipeline.errors import UnsupportedSourceError

NO_PTS: Final = np.iinfo(np.int64).min
"""Stands for a timestamp that the container does not give."""

OutputOrder = Callable[[], list[int] | None]
"""Reads every packet's place in the decoder's output from its headers; asked for when needed."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What the container says of the stream."""

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
    pixel_format: str = ""
    """FFmpeg's name of how samples are laid out; empty where it is not known."""
    container_crop: Crop | None = None
    """What the container says to cut off the coded picture; `None` where it says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketColumns:
    """What demuxing and packet headers give, in decode order. Each of shape (rows,)."""

    pts: NDArray[np.int64]
    """Presentation timestamps, `NO_PTS` where there is none."""
    dts: NDArray[np.int64]
    """Decode timestamps, `NO_PTS` where there is none."""
    duration: NDArray[np.int64]
    """Durations, 0 where there is none."""
    size: NDArray[np.int64]
    """Bytes."""
    key: NDArray[np.bool_]
    """The container calls it a key frame."""
    discard: NDArray[np.bool_]
    """The edit list hides it."""
    corrupt: NDArray[np.bool_]
    """The demuxer knows that bytes of it are lost, or its own checksums say that some changed."""
    flags: NDArray[np.int64]
    """What its header says (see `bitstream`)."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.pts)


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """Every coded frame of a stream, and which frames it shows, told without decoding."""

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
    """Frames per second: what the container says, unless its decode times belie it."""
    timestamps: Literal["container", "counted"]
    """`counted` where the container's pts are missing or not increasing in presentation order:
    then pts are positions, and the time base is 1 / average rate."""
    pts: NDArray[np.int64]
    """Timestamp of each row's frame, in `time_base` units. Shape (rows,)."""
    order: NDArray[np.int64]
    """Rank of each row's frame in the decoder's output, hidden by an edit list or not; -1 for a
    row that gives none. Shape (rows,)."""
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
    corrupt: NDArray[np.bool_]
    """Whether bytes of the row are known to be lost or changed. Shape (rows,)."""
    size: NDArray[np.int64]
    """Bytes of each row's packet. Shape (rows,)."""
    last_duration: int
    """How long the last shown frame stays, in `time_base` units."""
    pixel_format: str = ""
    """FFmpeg's name of how samples are laid out; empty where it is not known."""
    container_crop: Crop | None = None
    """What the container says to cut off each edge of the coded picture (MP4's clean aperture,
    Matroska's pixel crop), as FFmpeg reports it; `None` where it says nothing."""

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

    @property
    def duration_seconds(self) -> float:
        """Seconds from the first shown frame to the end of the last."""
        if not self.num_frames:
            return 0.0
        pts = self.shown_pts
        return float((int(pts[-1]) - int(pts[0]) + self.last_duration) * self.time_base)

    def __repr__(self) -> str:
        """Say what is in it without printing arrays."""
        size = f"{self.codec} {self.width}x{self.height}"
        return f"PacketIndex({size}, {self.num_frames} frames, {self.duration_seconds:.3f} s)"


def build_index(
    stream: StreamFacts, columns: PacketColumns, output_order: OutputOrder
) -> PacketIndex:
    """The index of a stream.

    Timestamps are taken from the container unless they are missing, repeated, jump back, or
    contradict the order in which the bitstream says that its pictures are shown (files written
    with decode times for presentation times). Then frames are counted instead.

    Raises:
        UnsupportedSourceError: Timestamps cannot be used, and the order cannot be told either.
    """
    has_frame = _gives_a_frame(stream.codec, columns)
    order = _order_by_pts(stream, columns, has_frame, output_order)
    timestamps: Literal["container", "counted"] = "container"
    if order is None:
        timestamps = "counted"
        order = _order_by_bitstream(stream, has_frame, output_order)
    shown = has_frame & ~columns.discard
    by_order = np.argsort(order, kind="stable")
    presentation = by_order[shown[by_order]]
    rate = _average_rate(stream, columns.dts[has_frame])
    pts, time_base, last_duration = columns.pts, stream.time_base, 0
    if timestamps == "counted":
        pts = np.full(len(columns), NO_PTS)
        pts[presentation] = np.arange(len(presentation))
        time_base, last_duration = 1 / rate, 1
    elif len(presentation):
        last_duration = int(columns.duration[presentation[-1]])
        last_duration = last_duration or round(1 / (rate * time_base))
    flags, layer = columns.flags, columns.flags >> LAYER_SHIFT
    return PacketIndex(
        codec=stream.codec,
        width=stream.width,
        height=stream.height,
        rotation=stream.rotation,
        time_base=time_base,
        average_rate=rate,
        timestamps=timestamps,
        pts=pts,
        order=order,
        shown=shown,
        presentation=presentation,
        key=columns.key,
        entry=flags & ENTRY > 0,
        disposable=(flags & DISPOSABLE > 0) & (layer == layer.max(initial=0)),
        corrupt=columns.corrupt,
        size=columns.size,
        last_duration=last_duration,
        pixel_format=stream.pixel_format,
        container_crop=stream.container_crop,
    )


def _average_rate(stream: StreamFacts, dts: NDArray[np.int64]) -> Fraction:
    """The container's average rate, unless its own decode times are more than a tenth off.

    AVI, for one, states the rate of its slots, and may leave every second one empty.
    """
    if len(dts) < 2 or np.any(dts[1:] <= dts[:-1]) or dts[0] == NO_PTS:
        return stream.average_rate
    measured = (len(dts) - 1) / (int(dts[-1] - dts[0]) * stream.time_base)
    is_close = abs(measured - stream.average_rate) * 10 <= stream.average_rate
    return stream.average_rate if is_close else measured


def _gives_a_frame(codec: str, columns: PacketColumns) -> NDArray[np.bool_]:
    """Rows whose frame a decoder outputs: not hidden, not before the first entry point."""
    gives = columns.flags & SHOWN > 0
    entries = np.flatnonzero((columns.flags & ENTRY > 0) | columns.key)
    if starts_at_an_entry(codec) and len(entries):
        gives[: entries[0]] = False
    return gives


def _order_by_pts(
    stream: StreamFacts,
    columns: PacketColumns,
    has_frame: NDArray[np.bool_],
    output_order: OutputOrder,
) -> NDArray[np.int64] | None:
    """Rank of each row by its timestamp, or `None` where timestamps cannot be trusted."""
    rows = np.flatnonzero(has_frame)
    pts = columns.pts[rows]
    by_pts = np.argsort(pts, kind="stable")
    if np.any(pts == NO_PTS) or np.any(np.diff(pts[by_pts]) == 0):
        return None
    if _jumps_back(pts, columns.key[rows]):
        return None
    if stream.reorders and np.all(pts[1:] > pts[:-1]) and len(pts) > 1:
        told = output_order()
        if told is not None and np.any(np.diff(np.asarray(told)[rows]) < 0):
            return None
    order = np.full(len(columns), -1, np.int64)
    order[rows[by_pts]] = np.arange(len(rows))
    return order


def _jumps_back(pts: NDArray[np.int64], key: NDArray[np.bool_]) -> bool:
    """Whether a frame at or after a key frame is shown before the key frame preceding that one."""
    keys = np.flatnonzero(key)
    if len(keys) < 2:
        return False
    earliest_from = np.minimum.accumulate(pts[::-1])[::-1]
    return bool(np.any(earliest_from[keys[1:]] < pts[keys[:-1]]))


def _order_by_bitstream(
    stream: StreamFacts, has_frame: NDArray[np.bool_], output_order: OutputOrder
) -> NDArray[np.int64]:
    """Rank of each row in the decoder's output, told from packet headers."""
    told = output_order()
    if told is None:
        message = f"timestamps are missing or not increasing, and {stream.codec} headers do not "
        raise UnsupportedSourceError(f"{message}tell the order of frames; remux the file")
    rows = np.flatnonzero(has_frame)
    order = np.full(len(has_frame), -1, np.int64)
    order[rows[np.argsort(np.asarray(told)[rows], kind="stable")]] = np.arange(len(rows))
    return order
