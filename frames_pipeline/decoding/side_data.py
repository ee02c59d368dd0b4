"""Side data of a decoded frame, by FFmpeg's name of its kind."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame


def side_data(frame: VideoFrame, kind: str) -> bytes | None:
    """Return the bytes of one kind, such as `DISPLAYMATRIX`; `None` without it.

    Avoids `frame.side_data`: frame and side data would keep each other in memory until the next
    garbage collection, up to hundreds of frames later.
    """
    found = SideDataContainer.__new__(SideDataContainer)
    with contextlib.suppress(ValueError):  # a kind that PyAV does not know (EXIF) ends its list
        cast(Any, found).__init__(frame)
    data = found.get(kind)
    return None if data is None else bytes(cast(bytes, data))
