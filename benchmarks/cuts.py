"""How well shot boundaries are found, and what it costs: the tables of docs/cutting.md.

    python -m benchmarks.cuts ../shared/corpus/cuts

The folder has videos and a CUTS.json that says where their cuts and transitions are. A cut is
right if the first frame of the new shot is found to a frame; a dissolve or fade, if a boundary is
found in it, or a frame beside it. Every boundary counts for one transition, and every further one
is wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from frames_pipeline.detectors import HEIGHT, WIDTH, PySceneDetect, TransNetV2
from frames_pipeline.media import open_media
from frames_pipeline.shots import Transition, transitions_in
from frames_pipeline.thumbnails import stream_thumbnails

TOLERANCE: Final = 1
"""Frames by which a boundary may be off."""
THRESHOLDS: Final = (0.4, 0.3, 0.2, 0.5)
"""Of TransNetV2; the first is the default."""


class Score(NamedTuple):
    """What was found of what there is."""

    right: int
    """Boundaries that are right."""
    found: int
    """Boundaries that were found."""
    there: int
    """Boundaries that there are."""

    @property
    def precision(self) -> float:
        """Right of found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Found of those there are."""
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
    """What a detector took for all videos, in a process of its own."""

    cpu_s_per_minute: float
    """Processor seconds per minute of video, decoding included."""
    peak_mib: float
    """Most memory that was resident."""


def boundaries_there(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The positions, both included, at which the first frame of each new shot may be found."""
    cuts = [(cut, cut) for cut in facts.get("cuts_first_frame_of_new_shot", ())]
    gradual = [(first, last + 1) for first, last in facts.get("transitions_first_last_frame", ())]
    return [(first - TOLERANCE, last + TOLERANCE) for first, last in cuts + gradual]


def score(transitions: Iterable[Transition], there: Sequence[tuple[int, int]]) -> Score:
    """Match what was found with what there is, one to one."""
    found = sorted(transition.stop for transition in transitions)
    free = list(found)
    right = 0
    for first, last in sorted(there, key=lambda window: window[1]):
        inside = [position for position in free if first <= position <= last]
        if inside:
            free.remove(inside[0])
            right += 1
    return Score(right, len(found), len(there))


def find_all(name: str, folder: Path) -> tuple[dict[str, dict[str, list[Transition]]], Cost]:
    """The transitions of every video by setting of a detector, and what they cost."""
    found: dict[str, dict[str, list[Transition]]] = {}
    seconds, since = 0.0, 0.0
    for number, video in enumerate(["warm-up", *facts_of(folder)]):
        path = folder / (video if number else next(iter(facts_of(folder))))
        with open_media(path) as media:
            frames = stream_thumbnails(media, HEIGHT, WIDTH)
            if name == "transnetv2":
                told = TransNetV2().probabilities(frames)
                here = {f"{name} {t}": transitions_in(told, t) for t in THRESHOLDS}
            else:
                here = {f"{name} {PySceneDetect().threshold:g}": PySceneDetect().find(frames)}
            if not number:
                since = time.process_time()  # libraries are loaded
                continue
            seconds += media.index.duration_seconds
        for setting, transitions in here.items():
            found.setdefault(setting, {})[video] = transitions
    cpu = (time.process_time() - since) / seconds * 60
    return found, Cost(cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def facts_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known of each video."""
    facts: dict[str, dict[str, Any]] = json.loads((folder / "CUTS.json").read_text())
    return facts


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuts", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    facts = facts_of(folder)
    context = multiprocessing.get_context("spawn")
    costs = {}
    print("F1, precision and recall; in the second row, how many boundaries there are:\n")
    print("| detector, threshold | " + " | ".join(f"`{video}`" for video in facts) + " |")
    print("|---|" + "---|" * len(facts))
    print("| | " + " | ".join(str(len(boundaries_there(fact))) for fact in facts.values()) + " |")
    for name in ("transnetv2", "pyscenedetect"):
        with context.Pool(1) as pool:
            found, costs[name] = pool.apply(find_all, (name, folder))
        for setting, videos in found.items():
            scores = (score(videos[video], boundaries_there(facts[video])) for video in facts)
            print(f"| {setting} | " + " | ".join(str(score) for score in scores) + " |")
    print("\n| detector | CPU s per minute of video | peak memory, MiB |\n|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.cpu_s_per_minute:.1f} | {cost.peak_mib:.0f} |")


if __name__ == "__main__":
    main()
