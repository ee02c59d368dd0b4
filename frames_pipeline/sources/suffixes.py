"""Suffixes by which files are videos."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from frames_pipeline.errors import ConfigError

SUFFIXES: Final = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
    ".flv", ".wmv", ".ogv", ".3gp", ".mxf",
    ".3g2", ".3gpp", ".264", ".265", ".apng", ".asf", ".divx", ".f4v", ".gif", ".h264", ".h265",
    ".hevc", ".ivf", ".m1v", ".m2t", ".m2v", ".m4s", ".mj2", ".mpe", ".mpv", ".obu", ".ogm", ".qt",
    ".vob",
)  # fmt: skip
"""Suffixes of video files, in any case. `container.media.FORMATS` opens all of them."""


def checked_suffixes(suffixes: Iterable[str]) -> tuple[str, ...]:
    """Return the suffixes in lower case, without duplicates.

    Raises:
        ConfigError: The list is empty, or a suffix does not begin with a dot.
    """
    found = tuple(dict.fromkeys(suffix.lower() for suffix in suffixes))
    wrong = [suffix for suffix in found if not suffix.startswith(".") or len(suffix) < 2]
    if wrong or not found:
        message = f"suffixes {list(found)} must be a list such as ['.mp4'], each with its dot"
        raise ConfigError(message)
    return found
