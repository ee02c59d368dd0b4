"""The files of the corpus, and the expected result of each.

The values of ffprobe and ffmpeg 5.1 in ORACLE.tsv are expected of every file without an entry in
`DIFFERENCES`. `docs/design/corpus.md` shows that table.
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
from tests.corpus.clocks import between, even, overlapping
from tests.oracle import corpus_md5s, corpus_rows, needs_corpus
from tests.suites import is_sample, live_unless


class Difference(NamedTuple):
    """Expected differences of a file; absent fields are as in ORACLE.tsv, without damage."""

    because: str
    error: type[SourceError] | None = None
    """Error that the file raises."""
    frames: int | None = None
    """Number of shown frames, from its packets."""
    missing: Sequence[int] = ()
    """Positions that do not decode."""
    corrupt: Sequence[int] = ()
    """Positions that may be damaged."""
    size: tuple[int, int] | None = None
    """(width, height)."""
    rotation: int | None = None
    """Counter-clockwise degrees."""
    counted: bool = False
    """Whether frames are counted, instead of the container's timestamps."""
    repaired: Callable[[list[int]], list[int]] | None = None
    """Maps a plain decode's timestamps to the repaired ones."""
    rate: Fraction | None = None
    """Average rate of counted frames."""


_COUNTED_NO_PTS: Final = "the container gives no timestamps, or not for every frame"
_JUMPS_BACK: Final = "two recordings one after the other, timestamps go back in the middle; "


def _between(pts: list[int]) -> list[int]:
    """Continue with the second recording, which starts two frames before the first one ends."""
    before, after = pts[74], pts[77]
    return [*pts[:75], *(before + (after - before) * n // 3 for n in (1, 2)), *pts[77:]]


def _one_after_the_other(pts: list[int]) -> list[int]:
    """Continue with the second recording one frame after the first."""
    return [*pts[:75], *(tick + pts[74] + 3600 - pts[75] for tick in pts[75:])]


def _of_decoding(pts: list[int]) -> list[int]:
    """Shift each frame to the next timestamp; the hidden frame is not the last one."""
    return [*sorted(pts)[:-1], 15184000]


DIFFERENCES: Final[dict[str, Difference]] = {
    "bomb_16000.mp4": Difference(
        "a frame of 256 million pixels is over the limit", error=LimitExceededError
    ),
    "stsz_268M_entries.mp4": Difference(
        "its boxes declare 21 TB of samples, and it has 42 kB", error=LimitExceededError
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
    "hevc_eos.hevc": Difference(_COUNTED_NO_PTS, counted=True),
    "hevc_pps_once.hevc": Difference(_COUNTED_NO_PTS, counted=True),
    "paff.h264": Difference(
        f"{_COUNTED_NO_PTS}; ffprobe takes the average rate from fields",
        counted=True, rate=Fraction(25),
    ),
    "rp_lie.h264": Difference(_COUNTED_NO_PTS, counted=True),
    "ts_back.ts": Difference(
        "the clock jumps once; the demuxer flags the packet there",
        repaired=even, corrupt=[48, 49],
    ),
    "ts_fwd1h.ts": Difference(
        "the clock jumps once; the demuxer flags the packet there",
        repaired=even, corrupt=[47, 49],
    ),
    "ts_fwdwrap.ts": Difference(
        "the clock jumps twice; the demuxer flags a packet there",
        repaired=even, corrupt=[47, 49],
    ),
    "ts_joint.ts": Difference(
        "two recordings overlap by two frames; the demuxer flags the packet at the joint",
        repaired=overlapping, corrupt=[47, 49],
    ),
    "ts_outlier_back.ivf": Difference("one time is out of order", repaired=between(30)),
    "ts_outlier_fwd.ivf": Difference("one time is out of order", repaired=between(20)),
    "ts_swap.ivf": Difference("two neighbours have each other's time", repaired=sorted),
    "vfr_dup.ivf": Difference("one time stands twice", repaired=between(30)),
    "vfr_dup0.mp4": Difference("one time stands twice", repaired=between(1)),
    "vfr_dup1.mp4": Difference("one time stands twice", repaired=between(31)),
    "mat_onlya.mp4": Difference("the display matrix lacks an entry", rotation=0),
    "mat_zero.mp4": Difference("the display matrix is all zeros", rotation=0),
    "mat_zero_w.mp4": Difference("the display matrix is all zeros but for its last", rotation=0),
    "mat_rot90skew.mp4": Difference("the display matrix is slightly skewed", rotation=-90),
    "vp9_svc_like.ivf": Difference("ffprobe counts both layers of a frame", frames=25),
    "vp9_svc_sizes.ivf": Difference(
        "ffprobe counts both layers of a frame; the larger one is shown",
        frames=25, size=(160, 96),
    ),
}  # fmt: skip

LISTED_OTHERWISE: Final = {
    "stsd2_res.mp4": "frames are scaled to the size of the first",
    "stsd3_back.mp4": "frames are scaled to the size of the first",
    "flv3_back.flv": "frames are scaled to the size of the first",
    "mat_rot90skew.mp4": "frames are turned",
    "vp9_svc_like.ivf": "every layer of a frame is listed",
    "vp9_svc_sizes.ivf": "every layer of a frame is listed",
    "vfr_dup.mkv": "behind a packet that is missing, decoders differ",
}
"""Files with MD5s of pictures other than the shown ones."""

TOO_LARGE_TO_DECODE_OFTEN: Final = {"bomb_many_8k.mkv"}
"""300 frames of 50 MB: only its packets are counted and its first frame is decoded."""


@dataclass(frozen=True)
class CorpusFile:
    """A file, its line of ORACLE.tsv, and its differences."""

    path: Path
    row: dict[str, Any]
    differs: Difference

    @property
    def error(self) -> type[SourceError] | None:
        """The expected error, if any."""
        if self.differs.error or self.row["codec"]:
            return self.differs.error
        return UnsupportedSourceError if self.row["open_error"] else NoVideoStreamError

    @property
    def frames(self) -> int:
        """Expected number of shown frames."""
        return self.differs.frames or int(self.row["decoded_frames"] or 0)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a stored frame."""
        return self.differs.size or (int(self.row["width"]), int(self.row["height"]))

    @property
    def rotation(self) -> int:
        """Rotation in counter-clockwise degrees."""
        if self.differs.rotation is not None:
            return self.differs.rotation
        return int(self.row["rotation"] or 0)

    @property
    def timestamps(self) -> str:
        """The source of its timestamps: container, repaired or counted."""
        if self.differs.counted:
            return "counted"
        return "repaired" if self.differs.repaired else "container"

    @property
    def is_damaged(self) -> bool:
        """Whether frames are missing or may be damaged."""
        return bool(self.differs.missing or self.differs.corrupt)

    @cached_property
    def time_base(self) -> Fraction:
        """Seconds per unit of a timestamp, or of a position if frames are counted."""
        if self.differs.counted:
            return 1 / (self.differs.rate or Fraction(self.row["avg_frame_rate"]))
        return Fraction(self.row["time_base"])


INDEX_SETS: Final = int(os.environ.get("FRAMES_INDEX_SETS", "2"))
"""Number of random sets of frames per file. Raise it for a longer run."""


FILES: Final = {
    row["file"]: CorpusFile(row["path"], row, DIFFERENCES.get(row["file"], Difference("")))
    for row in corpus_rows("real", "hard", "reports")
}


def random_numbers(file: CorpusFile) -> np.random.Generator:
    """Return random numbers that are the same for a file in every run and process."""
    return np.random.default_rng(zlib.crc32(file.path.name.encode()))


def is_decoded_often(file: CorpusFile) -> bool:
    """Return whether it has frames, of a size that allows many decodes."""
    is_small = file.path.name not in TOO_LARGE_TO_DECODE_OFTEN
    return file.error is None and file.frames > 0 and is_small


def has_md5s(file: CorpusFile) -> bool:
    """Return whether the corpus has the MD5s of its frames: it is undamaged and small."""
    name = file.path.name
    return file.error is None and name not in LISTED_OTHERWISE and corpus_md5s(name) is not None


def each_file(where: Callable[[CorpusFile], bool] = lambda file: True) -> pytest.MarkDecorator:
    """One test per file of the corpus, or of those for which something is true; most are live."""
    chosen = [
        pytest.param(file, id=name, marks=[needs_corpus, *live_unless(is_sample(name))])
        for name, file in FILES.items()
        if where(file)
    ]
    nothing = [pytest.param(None, id="no corpus", marks=needs_corpus)]
    return pytest.mark.parametrize("file", chosen if FILES else nothing)
