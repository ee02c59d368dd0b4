"""The protocol of a clipping, and the arithmetic that its implementations share."""

from __future__ import annotations

from typing import Protocol

from frames_pipeline.clips import Clip, Span
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media
from frames_pipeline.errors import ConfigError, NoFramesError


class Clipping(Protocol):
    """A way to choose the clips of a video. Its fields identify the clips it gives."""

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


def extent(index: PacketIndex) -> tuple[int, int]:
    """Return the first timestamp of a video, and the first after it.

    Raises:
        NoFramesError: The video shows no frame.
    """
    if not index.num_frames:
        message = "the video shows no frame at all"
        raise NoFramesError(message)
    pts = index.shown_pts
    return int(pts[0]), int(pts[-1]) + max(index.last_duration, 1)


def clip_between(index: PacketIndex, video_key: str, start: int, stop: int) -> Clip:
    """Return the clip [start, stop) of a video, in the index's `time_base` units."""
    shown = index.within(Span(start, stop))
    return Clip(video_key, start, stop, index.time_base, shown.stop - shown.start)


def check_limit(limit_clips: int) -> None:
    """Make sure that a number of clips can be a limit.

    Raises:
        ConfigError: It is below 0.
    """
    if limit_clips < 0:
        message = f"limit_clips={limit_clips} must be 0, for all clips, or above"
        raise ConfigError(message)
