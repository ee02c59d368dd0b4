"""This project."""

from __future__ import annotations

from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version

from benchmarks.tools.base import Request
from frames_pipeline import SourceError, extract_frames, open_decoder
from frames_pipeline.clips import Span, ticks
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.assembly import FramesBySignature
from frames_pipeline.extract import extract_spans


class Engine:
    """Runs `extract_frames`, or extracts all clips of one video together."""

    @property
    def version(self) -> str:
        try:
            return version("frames-pipeline")
        except PackageNotFoundError:
            return "this checkout"

    def extract(self, request: Request) -> int:
        scenario = request.scenario
        if scenario.spans == (None,):
            batches = [extract_frames(request.path, scenario.signatures)]
        else:
            batches = _clips(request)
        positions = {
            position
            for clip in batches
            for batch in clip.values()
            for position in batch.positions.tolist()
        }
        return len(positions)


def _clips(request: Request) -> list[FramesBySignature]:
    with open_media(request.path) as media:
        time_base = media.index.time_base
        spans = [
            Span(*(ticks(Fraction(seconds), time_base) for seconds in span))
            for span in request.scenario.spans
            if span is not None
        ]
        results = extract_spans(media, spans, request.scenario.signatures, decoder=open_decoder())
        return [result for _, result in results if not isinstance(result, SourceError)]
