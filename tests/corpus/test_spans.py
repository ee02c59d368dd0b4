"""Clips that are decoded together equal those that are decoded one at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from frames_pipeline import FrameBatch, FrameExtractionSignature, SourceError, extract_frames
from frames_pipeline.clips import Span
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.backends import PyavDecoder
from frames_pipeline.extract import extract_spans
from tests.corpus.files import INDEX_SETS, CorpusFile, each_file, is_decoded_often, random_numbers
from tests.corpus.totals import Count
from tests.oracle import positions_of

SIGNATURES = [
    FrameExtractionSignature(policy="last", target_res=(32, 48)),
    FrameExtractionSignature(policy="uniform", num_frames=3, target_res=(32, 48)),
]


def random_spans(index: PacketIndex, random: np.random.Generator, count: int) -> list[Span]:
    """Spans that overlap, touch, nest, lie between two frames, or hold all of them."""
    pts = index.shown_pts
    spans = [Span(None, int(pts[len(pts) // 2])), Span(int(pts[len(pts) // 2]), None)]
    while len(spans) < count:
        ends = np.sort(random.choice(pts, size=2) + random.integers(-1, 2, size=2))
        if ends[0] < ends[1] or random.random() < 0.1:
            spans.append(Span(int(ends[0]), int(ends[1]) + 1))
    return spans


def alone(file: CorpusFile, span: Span) -> dict[FrameExtractionSignature, FrameBatch] | str:
    """A clip by the public function, or why there is none."""
    start, end = (None if tick is None else tick * file.time_base for tick in span)
    try:
        return extract_frames(file.path, SIGNATURES, start=start, end=end)
    except SourceError as error:
        return error.reason


@each_file(is_decoded_often)
def test_clips_together_equal_clips_alone(file: CorpusFile, count: Count) -> None:
    with open_media(file.path) as media:
        pts = media.index.shown_pts.tolist()
        spans = random_spans(media.index, random_numbers(file), 2 + INDEX_SETS)
        together = dict(extract_spans(media, spans, SIGNATURES, decoder=PyavDecoder()))

    assert sorted(together) == list(range(len(spans)))
    for number, span in enumerate(spans):
        expected, found = alone(file, span), together[number]
        if isinstance(found, SourceError) or isinstance(expected, str):
            assert isinstance(found, SourceError), expected
            assert found.reason == expected
            continue
        start = 0 if span.start is None else sum(t < span.start for t in pts)
        stop = len(pts) if span.stop is None else sum(t < span.stop for t in pts)
        times = [Fraction(tick) * file.time_base for tick in pts[start:stop]]
        for signature, batch in found.items():
            chosen = positions_of(signature.policy, times, [], count=signature.num_frames)
            wanted = sorted({start + position for position in chosen})
            assert sorted({*batch.positions.tolist(), *batch.outcome.missing}) == wanted
            assert batch.digest() == expected[signature].digest()
            assert batch.outcome.missing == expected[signature].outcome.missing
            assert batch.outcome.candidates == stop - start
        count("clips, together and alone", 1)
