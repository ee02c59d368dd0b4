"""Clipping by shots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from frames_pipeline.clipping.base import check_limit, clip_between, extent
from frames_pipeline.clipping.detectors import HEIGHT, WIDTH, Detector, TransNetV2
from frames_pipeline.clipping.shot_rules import ShotRules, shots_between
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.clips import Clip
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media
from frames_pipeline.errors import SingleShotError, TooShortError


@dataclass(frozen=True, slots=True)
class Shots:
    """A clip per shot, or several for a long one, as in NeMo Curator's TransNetV2 stage."""

    detector: Detector = field(default_factory=TransNetV2)
    """Detector of transitions between shots."""
    rules: ShotRules = field(default_factory=ShotRules)
    """Rules from shots to clips."""
    entire_scene_as_clip: bool = True
    """Whether a video without a transition is one shot; if `False`, it gives no clip."""
    limit_clips: int = 0
    """Maximum number of clips per video; 0: no limit."""

    def __post_init__(self) -> None:
        """Check the limit."""
        check_limit(self.limit_clips)

    def check(self) -> None:
        self.detector.check()

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        _, end = extent(index)
        transitions = self.detector.find(stream_thumbnails(media, HEIGHT, WIDTH))
        if not transitions and not self.entire_scene_as_clip:
            message = "no transition was found, and entire_scene_as_clip is off"
            raise SingleShotError(message)
        times = [*index.shown_pts.tolist(), end]
        shots = [
            (times[first], times[stop])
            for first, stop in shots_between(index.num_frames, transitions)
        ]
        clips = self._clips(index, video_key, shots)
        if not clips:
            shortest, crop = float(self.rules.min_length_s), float(self.rules.crop_s)
            message = f"none of {len(shots)} shots gives a clip of {shortest:g} s, after "
            raise TooShortError(f"{message}{crop:g} s are cropped at each end")
        return clips

    def _clips(
        self, index: PacketIndex, video_key: str, shots: Iterable[tuple[int, int]]
    ) -> tuple[Clip, ...]:
        spans = self.rules.spans(shots, index.time_base)
        clips = [clip_between(index, video_key, *span) for span in spans]
        return tuple([clip for clip in clips if clip.num_frames][: self.limit_clips or None])
