"""Open a video of a source. A remote video is copied onto this machine first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media, open_media
from frames_pipeline.sources.videos import Video, VideoSource


@contextlib.contextmanager
def open_video(
    source: VideoSource, video: Video, limits: Limits, *, fresh: bool = False
) -> Iterator[Media]:
    """Open a video of a source, for the time of a `with` block.

    Args:
        source: The source.
        video: The video, as it was listed.
        limits: Resource limits for one source.
        fresh: Copy a remote video again, even if there is a copy of it.

    Raises:
        SourceError: The video is missing, has changed, or cannot be read.
        TransientError: The source cannot be reached.
    """
    with (
        source.staged(video, max_bytes=limits.max_file_bytes, fresh=fresh) as path,
        open_media(path, limits) as media,
    ):
        yield media
