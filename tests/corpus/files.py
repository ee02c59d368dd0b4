"""The files of the corpus, and what is expected of each.

What ffprobe and ffmpeg 5.1 say in ORACLE.tsv is expected of every file that is not named in
`DIFFERENCES`. `docs/corpus.md` shows that table to people.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from frames_pipeline import (
    LimitExceededError,
    NoVideoStreamError,
    SourceError,
    UnsupportedSourceError,
)
from tests.oracle import corpus_md5s, corpus_rows, needs_corpus


class Difference(NamedTuple):
    """What is expected of a file; what is not given is as in ORACLE.tsv, and nothing damaged."""

    because: str
    error: type[SourceError] | None = None
    """It is refused."""
    frames: int | None = None
    """Shown frames by its packets."""
    missing: Sequence[int] = ()
    """Positions that do not decode."""
    corrupt: Sequence[int] = ()
    """Positions that damage may have touched."""
    size: tuple[int, int] | None = None
    """(width, height)."""
    counted: bool = False
    """Frames are counted, and the container's timestamps not used."""
    repaired: Callable[[list[int]], list[int]] | None = None
    """Timestamps that some of a plain decode's become; those of the others stay."""
    rate: Fraction | None = None
    """Average rate of counted frames."""
    listed: slice | None = slice(None)
    """Which of the MD5s are of its frames; `None`: of frames that are scaled, turned or unsure."""


_COUNTED_NO_PTS: Final = "the container gives no timestamps, or not for every frame"
_JUMPS_BACK: Final = "two recordings one after the other, timestamps go back in the middle; "


def _between(pts: list[int]) -> list[int]:
    """The second recording starts two frames before the first one ends."""
    before, after = pts[74], pts[77]
    return [*pts[:75], *(before + (after - before) * n // 3 for n in (1, 2)), *pts[77:]]


def _one_after_the_other(pts: list[int]) -> list[int]:
    """The second recording starts a frame after the first one."""
    return [*pts[:75], *(tick + pts[74] + 3600 - pts[75] for tick in pts[75:])]


def _of_decoding(pts: list[int]) -> list[int]:
    """Each frame takes the next time; the frame that is hidden is not the last."""
    return [*sorted(pts)[:-1], 15184000]


def _even(pts: list[int]) -> list[int]:
    """A transport stream of 25 frames per second, whose clock jumped."""
    return [pts[0] + 3600 * n for n in range(len(pts))]


def _overlapping(pts: list[int]) -> list[int]:
    """The second recording starts two frames before the first one ends."""
    return [*pts[:50], 184_800, 186_000, *pts[52:]]


def _middle(at: int) -> Callable[[list[int]], list[int]]:
    """One time lies in the middle between its neighbours'."""
    return lambda pts: [*pts[:at], (pts[at - 1] + pts[at + 1]) // 2, *pts[at + 1 :]]


_FIRST_SIZE: Final = "the list of MD5s is of frames that were scaled to the first one's size"
_CLOCK: Final = "the clock of the transport stream jumps; the demuxer flags packets at the joint"

DIFFERENCES: Final[dict[str, Difference]] = {
    "stsz_268M_entries.mp4": Difference(
        "its tables declare more samples than the file has bytes", error=LimitExceededError
    ),
    "hevc_eos.hevc": Difference(_COUNTED_NO_PTS, counted=True),
    "hevc_pps_once.hevc": Difference(_COUNTED_NO_PTS, counted=True),
    "paff.h264": Difference(_COUNTED_NO_PTS, counted=True, rate=Fraction(25)),
    "rp_lie.h264": Difference(_COUNTED_NO_PTS, counted=True),
    "flv3_back.flv": Difference(_FIRST_SIZE, listed=None),
    "stsd2_res.mp4": Difference(_FIRST_SIZE, listed=None),
    "stsd3_back.mp4": Difference(_FIRST_SIZE, listed=None),
    "mat_rot90skew.mp4": Difference("the list of MD5s is of frames that were turned", listed=None),
    "vp9_svc_like.ivf": Difference(
        "two spatial layers of one picture; the last one is shown", frames=25,
        listed=slice(1, None, 2),
    ),
    "vp9_svc_sizes.ivf": Difference(
        "two spatial layers of one picture; the last, larger one is shown", frames=25,
        size=(160, 96), listed=None,
    ),
    "ts_back.ts": Difference(_CLOCK, repaired=_even, corrupt=[48, 49]),
    "ts_fwd1h.ts": Difference(_CLOCK, repaired=_even, corrupt=[47, 49]),
    "ts_fwdwrap.ts": Difference(_CLOCK, repaired=_even, corrupt=[47, 49]),
    "ts_joint.ts": Difference(_CLOCK, repaired=_overlapping, corrupt=[47, 49]),
    "ts_outlier_back.ivf": Difference("a timestamp far off", repaired=_middle(30)),
    "ts_outlier_fwd.ivf": Difference("a timestamp far off", repaired=_middle(20)),
    "ts_swap.ivf": Difference("two timestamps are exchanged", repaired=sorted),
    "vfr_dup.ivf": Difference("a timestamp stands twice", repaired=_middle(30)),
    "vfr_dup0.mp4": Difference("a timestamp stands twice", repaired=_middle(1)),
    "vfr_dup1.mp4": Difference("a timestamp stands twice", repaired=_middle(31)),
    "vfr_dup.mkv": Difference(
        "a packet is lost; what decoders make of the frames behind it is not determined",
        listed=None,
    ),
    "bomb_16000.mp4": Difference(
        "a frame of 256 million pixels is over the limit", error=LimitExceededError
    ),
    "png.mp4": Difference("a picture is not a video", error=UnsupportedSourceError),
    "cover_only.m4a": Difference("a cover image is not a video", error=NoVideoStreamError),
    "wpt_wc_four-colors.mp4": Difference(
        "the container says 1920x1080; the size is that of the decoded frame", size=(320, 240)
    ),
    "bitflip_mdat.mp4": Difference(
        "bits are flipped in every group of pictures; one frame of 75 does not decode",
        frames=75, missing=[51], corrupt=[p for p in range(75) if p != 51],
    ),
    "trunc_frag.mp4": Difference(
        "the last of 26 packets is cut short", frames=26, missing=[25],
    ),
    "trunc_mdat.mp4": Difference(
        "the last of 26 packets is cut short", frames=26, missing=[25],
    ),
    "zeroed_middle.mp4": Difference(
        "three packets are zeroed, and with them what their frames were", corrupt=range(23, 47)
    ),
    "decord_corrupted.mp4": Difference(
        "a packet in the middle of the only group of pictures is broken", corrupt=range(29, 49)
    ),
    "reschange.ts": Difference(
        _JUMPS_BACK + "the demuxer flags the packet at the joint",
        repaired=_between, corrupt=[72, 73],
    ),
    "ts_backwards.ts": Difference(
        _JUMPS_BACK + "the demuxer flags the packet at the joint",
        repaired=_one_after_the_other, corrupt=[72, 73],
    ),
    "cv_box.mp4": Difference("the container gives times of decoding", repaired=_of_decoding),
    "cv_Megamind.avi": Difference(_COUNTED_NO_PTS, counted=True),
    "mpeg4_packed.avi": Difference(_COUNTED_NO_PTS, counted=True),
    "raw.h264": Difference(_COUNTED_NO_PTS, counted=True),
    "reschange.h264": Difference(_COUNTED_NO_PTS, counted=True),
    "h264_in_avi.avi": Difference(
        f"{_COUNTED_NO_PTS}; it says 50 frames per second, and leaves every second slot empty",
        counted=True, rate=Fraction(25),
    ),
}  # fmt: skip

TOO_LARGE_TO_DECODE_OFTEN: Final = {"bomb_many_8k.mkv"}
"""300 frames of 50 MB: its packets are counted, and its first frame is decoded."""


@dataclass(frozen=True)
class CorpusFile:
    """A file, what ORACLE.tsv says of it, and what differs."""

    path: Path
    row: dict[str, Any]
    differs: Difference

    @property
    def error(self) -> type[SourceError] | None:
        """How it is refused, if it is."""
        if self.differs.error or self.row["codec"]:
            return self.differs.error
        return UnsupportedSourceError if self.row["open_error"] else NoVideoStreamError

    @property
    def frames(self) -> int:
        """How many it shows."""
        return self.differs.frames or int(self.row["decoded_frames"] or 0)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a stored frame."""
        return self.differs.size or (int(self.row["width"]), int(self.row["height"]))

    @property
    def rotation(self) -> int:
        """Counter-clockwise degrees by which it is turned."""
        turn = int(self.row["rotation"] or 0)
        return 0 if abs(turn) > 360 else round(turn / 90) * 90  # of zeros, ffprobe says INT64_MIN

    @property
    def timestamps(self) -> str:
        """Where its timestamps come from."""
        if self.differs.counted:
            return "counted"
        return "repaired" if self.differs.repaired else "container"

    @property
    def is_damaged(self) -> bool:
        """Whether frames are missing, or may not be what they were."""
        return bool(self.differs.missing or self.differs.corrupt)

    @cached_property
    def time_base(self) -> Fraction:
        """Seconds per unit of a timestamp; of a position, where frames are counted."""
        if self.differs.counted:
            return 1 / (self.differs.rate or Fraction(self.row["avg_frame_rate"]))
        return Fraction(self.row["time_base"])


INDEX_SETS: Final = int(os.environ.get("FRAMES_INDEX_SETS", "2"))
"""How many random sets of frames to ask of each file: raise it for a longer run."""


FILES: Final = {
    row["file"]: CorpusFile(row["path"], row, DIFFERENCES.get(row["file"], Difference("")))
    for row in corpus_rows("real", "hard", "reports")
}


def listed_md5s(file: CorpusFile) -> list[str] | None:
    """MD5s of its frames by another FFmpeg, where there are any."""
    found, which = corpus_md5s(file.path.name), file.differs.listed
    return None if found is None or which is None else found[which]


def random_numbers(file: CorpusFile) -> np.random.Generator:
    """The same ones for a file in every run, whichever process runs it."""
    return np.random.default_rng(zlib.crc32(file.path.name.encode()))


def is_decoded_often(file: CorpusFile) -> bool:
    """Whether it shows frames, and not too large ones to decode them many times."""
    is_small = file.path.name not in TOO_LARGE_TO_DECODE_OFTEN
    return file.error is None and file.frames > 0 and is_small


def each_file(where: Callable[[CorpusFile], bool] = lambda file: True) -> pytest.MarkDecorator:
    """One test per file of the corpus, or of those for which something is true."""
    chosen = [
        pytest.param(file, id=name, marks=needs_corpus)
        for name, file in FILES.items()
        if where(file)
    ]
    nothing = [pytest.param(None, id="no corpus", marks=needs_corpus)]
    return pytest.mark.parametrize("file", chosen if FILES else nothing)
