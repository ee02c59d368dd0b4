"""Ways to choose the clips of a video: whole, by a fixed stride, by shots.

Clipping by stride reads headers alone. Clipping by shots decodes every frame once.

    video     |0 s ··············································· 25 s|
    whole     [--------------------------------------------------------)
    stride    [---- 10 s ----)[---- 10 s ----)[---- 5 s ---)
    shots      [- shot -) [------ shot, at most 10 s ------)   [- shot -)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_names

if TYPE_CHECKING:
    from frames_pipeline.clipping.base import Clipping
    from frames_pipeline.clipping.detectors import DETECTORS
    from frames_pipeline.clipping.shot_rules import ShotRules
    from frames_pipeline.clipping.shots import Shots
    from frames_pipeline.clipping.stride import FixedStride
    from frames_pipeline.clipping.whole import WholeVideo


__all__ = ["DETECTORS", "Clipping", "FixedStride", "ShotRules", "Shots", "WholeVideo"]

_HOMES: Final = {
    "base": ("Clipping",),
    "detectors": ("DETECTORS",),
    "shot_rules": ("ShotRules",),
    "shots": ("Shots",),
    "stride": ("FixedStride",),
    "whole": ("WholeVideo",),
}

__getattr__ = lazy_names(__name__, _HOMES)
