"""Frames of videos that are in no batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from frames_pipeline import ConfigError, FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.pipeline import extract_uris
from tests.pipeline.conftest import ONE
from tests.videos import numbers_in

MIDDLE = FrameExtractionSignature(policy="middle")


@pytest.fixture
def uris(footage: list[Path], tmp_path: Path) -> list[str]:
    """Three of one folder, and one of another."""
    (tmp_path / "else").mkdir()
    elsewhere = tmp_path / "else" / "d.mp4"
    elsewhere.write_bytes(footage[3].read_bytes())
    return [*map(str, footage[:3]), str(elsewhere)]


def test_each_folder_is_a_batch_beside_all_others(tmp_path: Path, uris: list[str]) -> None:
    found = extract_uris(uris, [MIDDLE], str(tmp_path / "root"), workers=ONE)

    middles = {}
    for workspace, reports in found:
        manifest = reports[MIDDLE].manifest
        for clip in manifest.clips:
            batch = workspace.store.read(manifest.batch_key, MIDDLE, clip)
            middles[f"{workspace.source.url}/{clip.partition('#')[0]}"] = numbers_in(batch.frames)
    assert middles == dict(zip(uris, [[24], [124], [224], [324]], strict=True))
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["adhoc"]


def test_what_was_done_is_not_done_again(tmp_path: Path, uris: list[str]) -> None:
    root = str(tmp_path / "root")
    first = extract_uris(uris, [MIDDLE], root, workers=ONE)
    again = extract_uris(reversed(uris), [MIDDLE], root, workers=ONE)
    assert [report.frames[MIDDLE].extracted for report in first] == [3, 1]
    assert sorted(report.frames[MIDDLE].extracted for report in again) == [0, 0]


def test_videos_can_be_cut(tmp_path: Path, uris: list[str]) -> None:
    (found,) = extract_uris(
        uris[:1], [MIDDLE], str(tmp_path / "root"), clipping=FixedStride(1, 1, 0), workers=ONE
    )
    assert len(found.frames[MIDDLE].manifest.clips) == 2


def test_what_is_not_there_is_an_outcome(tmp_path: Path, uris: list[str]) -> None:
    (found,) = extract_uris(
        [uris[0], f"{uris[0]}.gone.mp4"], [MIDDLE], str(tmp_path / "root"), workers=ONE
    )
    rows = found.frames[MIDDLE].outcomes.to_pylist()
    assert [(row["status"], row["reason"]) for row in rows] == [("ok", ""), ("failed", "not_found")]


@pytest.mark.parametrize(("uris", "match"), [([], "no URI"), (["/a/"], "names no file")])
def test_nothing_to_do(tmp_path: Path, uris: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        extract_uris(uris, [MIDDLE], str(tmp_path))
