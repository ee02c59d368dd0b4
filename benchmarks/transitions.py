"""Compose videos of real shots with hundreds of known transitions: cuts, dissolves, fades.

They consist of the small frames that detectors use. Frames of two shots are mixed after scaling,
which equals mixing before it, to a rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.clipping.detectors import HEIGHT, WIDTH
from frames_pipeline.clipping.thumbnails import stream_thumbnails
from frames_pipeline.container.media import open_media

Kind = Literal["cuts", "dissolves", "fades"]
KINDS: Final[Mapping[Kind, int]] = {"cuts": 120, "dissolves": 100, "fades": 60}
"""Number of transitions in a video of each kind."""

SHOTS: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "cv_Megamind.avi": ((1, 97), (99, 153), (155, 199), (201, 269)),
    "cv_box.mp4": ((0, 455),),
    "cv_cup.mp4": ((46, 217),),
    "cv_tree.avi": ((20, 56),),
    "decord_corrupted.mp4": ((0, 49),),
    "exo_bear-vp9.webm": ((0, 82),),
    "exo_roadtrip-vp92-10bit.webm": ((0, 40),),
    "exo_sample.avi": ((22, 96),),
    "exo_sample_fragmented.mp4": ((0, 30),),
    "exo_sample_with_increasing_timestamps_320w_240h.mp4": ((0, 278), (325, 600)),
    "exo_video_desks.3gp": ((0, 71),),
    "mpy_big_buck_bunny_0_30.webm": ((80, 281), (284, 374), (377, 485), (500, 549), (552, 600)),
    "mpy_chaplin.mp4": ((0, 241),),
    "mpy_doc_example2.mp4": ((0, 48),),
    "mpy_doc_long.mp4": ((0, 400),),
    "mpy_video_with_failing_audio.mp4": ((92, 250),),
    "tc_av1_video.mkv": ((0, 125),),
    "tc_bt709_full_range.mp4": ((0, 30),),
    "tc_h264_10bits.mp4": ((0, 30),),
    "tc_nasa_13013.mp4": ((50, 130), (145, 200), (204, 325)),
    "wpt_A4.ogv": ((0, 90),),
}
"""Shots, [start, stop), of the corpus's real videos, without any transition inside."""

Pictures = NDArray[np.float64]
"""Frames of RGB. Shape (frames, 27, 48, 3)."""


class Composed(NamedTuple):
    """A video composed of shots."""

    frames: NDArray[np.uint8]
    """Shape (frames, 27, 48, 3)."""
    facts: dict[str, Any]
    """Its transitions, in the format of CUTS.json."""


def compose(kind: Kind, seed: int, footage: Path) -> Composed:
    """Return a video with `KINDS[kind]` transitions, the same for the same seed.

    Args:
        kind: Hard cuts, dissolves of 4 to 25 frames, or fades: 4 to 17 frames to black, up to 9 of
            black, and 4 to 17 into the next shot.
        seed: Determines the shots, their parts and lengths.
        footage: The folder of the videos in `SHOTS`.
    """
    random = np.random.default_rng(seed)
    parts, places, total = [], [], 0
    shots = _shots(random, footage)
    current = next(shots)
    for _ in range(KINDS[kind]):
        following = next(shots)
        if kind == "dissolves":
            length = min(int(random.integers(4, 26)), len(current) // 2, len(following) // 2)
            share = _ramp(length)
            between = current[-length:] * (1 - share) + following[:length] * share
            current, following = current[:-length], following[length:]
        elif kind == "fades":
            out, into = (
                min(int(random.integers(4, 18)), len(shot) // 2) for shot in (current, following)
            )
            black = np.zeros((int(random.integers(0, 10)), HEIGHT, WIDTH, 3))
            down, up = current[-out:] * (1 - _ramp(out)), following[:into] * _ramp(into)
            between = np.concatenate([down, black, up])
            current, following = current[:-out], following[into:]
        else:
            between = following[:0]
        parts += [current, between]
        start = total + len(current)
        total = start + len(between)
        places.append((start, total - 1))
        current = following
    frames = np.rint(np.concatenate([*parts, current])).astype(np.uint8)
    if kind == "cuts":
        return Composed(frames, {"cuts_first_frame_of_new_shot": [first for first, _ in places]})
    return Composed(frames, {"transitions_first_last_frame": places})


def _shots(random: np.random.Generator, footage: Path) -> Iterator[Pictures]:
    """Yield parts of 12 to 69 frames of shots, never the same shot twice in a row."""
    shots = [(name, *span) for name, spans in SHOTS.items() for span in spans]
    last = -1
    while True:
        number = int(random.integers(len(shots)))
        if number == last:
            continue
        last = number
        name, start, stop = shots[number]
        length = min(int(random.integers(12, 70)), stop - start)
        begin = int(random.integers(start, stop - length + 1))
        yield _thumbnails(footage / name)[begin : begin + length].astype(np.float64)


def _ramp(length: int) -> NDArray[np.float64]:
    """Return the share of the next picture in each frame, strictly between 0 and 1."""
    share: NDArray[np.float64] = (np.arange(length) + 1) / (length + 1)
    return share[:, None, None, None]


@cache
def _thumbnails(path: Path) -> NDArray[np.uint8]:
    with open_media(path) as media:
        return np.stack(list(islice(stream_thumbnails(media, HEIGHT, WIDTH), 600)))
