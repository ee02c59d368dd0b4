"""`make demo`, on a folder of one's own: the first thing that anyone runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.videos import X264, make_video

DEMO = Path("examples/demo.py").absolute()


@pytest.mark.live
def test_the_demo_runs_twice_and_decodes_once(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "a.mp4", frames=75, options=X264)
    command: list[str | Path] = [
        sys.executable,
        DEMO,
        "--data",
        tmp_path / "data",
        "--videos",
        tmp_path / "videos",
    ]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)
    )
    assert first.returncode == 0, first.stdout + first.stderr
    for asset in ("videos", "clips", "clip_frames/embeddings", "frame_quality", "clip_catalog"):
        assert asset in first.stdout
    assert "Nothing was decoded" not in first.stdout
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Nothing was decoded" in second.stdout
    assert list((tmp_path / "data").glob("contact-sheet-*.jpg"))
