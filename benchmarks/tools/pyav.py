"""PyAV, used as in its documentation."""

from __future__ import annotations

import av
import numpy as np

from benchmarks.tools.base import Request


class PlainPyav:
    """Decodes everything up to the last wanted frame; keeps the wanted ones."""

    @property
    def version(self) -> str:
        return av.__version__

    def extract(self, request: Request) -> int:
        wanted = set(request.positions.tolist())
        last = max(wanted)
        height, width = request.size or (None, None)
        pixels = []
        with av.open(str(request.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for position, frame in enumerate(container.decode(stream)):
                if position in wanted:
                    pixels.append(frame.to_ndarray(format="rgb24", width=width, height=height))
                if position == last:
                    break
        return len(np.stack(pixels))
