"""Measure quality and cost of shot detection: the tables of docs/measurements/shots.md.

    python -m benchmarks.cuts ../shared/corpus/cuts --footage ../shared/corpus/real

The folder has videos and a CUTS.json with their cuts and transitions. The footage has shots for
larger videos (`benchmarks.transitions`). A cut is right if the first frame of the new shot is found
to a frame; a dissolve or fade, if a boundary is found in it or a frame beside it. Every boundary
counts for one transition, and every further one is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.transitions import KINDS, compose
from frames_pipeline.clipping.detectors import HEIGHT, WIDTH, Pixels, PySceneDetect, TransNetV2
from frames_pipeline.clipping.shot_rules import Transition
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.container.media import open_media

TOLERANCE: Final = 1
"""Allowed error of a boundary, in frames."""
THRESHOLDS: Final = (0.4, 0.3, 0.2, 0.5)
"""Thresholds of TransNetV2; the first is the default."""


class Score(NamedTuple):
    """Counts of right, found and actual boundaries."""

    right: int
    """Found boundaries that are right."""
    found: int
    """Found boundaries."""
    there: int
    """Actual boundaries."""

    @property
    def precision(self) -> float:
        """Right boundaries per found one."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Right boundaries per actual one."""
        return self.right / self.there if self.there else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / (self.found + self.there) if self.found + self.there else 1.0

    def __str__(self) -> str:
        if not self.there:
            return f"{self.found} wrong"
        return f"{self.f1:.3f} (P {self.precision:.2f}, R {self.recall:.2f})"


class Cost(NamedTuple):
    """Costs of a detector for all videos, in its own process."""

    cpu_s_per_minute: float
    """CPU seconds per minute of video, decoding included."""
    peak_mib: float
    """Peak resident memory."""


def boundaries_there(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the ranges, both ends included, allowed for the first frame of each new shot."""
    cuts = [(cut, cut) for cut in facts.get("cuts_first_frame_of_new_shot", ())]
    gradual = [(first, last + 1) for first, last in facts.get("transitions_first_last_frame", ())]
    return [(first - TOLERANCE, last + TOLERANCE) for first, last in cuts + gradual]


def score(transitions: Iterable[Transition], there: Sequence[tuple[int, int]]) -> Score:
    """Match found and actual boundaries, one to one."""
    found = sorted(transition.stop for transition in transitions)
    free = list(found)
    right = 0
    for first, last in sorted(there, key=lambda window: window[1]):
        inside = [position for position in free if first <= position <= last]
        if inside:
            free.remove(inside[0])
            right += 1
    return Score(right, len(found), len(there))


Scores = dict[str, dict[str, Score]]
"""Scores by a detector's setting and by video."""


class Look(NamedTuple):
    """A detector that analyses a video once and decides by any of its settings."""

    at: Callable[[Iterable[Pixels]], Any]
    """Analyses the frames of a video."""
    decide: dict[str, Callable[[Any], list[Transition]]]
    """Functions from the analysis to transitions, by setting, the default first."""


def look_of(detector: str) -> Look:
    """Return the detector of that name."""
    if detector == "pyscenedetect":
        colours = PySceneDetect()
        return Look(colours.find, {f"pyscenedetect {colours.threshold:g}": lambda found: found})
    return Look(
        TransNetV2().look,
        {
            f"transnetv2 {threshold}{'' if refine else ', alone'}": TransNetV2(
                threshold, refine
            ).decide
            for refine in (True, False)
            for threshold in THRESHOLDS
        },
    )


def score_folder(detector: str, folder: Path) -> tuple[Scores, Cost]:
    """Return a detector's scores on the videos of a folder, and its costs."""
    look, facts = look_of(detector), facts_of(folder)
    scores: Scores = {setting: {} for setting in look.decide}
    seconds, since = 0.0, 0.0
    for number, video in enumerate([next(iter(facts)), *facts]):
        if number == 1:
            since = time.process_time()  # libraries are loaded by now
        with open_media(folder / video) as media:
            seen = look.at(stream_thumbnails(media, HEIGHT, WIDTH))
            seconds += media.index.duration_seconds if number else 0
        for setting, decide in look.decide.items():
            scores[setting][video] = score(decide(seen), boundaries_there(facts[video]))
    cpu = (time.process_time() - since) / seconds * 60
    return scores, Cost(cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def score_composed(detector: str, footage: Path, seeds: Sequence[int]) -> Scores:
    """Return a detector's scores on videos composed of shots, all seeds together."""
    look = look_of(detector)
    scores: Scores = {setting: {} for setting in look.decide}
    for kind, seed in itertools.product(KINDS, seeds):
        frames, facts = compose(kind, seed, footage)
        print(f"{detector} looks at {kind} of seed {seed}", file=sys.stderr, flush=True)
        seen = look.at(iter(frames))
        for setting, decide in look.decide.items():
            one = score(decide(seen), boundaries_there(facts))
            total = scores[setting].get(kind, Score(0, 0, 0))
            scores[setting][kind] = Score(*(a + b for a, b in zip(total, one, strict=True)))
    return scores


def facts_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the facts about each video."""
    facts: dict[str, dict[str, Any]] = json.loads((folder / "CUTS.json").read_text())
    return facts


def print_scores(scores: Scores) -> None:
    """Print a table, with the number of actual boundaries in its second row."""
    there = {video: str(one.there) for video, one in next(iter(scores.values())).items()}
    print("| detector, threshold | " + " | ".join(f"`{video}`" for video in there) + " |")
    print("|---|" + "---|" * len(there))
    print("| | " + " | ".join(there.values()) + " |")
    for setting, videos in scores.items():
        print(f"| {setting} | " + " | ".join(map(str, videos.values())) + " |")
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuts", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--footage", type=Path, help="Folder of videos to compose larger ones from."
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[5, 6], help="Seeds; one set of videos each."
    )
    arguments = parser.parse_args()
    in_folder: Scores = {}
    in_composed: Scores = {}
    costs = {}
    context = multiprocessing.get_context("spawn")
    for name in ("transnetv2", "pyscenedetect"):
        with context.Pool(1) as pool:
            scores, costs[name] = pool.apply(score_folder, (name, arguments.folder))
            in_folder |= scores
            if arguments.footage:
                wanted = (name, arguments.footage, arguments.seeds)
                in_composed |= pool.apply(score_composed, wanted)
    for table in filter(None, (in_folder, in_composed)):
        print_scores(table)
    print("| detector | CPU s per minute of video | peak memory, MiB |\n|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.cpu_s_per_minute:.1f} | {cost.peak_mib:.0f} |")


if __name__ == "__main__":
    main()
