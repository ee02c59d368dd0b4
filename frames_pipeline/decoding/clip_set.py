"""Clips that are decoded together, and the route of each frame to the clips that contain it.

See the figure in `assembly`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from av.video.frame import VideoFrame

from frames_pipeline.clips import Span
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.assembly import ClipAssembler, Converted, FramesBySignature
from frames_pipeline.decoding.convert import Converter
from frames_pipeline.decoding.plan import Rows
from frames_pipeline.decoding.row_decode import RowDecode
from frames_pipeline.errors import SourceError
from frames_pipeline.signature import FrameExtractionSignature


class ClipSet:
    """The clips of a video that share one decode pass. Each leaves the set when it is done."""

    def __init__(
        self, media: Media, spans: Sequence[Span], signatures: Sequence[FrameExtractionSignature]
    ) -> None:
        """Select the frames of each clip for each signature."""
        self._media = media
        self._converter = Converter(media.name, media.container_crop)
        self._clips: dict[int, ClipAssembler] = {}
        self.empty: list[tuple[int, SourceError]] = []
        """Numbers of the spans without a clip, each with its error."""
        for number, span in enumerate(spans):
            try:
                clip = ClipAssembler(media.index, span, signatures, media.limits)
            except SourceError as error:
                self.empty.append((number, error))
            else:
                self._clips[number] = clip
        self._wanted_by = self._find_wanted()

    def _find_wanted(self) -> dict[int, list[tuple[int, int]]]:
        """Return the position and clip number of each use of a wanted row, by row."""
        wanted_by: dict[int, list[tuple[int, int]]] = {}
        for number, clip in self._clips.items():
            rows = self._media.index.presentation[clip.positions].tolist()
            for row, position in zip(rows, clip.positions.tolist(), strict=True):
                wanted_by.setdefault(row, []).append((position, number))
        return wanted_by

    @property
    def rows(self) -> Rows:
        """Rows of all wanted frames, ascending."""
        return np.array(sorted(self._wanted_by), np.int64)

    def reset(self) -> None:
        """Discard the frames of unfinished clips."""
        self._converter = Converter(self._media.name, self._media.container_crop)
        for clip in self._clips.values():
            clip.reset()

    def put(self, row: int, frame: VideoFrame) -> None:
        """Convert a frame for each clip that contains it."""
        if wanted_by := self._wanted_by.get(row):
            converted = Converted(frame, self._converter)
            for position, number in wanted_by:
                if number in self._clips:
                    self._clips[number].put(position, converted)

    def finish(
        self, before: int, decode: RowDecode
    ) -> Iterator[tuple[int, FramesBySignature | SourceError]]:
        """Yield the clips that need no row from this one on, by number, with their batches."""
        for number in [number for number, clip in self._clips.items() if clip.last_row < before]:
            result = self._clips.pop(number).finish(
                decode.report(before), is_suspect=decode.is_suspect, complaint=decode.complaint
            )
            yield number, result
