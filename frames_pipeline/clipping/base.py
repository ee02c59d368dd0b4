"""The protocol of a clipping, with arithmetic that its implementations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from frames_pipeline.clips import Clip, Span
from frames_pipeline.errors import ConfigError, NoFramesError

if TYPE_CHECKING:
    from frames_pipeline.container.index import PacketIndex
    from frames_pipeline.container.media import Media


class Clipping(Protocol):
    """A way to choose the clips of a video. Its fields identify the clips it gives."""

    def check(self) -> None:
        """Check that its libraries are installed.

        Raises:
            ConfigError: A library is missing.
        """

    def cut(self, media: Media, video_key: str) -> tuple[Clip, ...]:
        """Return the clips of a video in order of time.

        Raises:
            NoFramesError: The video shows no frame, or clipping needs decoding and no frame
                decodes.
            SingleShotError: The video is a single shot, and `entire_scene_as_clip` is off.
            TooShortError: No clip is long enough.
        """


def extent(index: PacketIndex) -> tuple[int, int]:
    """Return the first timestamp of a video, and the timestamp at which it ends.

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
    """Check a limit on the number of clips.

    Raises:
        ConfigError: The limit is below 0.
    """
    if limit_clips < 0:
        message = f"limit_clips={limit_clips} must be 0, for all clips, or above"
        raise ConfigError(message)
