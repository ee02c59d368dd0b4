"""Scenarios: the videos and frames to measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.footage import footage
from frames_pipeline import FrameExtractionSignature

Span = tuple[int, int] | None
"""Seconds [start, end) of a clip; `None` for the whole video."""

SMALL: Final = (224, 224)
NATIVE: Final = None
_SEQUENTIAL: Final = frozenset({"OpenCV", "PyAV"})
_PLAIN: Final = frozenset({"PyAV"})
_SLOW: Final = frozenset({"decord", "torchcodec exact"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """Frames to extract from a video in one call."""

    name: str
    """Name on the command line."""
    file: str
    """A ten-second video of the corpus."""
    signatures: tuple[FrameExtractionSignature, ...]
    loops: int = 1
    """Number of times that the video is looped."""
    spans: tuple[Span, ...] = (None,)
    """The clips."""
    too_long_for: frozenset[str] = frozenset()
    """Tools to leave out: they decode from the start, which would take minutes."""
    most_rounds: int = 100
    """Maximum number of rounds."""

    def path(self, cache: Path) -> Path:
        """Return the video's path; make it if needed."""
        return footage(self.file, loops=self.loops, cache=cache)

    def suits(self, tool: str) -> bool:
        """Return whether to run a tool."""
        return tool not in self.too_long_for


def _at(
    *rates: float | str, size: tuple[int, int] | None = SMALL
) -> tuple[FrameExtractionSignature, ...]:
    return tuple(FrameExtractionSignature(target_fps=rate, target_res=size) for rate in rates)


def _one(policy: str) -> tuple[FrameExtractionSignature, ...]:
    return (FrameExtractionSignature(policy=policy, target_res=SMALL),)


def _scenarios() -> Iterator[Scenario]:
    g250, g30 = "h264_720_g250.mp4", "h264_720_g30.mp4"
    yield Scenario("h264-720-g250", g250, _at(2))
    yield Scenario("h264-720-g250-native", g250, _at(2, size=NATIVE))
    yield Scenario("h264-720-g250-rates", g250, _at(1, 2, 5))
    yield Scenario("h264-720-g250-first", g250, _one("first"))
    yield Scenario("h264-720-g250-middle", g250, _one("middle"))
    yield Scenario("h264-720-g250-last", g250, _one("last"))
    yield Scenario("h264-1080-g250", "h264_1080_g250.mp4", _at(2))
    yield Scenario("h264-1080-g250-native", "h264_1080_g250.mp4", _at(2, size=NATIVE))
    yield Scenario("h264-720-g30-sparse", g30, _at("1/2"))
    yield Scenario("h264-720-g30", g30, _at(2))
    yield Scenario("h264-720-g12", "h264_720_g12.mp4", _at(2))
    yield Scenario("h264-720-nobf", "h264_720_nobf_g60.mp4", _at(2))
    yield Scenario("hevc-720", "hevc_720.mp4", _at(2))
    yield Scenario("av1-720", "av1_720.mp4", _at(2))
    yield Scenario("vp9-720", "vp9_720.webm", _at(2))
    for policy in ("first", "middle", "last"):
        yield Scenario(f"5min-{policy}", g30, _one(policy), loops=30, too_long_for=_PLAIN)
    yield Scenario("5min-sparse", g30, _at("1/2"), loops=30, too_long_for=_SEQUENTIAL)
    yield Scenario(
        "10min-1080",
        "h264_1080_g250.mp4",
        _at(2),
        loops=60,
        too_long_for=_SEQUENTIAL | _SLOW,
        most_rounds=0,
    )
    yield Scenario(
        "hour-60-clips",
        g30,
        _at(1, 2),
        loops=360,
        spans=tuple((60 * minute + 20, 60 * minute + 30) for minute in range(60)),
        too_long_for=_SEQUENTIAL | _SLOW,
        most_rounds=1,
    )


SCENARIOS: Final = {scenario.name: scenario for scenario in _scenarios()}
