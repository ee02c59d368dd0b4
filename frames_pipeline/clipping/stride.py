"""Clipping by a fixed stride."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from frames_pipeline.clipping.base import check_limit, clip_between, extent
from frames_pipeline.clips import Clip
from frames_pipeline.errors import ConfigError, TooShortError
from frames_pipeline.sampling import as_rate

if TYPE_CHECKING:
    from frames_pipeline.clipping.shot_rules import Seconds
    from frames_pipeline.container.media import Media


@dataclass(frozen=True, slots=True)
class FixedStride:
    """Clips of one length, a stride apart, as in NeMo Curator's fixed-stride stage."""

    clip_len_s: Seconds = 10
    """Length of a clip in seconds."""
    clip_stride_s: Seconds = 10
    """Seconds from the start of one clip to the start of the next."""
    min_clip_length_s: Seconds = 2
    """Seconds below which a shorter clip at the end is left out."""
    limit_clips: int = 0
    """Maximum number of clips per video; 0: no limit."""

    def __post_init__(self) -> None:
        """Convert lengths to exact numbers, and check them."""
        for name in ("clip_len_s", "clip_stride_s"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.min_clip_length_s:
            shortest = _seconds("min_clip_length_s", self.min_clip_length_s)
            object.__setattr__(self, "min_clip_length_s", shortest)
        check_limit(self.limit_clips)

    def check(self) -> None:
        """Do nothing: this clipping needs no library."""

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        index = media.index
        start, stop = extent(index)
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
            clip = clip_between(index, video_key, math.ceil(begin), math.ceil(end))
            if end - begin >= shortest and clip.num_frames:
                clips.append(clip)
        if not clips:
            seconds = float((stop - start) * index.time_base)
            message = f"{seconds:.3f} s long, and clips have at least {self.min_clip_length_s} s"
            raise TooShortError(message)
        return tuple(clips)


def _seconds(name: str, value: Seconds) -> Fraction:
    try:
        return as_rate(value)
    except ConfigError as error:
        message = f"{name}={value!r} must be a number of seconds above zero"
        raise ConfigError(message) from error
