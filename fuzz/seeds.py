"""Seed files to mutate: generated videos, corpus files if available, and playlists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from frames_pipeline import FramesPipelineError, probe
from tests.oracle import CORPUS
from tests.playlists import linked_matroska, playlists
from tests.videos import X264, make_video

_X265: Final = {"x265-params": "keyint=12:bframes=4:log-level=none:pools=none"}
_VPX: Final = {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}
_MADE: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("avc.mp4", "libx264", X264),
    ("fragmented.mp4", "libx264", X264),
    ("faststart.mp4", "libx264", X264),
    ("open-gop.mp4", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
    ("refresh.mp4", "libx264", {"x264-params": "keyint=12:intra-refresh=1:bframes=3"}),
    ("avc.mkv", "libx264", X264),
    ("avc.ts", "libx264", X264),
    ("avc.flv", "libx264", X264),
    ("raw.h264", "libx264", X264),
    ("hevc.mp4", "libx265", _X265),
    ("hevc.mkv", "libx265", _X265),
    ("vp9.webm", "libvpx-vp9", _VPX),
    ("vp8.webm", "libvpx", _VPX),
    ("av1.mp4", "libsvtav1", {"g": "12", "preset": "12", "svtav1-params": "lp=1"}),
    ("mpeg4.avi", "mpeg4", {"g": "12", "bf": "2"}),
    ("mpeg2.ts", "mpeg2video", {"g": "12", "bf": "2"}),
    ("mjpeg.avi", "mjpeg", {}),
    ("ffv1.mkv", "ffv1", {"g": "5"}),
)
_MOVFLAGS: Final = {"fragmented.mp4": "frag_keyframe+empty_moov", "faststart.mp4": "faststart"}
_LARGEST: Final = 200_000
"""Largest corpus file in bytes: in small files more damage hits headers, and they decode
quickly."""


class Seeds(NamedTuple):
    """Seed files that cases start from."""

    readable: list[Path]
    """Files with a video in a supported format."""
    others: list[Path]
    """Playlists, and files too damaged to be opened."""


def sorted_seeds(files: list[Path]) -> Seeds:
    """Split files into readable and other files, each in their original order."""
    readable = [path for path in files if _is_readable(path)]
    return Seeds(readable, [path for path in files if path not in readable])


def _is_readable(path: Path) -> bool:
    try:
        return probe(path).num_frames > 1
    except FramesPipelineError:
        return False


def make_seeds(folder: Path, folders: Sequence[str] = ("hard", "real")) -> list[Path]:
    """Return every seed file, in a stable order.

    Args:
        folder: Folder for generated videos.
        folders: Folders of the corpus to take files from.
    """
    made = [_make(folder / name, codec, options) for name, codec, options in _MADE]
    make_video(folder / "other.ts", options=X264)
    made.append(linked_matroska(folder / "linked.mkv", to="avc.mkv"))
    for name, text in playlists(folder, "127.0.0.1:9").items():
        (folder / name).write_bytes(text)
        made.append(folder / name)
    return made + [path for name in folders for path in _corpus(CORPUS / name)]


def _make(path: Path, codec: str, options: dict[str, str]) -> Path:
    flags = {"movflags": _MOVFLAGS[path.name]} if path.name in _MOVFLAGS else None
    return make_video(
        path,
        codec=codec,
        options=options,
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
        size=(96, 128),
        container_options=flags,
    )


def _corpus(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.*")) if folder.is_dir() else []
    return [p for p in files if p.suffix != ".tsv" and 0 < p.stat().st_size < _LARGEST]
