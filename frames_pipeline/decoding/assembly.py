"""Collect decoded frames: an assembler per clip, and in it a buffer per signature.

frame of a row  ->  ClipSet  ->  ClipAssembler of each clip that wants it
                                   ->  _PixelBuffer of each signature that wants it,
                                       or _ImageBuffer if its frames are encoded
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import compress
from typing import cast

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from frames_pipeline.clips import Span
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.convert import Converter, Pixels, PixelSpec, Size
from frames_pipeline.decoding.deinterlace import Deinterlaced, neighbours
from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.encodings.images import EncodedFrames, encode_frame, encoder_version
from frames_pipeline.errors import (
    LimitExceededError,
    NoFramesError,
    SourceError,
    UnsupportedSourceError,
)
from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
from frames_pipeline.sampling import Positions, select_frames
from frames_pipeline.signature import FrameExtractionSignature

FramesBySignature = dict[FrameExtractionSignature, FrameBatch]


class Converted:
    """A decoded frame with its pixels and images so far. Each is made once."""

    def __init__(self, frame: VideoFrame, converter: Converter) -> None:
        """Keep the frame; convert nothing yet."""
        self.frame = frame
        self._converter = converter
        self._made: dict[tuple[PixelSpec, Size], Pixels] = {}
        self._encoded: dict[tuple[PixelSpec, Size, FrameEncoding], bytes] = {}

    def size(self, spec: PixelSpec) -> Size:
        """Return the output size of this frame."""
        return self._converter.output_size(self.frame, spec)

    def write(self, spec: PixelSpec, out: Pixels) -> None:
        """Write the pixels into an array. Shape (height, width, channels)."""
        key = (spec, Size(*out.shape[:2]))
        made = self._made.get(key)
        if made is None:
            self._converter.convert(self.frame, spec, out)
            self._made[key] = out
        else:
            out[...] = made

    def image(self, spec: PixelSpec, size: Size, encoding: FrameEncoding) -> bytes:
        """Return the frame in a size as an image."""
        key = (spec, size, encoding)
        if key not in self._encoded:
            pixels = np.empty((*size, spec.channels), spec.dtype)
            self.write(spec, pixels)
            self._encoded[key] = encode_frame(pixels, encoding)
        return self._encoded[key]


class _Buffer(ABC):
    """The frames of a clip for one signature."""

    def __init__(self, signature: FrameExtractionSignature, positions: Positions) -> None:
        self.spec = PixelSpec.of(signature)
        self.is_deinterlaced = signature.deinterlace != "off"
        self.positions = positions
        unique, first, count = np.unique(positions, return_index=True, return_counts=True)
        self.slots = {
            position: slice(start, start + repeats)
            for position, start, repeats in zip(
                unique.tolist(), first.tolist(), count.tolist(), strict=True
            )
        }
        self._size: Size | None = None
        self._filled = np.zeros(len(positions), np.bool_)

    def put(self, position: int, frame: Converted, max_bytes: int) -> None:
        """Add a wanted frame. Every frame gets the size of the first."""
        if self._size is None:
            size = frame.size(self.spec)
            self._allocate(self._checked_shape(size, max_bytes))
            self._size = size
        slot = self.slots[position]
        self._fill(slot, frame, self._size)
        self._filled[slot] = True

    def finish(self) -> tuple[Pixels | EncodedFrames, Positions, tuple[int, ...]]:
        """Return the frames and positions that arrived, and the positions that are missing."""
        missing = tuple(np.unique(self.positions[~self._filled]).tolist())
        size = self._size or Size(0, 0)
        return self._content(size), self.positions[self._filled], missing

    def _checked_shape(self, size: Size, max_bytes: int) -> tuple[int, ...]:
        shape = (len(self.positions), *size, self.spec.channels)
        wanted = math.prod(shape) * np.dtype(self.spec.dtype).itemsize
        if wanted > max_bytes:
            message = (
                f"{shape[0]} frames of {size.width}x{size.height} take {wanted} bytes, and the "
            )
            message += f"limit is {max_bytes}; cut shorter clips, or ask for a lower rate or size"
            raise LimitExceededError(message)
        return shape

    @abstractmethod
    def _allocate(self, shape: tuple[int, ...]) -> None:
        """Prepare for frames of a shape: (n, height, width, channels)."""

    @abstractmethod
    def _fill(self, slot: slice, frame: Converted, size: Size) -> None:
        """Put a frame and its repeats in place."""

    @abstractmethod
    def _content(self, size: Size) -> Pixels | EncodedFrames:
        """Return the frames that arrived."""


class _PixelBuffer(_Buffer):
    """Frames as pixels."""

    _pixels: Pixels | None = None

    def _allocate(self, shape: tuple[int, ...]) -> None:
        self._pixels = np.empty(shape, self.spec.dtype)

    def _fill(self, slot: slice, frame: Converted, size: Size) -> None:
        first, *repeats = cast(Pixels, self._pixels)[slot]
        frame.write(self.spec, first)
        for repeat in repeats:
            repeat[...] = first

    def _content(self, size: Size) -> Pixels:
        if self._pixels is None:
            return np.empty((0, *size, self.spec.channels), self.spec.dtype)
        return self._pixels if self._filled.all() else self._pixels[self._filled]


class _ImageBuffer(_Buffer):
    """Frames as images. Each is encoded as it arrives, and its pixels are discarded."""

    def __init__(
        self, signature: FrameExtractionSignature, positions: Positions, encoding: FrameEncoding
    ) -> None:
        super().__init__(signature, positions)
        self._encoding = encoding
        self._images = [b""] * len(positions)

    def _allocate(self, shape: tuple[int, ...]) -> None:
        if excess := self._encoding.excess(*shape[1:3]):
            message = f"{excess}; ask for a smaller size, or another encoding"
            raise LimitExceededError(message)

    def _fill(self, slot: slice, frame: Converted, size: Size) -> None:
        image = frame.image(self.spec, size, self._encoding)
        self._images[slot] = [image] * (slot.stop - slot.start)

    def _content(self, size: Size) -> EncodedFrames:
        images = tuple(compress(self._images, self._filled.tolist()))
        return EncodedFrames(
            images,
            shape=(len(images), *size, self.spec.channels),
            dtype=np.dtype(self.spec.dtype).name,
            encoding=self._encoding,
            encoder=encoder_version(self._encoding.codec),
        )


def _buffer(signature: FrameExtractionSignature, positions: Positions) -> _Buffer:
    if signature.image_encoding is None:
        return _PixelBuffer(signature, positions)
    return _ImageBuffer(signature, positions, signature.image_encoding)


class ClipAssembler:
    """Collects the frames of one clip for every signature."""

    def __init__(
        self,
        index: PacketIndex,
        span: Span,
        signatures: Sequence[FrameExtractionSignature],
        limits: Limits,
    ) -> None:
        """Select the positions of each signature.

        Raises:
            NoFramesError: No frame is shown in the span.
            LimitExceededError: A signature asks for more frames than the limits allow.
        """
        part = index.within(span)
        rows = index.presentation[part]
        if not len(rows):
            raise NoFramesError(_no_frame_in(span, index))
        self._index = index
        self._limits = limits
        self._candidates = len(rows)
        self._signatures = tuple(signatures)
        pts, key_frame = index.pts[rows], index.key[rows]
        selected = [
            part.start
            + select_frames(
                signature,
                pts,
                index.time_base,
                key_frame=key_frame,
                max_frames=limits.max_frames,
            )
            for signature in signatures
        ]
        self.positions: Positions = np.unique(np.concatenate(selected))
        """Every wanted position, ascending."""
        self.to_deinterlace: frozenset[int] = frozenset().union(
            *(
                positions.tolist()
                for signature, positions in zip(signatures, selected, strict=True)
                if signature.deinterlace != "off"
            )
        )
        """Positions that a signature wants deinterlaced."""
        self._selected = selected
        self.reset()

    def reset(self) -> None:
        """Discard the frames so far."""
        self._filtered: dict[int, bool] = {}  # whether a neighbour did not decode, by position
        self._buffers = [
            _buffer(signature, positions)
            for signature, positions in zip(self._signatures, self._selected, strict=True)
        ]
        self.error: SourceError | None = None

    def last_row(self, *, with_neighbours: bool) -> int:
        """Return the largest row, in decode order, of a wanted frame.

        Args:
            with_neighbours: Include the frames that deinterlacing reads.
        """
        positions = self.positions.tolist()
        if with_neighbours:
            positions += neighbours(self.to_deinterlace, self._index.num_frames)
        return int(self._index.presentation[positions].max(initial=-1))

    def put_deinterlaced(self, frame: Deinterlaced, converted: Converted) -> None:
        """Add a wanted frame for the signatures that want it deinterlaced."""
        if frame.is_filtered:
            self._filtered[frame.position] = frame.lacks_neighbour
        self.put(frame.position, converted, deinterlaced=True)

    def put(self, position: int, frame: Converted, *, deinterlaced: bool = False) -> None:
        """Add a wanted frame. An error ends the clip, and `finish` returns it.

        Args:
            position: Position of the frame.
            frame: The frame.
            deinterlaced: Whether it is for the signatures that want it deinterlaced, or for the
                others.
        """
        if self.error is not None:
            return
        try:
            for buffer in self._buffers:
                if position in buffer.slots and buffer.is_deinterlaced == deinterlaced:
                    buffer.put(position, frame, self._limits.max_clip_bytes)
        except SourceError as error:
            self.error = error
        except MemoryError as error:
            self.error = LimitExceededError(f"there is not enough memory for its frames: {error}")
        except FFmpegError as error:
            self.error = UnsupportedSourceError(f"a frame cannot be converted: {error}")

    def finish(
        self, report: DecodeReport, *, is_suspect: Callable[[int], bool], complaint: str
    ) -> FramesBySignature | SourceError:
        """Return a batch per signature, or the error of the clip.

        A signature without a frame in the clip gets an empty batch, with or without other
        signatures.

        Args:
            report: Packets and frames decoded for the clip.
            is_suspect: Returns whether damage may affect the frame of a row.
            complaint: Text of the first fault; empty without one.
        """
        if self.error is not None:
            return self.error
        batches = {
            signature: self._batch(buffer, report, is_suspect, complaint)
            for signature, buffer in zip(self._signatures, self._buffers, strict=True)
        }
        if all(batch.outcome.missing and not len(batch) for batch in batches.values()):
            detail = f": {complaint}" if complaint else ""
            return NoFramesError(f"none of {len(self.positions)} wanted frames decodes{detail}")
        return batches

    def _batch(
        self,
        buffer: _Buffer,
        report: DecodeReport,
        is_suspect: Callable[[int], bool],
        complaint: str,
    ) -> FrameBatch:
        frames, positions, missing = buffer.finish()
        detail = "" if len(buffer.positions) else self._no_key_frame()
        rows = self._index.presentation[positions]
        read = self._is_filtered_suspect if buffer.is_deinterlaced else _reads_no_other
        corrupt = np.array(
            [
                is_suspect(row) or read(position, is_suspect)
                for row, position in zip(rows.tolist(), positions.tolist(), strict=True)
            ],
            np.bool_,
        )
        outcome = Outcome(
            decode=report,
            candidates=self._candidates,
            missing=missing,
            corrupt=tuple(np.unique(positions[corrupt]).tolist()),
            timestamps=self._index.timestamps,
            timestamps_detail=self._index.timestamps_detail,
            detail=complaint if missing or corrupt.any() else detail,
        )
        return FrameBatch.of(
            frames,
            pts=self._index.pts[rows],
            time_base=self._index.time_base,
            positions=positions,
            key_frame=self._index.key[rows],
            corrupt=corrupt,
            outcome=outcome,
            container_crop=self._index.container_crop,
            source=self._index.picture,
        )

    def _is_filtered_suspect(self, position: int, is_suspect: Callable[[int], bool]) -> bool:
        """Return whether a frame that deinterlacing read is damaged or missing."""
        if position not in self._filtered:
            return False
        read = neighbours([position], self._index.num_frames)
        rows = self._index.presentation[read].tolist()
        return self._filtered[position] or any(map(is_suspect, rows))

    def _no_key_frame(self) -> str:
        """Return the reason for an empty batch. Only the policy `keyframes` can select no frame."""
        return f"none of the {self._candidates} frames of the clip is a key frame"


def _reads_no_other(position: int, is_suspect: Callable[[int], bool]) -> bool:
    return False


def _no_frame_in(span: Span, index: PacketIndex) -> str:
    if not index.num_frames:
        return "the stream shows no frame at all"
    first, last = index.shown_pts[0], index.shown_pts[-1]
    start = "the start" if span.start is None else span.start
    stop = "the end" if span.stop is None else span.stop
    return f"no frame between {start} and {stop}; timestamps run from {first} to {last}"
