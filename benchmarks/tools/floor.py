"""The minimal work: the packets that the wanted frames need, fed to libavcodec.

The packets are known before the clock starts. Measured are opening the file without a probe decode,
reading it, seeking if that saves reading, and decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from benchmarks.tools.base import Request
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.decoding.convert import Converter, PixelSpec
from frames_pipeline.decoding.plan import DecodePlan

_SEEK_OVER: Final = 100
"""Distance in packets from which seeking beats reading on."""


class Bare:
    """Decodes the minimal set of packets and converts nothing."""

    @property
    def version(self) -> str:
        return f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def extract(self, request: Request) -> int:
        return sum(1 for _ in self._wanted(request))

    def _wanted(self, request: Request) -> Iterator[VideoFrame]:
        wanted = set(request.index.shown_pts[request.positions].tolist())
        with av.open(str(request.path), options={"skip_frame": "all"}) as container:
            for frame in _decode(container, request.index, request.plan):
                if frame.pts in wanted:
                    yield frame


class OnePass(Bare):
    """Also converts each wanted frame once per size."""

    def extract(self, request: Request) -> int:
        converter = Converter("benchmark")
        specs = dict.fromkeys(PixelSpec.of(item) for item in request.scenario.signatures)
        count = 0
        for frame in self._wanted(request):
            for spec in specs:
                out = np.empty((*converter.output_size(frame, spec), 3), np.uint8)
                converter.convert(frame, spec, out)
            count += 1
        return count


def _decode(
    container: InputContainer, index: PacketIndex, plan: DecodePlan
) -> Iterator[VideoFrame]:
    """Yield the frames of a plan. Packets are identified by their timestamps."""
    stream = container.streams.video[0]
    context = stream.codec_context
    context.thread_count, context.thread_type = 1, "NONE"
    context.options = {}
    context.skip_frame = "DEFAULT"
    packets, at = container.demux(stream), -1
    for run in plan.runs:
        pts = index.pts[run].tolist()  # parts of a packet share its timestamp
        needed, last = set(pts), pts[-1]
        if int(run[0]) - at > _SEEK_OVER:
            container.seek(pts[0], stream=stream)
            packets = container.demux(stream)
        for packet in packets:
            if packet.pts in needed:
                yield from context.decode(packet)
            if packet.pts == last:
                break
        at = int(run[-1])
        yield from context.decode(None)
        context.flush_buffers()
