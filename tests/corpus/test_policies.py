"""Each policy takes the frames that its definition says, with the pixels of a plain decode."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frames_pipeline import FrameBatch, FrameExtractionSignature, extract_frames
from tests.corpus.files import INDEX_SETS, CorpusFile, each_file, is_decoded_often, random_numbers
from tests.corpus.totals import Count
from tests.oracle import PlainFrame, plain_frames, positions_of

RATES = (Fraction(2), Fraction(7, 3))
RATES_OF_LONG_ONES = tuple(rate / 40 for rate in RATES)
SIZES = ((-1, -1), (224, 224))


def signatures_for(times: list[Fraction]) -> list[FrameExtractionSignature]:
    """Every policy, native and small; rates that ask for hundreds of frames at most."""
    rates = RATES if times[-1] - times[0] < 60 else RATES_OF_LONG_ONES
    alone = ("first", "middle", "last", "keyframes")
    kinds: list[dict[str, Any]] = [{"policy": policy} for policy in alone]
    kinds += [{"policy": "uniform", "num_frames": 5}]
    kinds += [{"target_fps": rate} for rate in rates]
    return [
        FrameExtractionSignature(target_res=size, **kind) for kind, size in product(kinds, SIZES)
    ]


def chosen(
    signature: FrameExtractionSignature, times: list[Fraction], keys: list[bool]
) -> list[int]:
    """The positions by definition."""
    rate = signature.rate if signature.policy == "sequence" else None
    return positions_of(signature.policy, times, keys, rate=rate, count=signature.num_frames)


def times_of(file: CorpusFile, frames: Iterable[PlainFrame]) -> tuple[list[Fraction], list[bool]]:
    """Seconds at which frames are shown, and whether they are key frames, by a plain decode."""
    listed = [(frame.pts, frame.key, bool(frame.frame.key_frame)) for frame in frames]
    told = [pts for pts, *_ in listed if pts is not None]
    if file.timestamps == "container":
        assert len(told) == len(listed)
        return [pts * file.time_base for pts in told], [key for _, key, _ in listed]
    ticks = list(range(len(listed)))
    if file.differs.repaired:
        ticks = file.differs.repaired(told)
    return [tick * file.time_base for tick in ticks], [key for *_, key in listed]


def check_pixels(file: CorpusFile, batches: dict[FrameExtractionSignature, FrameBatch]) -> int:
    """Compare every frame with one plain decode; return how many were compared."""
    compared = 0
    for position, plain in enumerate(plain_frames(file.path)):
        expected: dict[tuple[int, int], NDArray[np.uint8]] = {}
        for batch in batches.values():
            height, width = batch.frames.shape[1:3]
            for slot in np.flatnonzero(batch.positions == position):
                if (height, width) not in expected:
                    expected[height, width] = plain.rgb(height, width, rotation=file.rotation)
                assert np.array_equal(batch.frames[slot], expected[height, width])
                compared += 1
    return compared


def has_every_frame(file: CorpusFile) -> bool:
    """Whether nothing is missing, so that a plain decode has the same positions."""
    return is_decoded_often(file) and not file.differs.missing


@each_file(has_every_frame)
def test_every_policy_gives_its_frames(file: CorpusFile, count: Count) -> None:
    """In one call: first, middle, last, key frames, uniform, two rates; native and 224x224.

    And some of them alone, which changes nothing.
    """
    times, keys = times_of(file, plain_frames(file.path))
    signatures = signatures_for(times)

    batches = extract_frames(file.path, signatures)

    for signature, batch in batches.items():
        assert batch.positions.tolist() == chosen(signature, times, keys), signature
        assert batch.time_base == file.time_base
        seconds = [Fraction(pts) * batch.time_base for pts in batch.pts.tolist()]
        assert seconds == [times[position] for position in batch.positions]
        assert batch.key_frame.tolist() == [keys[position] for position in batch.positions]
    compared = check_pixels(file, batches)
    assert compared == sum(len(batch) for batch in batches.values())
    for number in random_numbers(file).choice(
        len(signatures), min(INDEX_SETS, len(signatures)), replace=False
    ):
        alone = extract_frames(file.path, [signatures[number]])[signatures[number]]
        assert alone.digest() == batches[signatures[number]].digest()
    count("frames of policies, as RGB, with a plain decode", compared)
