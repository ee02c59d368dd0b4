"""Clips: spans of a video, and the ways to cut one into them.

A clip is a span, not a file. To cut by stride reads headers and costs nothing; to cut by shots
decodes every frame once.

    video     |0 s ··············································· 25 s|
    whole     [--------------------------------------------------------)
    stride    [---- 10 s ----)[---- 10 s ----)[---- 5 s ---)
    shots      [- shot -) [------ shot, at most 10 s ------)   [- shot -)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from frames_pipeline.clipping.detectors import HEIGHT, WIDTH, Detector, TransNetV2
from frames_pipeline.clipping.shot_rules import Seconds, ShotRules, shots_between
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media
from frames_pipeline.errors import (
    ConfigError,
    NoFramesError,
    SingleShotError,
    SourceChangedError,
    TooShortError,
)
from frames_pipeline.signature import as_rate


@dataclass(frozen=True, slots=True)
class Clip:
    """A half-open span of one video, [start, stop), in pts."""

    video_key: str
    """Which video: its path relative to the source's root."""
    start: int
    """First timestamp inside, in `time_base` units."""
    stop: int
    """First timestamp after, in `time_base` units."""
    time_base: Fraction
    """Seconds per unit."""
    num_frames: int
    """Shown frames inside."""

    @property
    def clip_id(self) -> str:
        """What identifies the clip within a batch."""
        return f"{self.video_key}#{self.start}-{self.stop}"

    @property
    def start_seconds(self) -> float:
        """Where the clip starts on the video's own clock."""
        return float(self.start * self.time_base)

    @property
    def duration_seconds(self) -> float:
        """How long it is."""
        return float((self.stop - self.start) * self.time_base)


def video_key(clip_id: str) -> str:
    """The video of a clip: the id without the span that `Clip.clip_id` adds, if it has one.

    >>> video_key("trips/day 1.mp4#0-96000"), video_key("mine")
    ('trips/day 1.mp4', 'mine')
    """
    key, separator, span = clip_id.rpartition("#")
    start, _, stop = span.removeprefix("-").partition("-")
    is_span = bool(separator) and start.isdigit() and stop.removeprefix("-").isdigit()
    return key if is_span else clip_id


def check_clock(clip: Clip, index: PacketIndex) -> None:
    """Make sure that a clip's span is in the units in which its video is read.

    Raises:
        SourceChangedError: It is not: an earlier version counted the video's frames, or did not.
    """
    if clip.time_base != index.time_base:
        message = f"{clip.clip_id} was cut in units of {clip.time_base} s, and the timestamps of "
        message += f"its video are in units of {index.time_base} s; make the clips again"
        raise SourceChangedError(message)


class Cutting(Protocol):
    """A way to cut a video into clips. Its fields identify the clips it gives."""

    def check(self) -> None:
        """Make sure that it can be done here.

        Raises:
            ConfigError: It needs something that is not installed.
        """

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        """The clips of a video, by time.

        Raises:
            NoFramesError: The video shows no frame, or none that decodes where it has to be.
            SingleShotError: It is one shot, and only videos of several are wanted.
            TooShortError: None of its clips is long enough.
        """


@dataclass(frozen=True, slots=True)
class WholeVideo:
    """One clip: the whole video."""

    def check(self) -> None:
        """Nothing is needed."""

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        start, stop = _extent(index)
        return (_clip(index, video_key, start, stop),)


@dataclass(frozen=True, slots=True)
class FixedStride:
    """A clip of the same length at every stride, as NeMo Curator's fixed-stride stage cuts."""

    clip_len_s: Seconds = 10
    """Seconds of a clip."""
    clip_stride_s: Seconds = 10
    """Seconds from the start of one clip to the start of the next."""
    min_clip_length_s: Seconds = 2
    """Seconds below which the last, shorter clips are left out."""
    limit_clips: int = 0
    """The most clips per video; 0: all."""

    def __post_init__(self) -> None:
        """Take every length exactly as it is written."""
        for name in ("clip_len_s", "clip_stride_s"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.min_clip_length_s:
            shortest = _seconds("min_clip_length_s", self.min_clip_length_s)
            object.__setattr__(self, "min_clip_length_s", shortest)
        _check_limit(self.limit_clips)

    def check(self) -> None:
        """Nothing is needed."""

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        start, stop = _extent(index)
        length, stride, shortest = (
            Fraction(seconds) / index.time_base
            for seconds in (self.clip_len_s, self.clip_stride_s, self.min_clip_length_s)
        )
        clips: list[Clip] = []
        for number in range(math.ceil((stop - start) / stride)):
            if len(clips) == self.limit_clips > 0:
                break
            begin = start + number * stride
            end = min(begin + length, Fraction(stop))
            clip = _clip(index, video_key, math.ceil(begin), math.ceil(end))
            if end - begin >= shortest and clip.num_frames:
                clips.append(clip)
        if not clips:
            seconds = float((stop - start) * index.time_base)
            message = f"{seconds:.3f} s long, and clips have at least {self.min_clip_length_s} s"
            raise TooShortError(message)
        return tuple(clips)


@dataclass(frozen=True, slots=True)
class Shots:
    """A clip for every shot, or several for a long one, as NeMo Curator's TransNetV2 stage cuts."""

    detector: Detector = field(default_factory=TransNetV2)
    """What finds the transitions between shots."""
    rules: ShotRules = field(default_factory=ShotRules)
    """How shots become clips."""
    entire_scene_as_clip: bool = True
    """Whether a video without a transition is a shot, or gives no clip."""
    limit_clips: int = 0
    """The most clips per video; 0: all."""

    def __post_init__(self) -> None:
        """Refuse a limit below zero."""
        _check_limit(self.limit_clips)

    def check(self) -> None:
        self.detector.check()

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        _, end = _extent(index)
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
        clips = [_clip(index, video_key, *span) for span in spans]
        return tuple([clip for clip in clips if clip.num_frames][: self.limit_clips or None])


def _seconds(name: str, value: Seconds) -> Fraction:
    try:
        return as_rate(value)
    except ConfigError as error:
        message = f"{name}={value!r} must be a number of seconds above zero"
        raise ConfigError(message) from error


def _check_limit(limit_clips: int) -> None:
    if limit_clips < 0:
        message = f"limit_clips={limit_clips} must be 0, for all clips, or above"
        raise ConfigError(message)


def _extent(index: PacketIndex) -> tuple[int, int]:
    """First timestamp of a video, and the first after it."""
    if not index.num_frames:
        message = "the video shows no frame at all"
        raise NoFramesError(message)
    pts = index.shown_pts
    return int(pts[0]), int(pts[-1]) + max(index.last_duration, 1)


def _clip(index: PacketIndex, video_key: str, start: int, stop: int) -> Clip:
    first, last = np.searchsorted(index.shown_pts, (start, stop))
    return Clip(video_key, start, stop, index.time_base, int(last - first))
