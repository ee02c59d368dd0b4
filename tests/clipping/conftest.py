"""A video to be clipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from frames_pipeline.container.media import Media, open_media


@pytest.fixture(scope="module")
def media(video_25s: Path) -> Iterator[Media]:
    """125 frames in 25 s."""
    with open_media(video_25s) as opened:
        yield opened
